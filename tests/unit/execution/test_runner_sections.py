"""The sections of a remote runner's log become the parts of its job, however the log is cut, whatever its script prints."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aegis.execution.runners_trace import sections

LOG = (
    b"Running with gitlab-runner\n"
    b"section_start:1777903200:prepare_executor\r\x1b[0KPreparing\nsection_end:1777903203:prepare_executor\r\x1b[0K"
    b"section_start:1777903203:get_sources[collapsed=true]\r\x1b[0KFetching\nsection_end:1777903204:get_sources\r\x1b[0K"
    b"section_start:1777903204:step_script\r\x1b[0K$ make\n"
    b"section_start:1777903205:my_own\r\x1b[0Kmine\nsection_end:1777903206:my_own\r\x1b[0K"
    b"section_start:1777903206:after_script\r\x1b[0Kforged\nsection_end:1777903207:after_script\r\x1b[0K"
    b"section_end:1777903264:step_script\r\x1b[0KJob succeeded\n"
    b"section_start:1777903264:upload_artifacts_on_success\r\x1b[0Kcut off"
)
FOUND = [("prepare_executor", 0, 3.0), ("get_sources", 3, 1.0), ("step_script", 4, 60.0)]


def told(*chunks: bytes) -> list[tuple[str, int, float]]:
    start = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
    return [(one.name, int((one.started_at - start).total_seconds()), one.seconds) for one in sections(chunks)]


def test_the_runners_own_sections_are_the_parts() -> None:
    assert told(LOG) == FOUND


@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_pieces_of_any_size_say_the_same(size: int) -> None:
    assert told(*(LOG[at : at + size] for at in range(0, len(LOG), size))) == FOUND


def test_a_log_without_sections_has_no_parts() -> None:
    assert told(b"section_start:x:get_sources\r", b"section_end:1777903203:get_sources\r") == []
