"""The ledger is never broken: what was once written of every event is read for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis.core import codec
from aegis.core.events import REGISTRY
from aegis.ledger.store import VERSIONS

GOLDEN = Path(__file__).parents[2] / "golden" / "ledger" / "events.jsonl"
LINES: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def holds(now: Any, then: Any) -> bool:
    """Whether everything that was written then is there now; new fields may have come."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and holds(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(holds, now, then))
    return bool(now == then)


def test_every_registered_event_has_a_golden_record() -> None:
    missing = sorted(set(REGISTRY) - {(line["type"], line["version"]) for line in LINES})
    assert not missing, f"run: python tools/golden_ledger.py (missing: {missing})"


def test_no_event_was_ever_taken_away() -> None:
    assert not {(line["type"], line["version"]) for line in LINES} - set(REGISTRY)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['type']}-v{line['version']}")
def test_a_golden_record_is_still_read_with_all_it_said(line: dict[str, Any]) -> None:
    read = VERSIONS.read(line["type"], line["version"], line["data"].encode())
    if (line["type"], line["version"] + 1) not in REGISTRY:
        assert type(read) is REGISTRY[line["type"], line["version"]]
        assert holds(json.loads(codec.encode(read)), json.loads(line["data"]))
