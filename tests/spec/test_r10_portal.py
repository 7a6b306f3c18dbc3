"""R10 Developers: progress in a web UI, and failures that say what helps."""

from __future__ import annotations

import re

from support.portal_server import Visitor
from support.portal_world import World


def test_r10_1_a_web_ui_shows_progress_without_a_script() -> None:
    page = Visitor(World()).get("/runs/run-now").text
    assert re.search(r"about 2\d s to go", page)
    for part in ("now: <strong>image</strong>", "on the critical path", "held: start by hand", "usually 19 s"):
        assert part in page


def test_r10_2_a_failure_gives_a_clear_message_and_a_way_to_fix_it_before_any_log() -> None:
    page = Visitor(World()).get("/runs/run-failed").text
    cause, mend, log = (
        page.index("39.90 EUR instead"),
        page.index("leaves out the last line"),
        page.index('id="h-jobs"'),
    )
    assert cause < mend < log
    assert "/runs/run-failed/jobs/job-unit-test#cause" in page
