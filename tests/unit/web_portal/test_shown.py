"""States look the same everywhere, and every state has a look."""

from dataclasses import replace

import pytest

from aegis.core.types import DeploymentState, JobRun, Outcome, PromotionState, RolloutState, State
from aegis.notify.entries import KINDS
from aegis.web.portal.shown import cell_shown, job_shown, promotion_shown, run_shown, shown
from support.portal_world import World


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("run", State),
        ("gate", Outcome),
        ("promotion", PromotionState),
        ("deployment", DeploymentState),
        ("rollout", RolloutState),
        ("merge", ("opened", "merged", "closed")),
        ("inbox", (*KINDS, "resolved")),
        ("status", ("operational", "deploying", "degraded")),
    ],
)
def test_every_state_has_a_symbol_a_word_and_a_colour(kind, values):
    for value in values:
        look = shown(kind, value)
        assert look.word != "state.unknown", value
        assert look.symbol in "✓✗●◌‖⊘↩!"


def test_what_is_not_known_is_said_to_be_unknown():
    assert shown("run", "exploded").word == "state.unknown"
    assert shown("deployment", None).word == "state.unknown"


def test_a_failure_that_is_allowed_does_not_look_like_one_that_stops():
    job = JobRun(id="j", name="j", stage="s", state=State.FAILED)
    assert job_shown(job).colour == "bad"
    assert job_shown(replace(job, allow_failure=True)).word == "state.allowed"


def test_a_run_that_passes_and_is_blocked_looks_blocked():
    run = replace(World().runs_now[2], verdict="block")
    assert run_shown(run).word == "state.blocked"


def test_a_rollout_under_way_says_more_than_the_deployment():
    world = World()
    assert cell_shown(world.cells_now[5]).word == "state.shifting"
    assert cell_shown(world.cells_now[0]).word == "state.healthy"


def test_a_plan_that_moved_looks_stale_whatever_was_recorded():
    assert promotion_shown(replace(World().waiting[0], stale=True)).word == "state.stale"
