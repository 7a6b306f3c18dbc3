"""What a state looks like: symbol, word, colour, always the same for the same thing.

The word is a message id (`state.<word>`); the colour is a class of the stylesheet. Nothing here decides a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aegis.core.types import DeploymentState, JobRun, Outcome, PromotionState, RolloutState, State
from aegis.delivery.views import AtView, Cell, HomeView, PromotionView, RunSummary


@dataclass(frozen=True, slots=True)
class Shown:
    """A symbol, the message id of its word, and its colour's class. `moving`: something is happening."""

    symbol: str
    word: str
    colour: str
    moving: bool = False


OK: Final = "ok"
_BLANK: Final = Shown("◌", "state.unknown", "wait")

_TABLE: Final[dict[str, Shown]] = {
    # jobs and runs
    f"run:{State.CREATED}": Shown("◌", "state.created", "wait"),
    f"run:{State.WAITING_FOR_RESOURCE}": Shown("◌", "state.waiting", "wait"),
    f"run:{State.PREPARING}": Shown("◌", "state.preparing", "wait"),
    f"run:{State.PENDING}": Shown("◌", "state.waiting", "wait"),
    f"run:{State.RUNNING}": Shown("●", "state.running", "run", moving=True),
    f"run:{State.CANCELING}": Shown("●", "state.canceling", "hold", moving=True),
    f"run:{State.SUCCESS}": Shown("✓", "state.passed", "ok"),
    f"run:{State.FAILED}": Shown("✗", "state.failed", "bad"),
    f"run:{State.CANCELED}": Shown("⊘", "state.canceled", "wait"),
    f"run:{State.SKIPPED}": Shown("⊘", "state.skipped", "wait"),
    f"run:{State.MANUAL}": Shown("‖", "state.manual", "hold"),
    f"run:{State.SCHEDULED}": Shown("‖", "state.scheduled", "hold"),
    "run:allowed": Shown("✗", "state.allowed", "hold"),
    # gates
    f"gate:{Outcome.PASS}": Shown("✓", "state.passed", "ok"),
    f"gate:{Outcome.WARN}": Shown("!", "state.warned", "hold"),
    f"gate:{Outcome.BLOCK}": Shown("⊘", "state.blocked", "block"),
    # promotions
    f"promotion:{PromotionState.PROPOSED}": Shown("‖", "state.awaits", "hold"),
    f"promotion:{PromotionState.APPROVED}": Shown("✓", "state.approved", "ok"),
    f"promotion:{PromotionState.REJECTED}": Shown("✗", "state.rejected", "bad"),
    f"promotion:{PromotionState.STALE}": Shown("⊘", "state.stale", "block"),
    f"promotion:{PromotionState.EXPIRED}": Shown("⊘", "state.expired", "block"),
    f"promotion:{PromotionState.COMMITTED}": Shown("●", "state.deploying", "run", moving=True),
    f"promotion:{PromotionState.DEPLOYED}": Shown("✓", "state.deployed", "ok"),
    f"promotion:{PromotionState.FAILED}": Shown("✗", "state.failed", "bad"),
    # deployments
    f"deployment:{DeploymentState.COMMITTED}": Shown("●", "state.committed", "run", moving=True),
    f"deployment:{DeploymentState.SYNCED}": Shown("●", "state.synced", "run", moving=True),
    f"deployment:{DeploymentState.PROGRESSING}": Shown("●", "state.deploying", "run", moving=True),
    f"deployment:{DeploymentState.HEALTHY}": Shown("✓", "state.healthy", "ok"),
    f"deployment:{DeploymentState.DEGRADED}": Shown("✗", "state.degraded", "bad"),
    f"deployment:{DeploymentState.REVERTED}": Shown("↩", "state.reverted", "back"),
    # rollouts
    f"rollout:{RolloutState.PROGRESSING}": Shown("●", "state.shifting", "run", moving=True),
    f"rollout:{RolloutState.HELD}": Shown("‖", "state.held", "hold"),
    f"rollout:{RolloutState.WATCHING}": Shown("●", "state.watching", "run", moving=True),
    f"rollout:{RolloutState.PROMOTED}": Shown("✓", "state.promoted", "ok"),
    f"rollout:{RolloutState.ROLLED_BACK}": Shown("↩", "state.rolled-back", "back"),
    # merge requests, inbox, the public page
    "merge:opened": Shown("●", "state.open", "run"),
    "merge:merged": Shown("✓", "state.merged", "ok"),
    "merge:closed": Shown("⊘", "state.closed", "wait"),
    "inbox:resolved": Shown("✓", "state.resolved", "ok"),
    "inbox:failure": Shown("✗", "state.failed", "bad"),
    "inbox:approval": Shown("‖", "state.awaits", "hold"),
    "inbox:rollback": Shown("↩", "state.rolled-back", "back"),
    "inbox:block": Shown("⊘", "state.blocked", "block"),
    "inbox:news": Shown("✓", "state.done", "ok"),
    "inbox:review": Shown("‖", "state.review", "hold"),
    "status:operational": Shown("✓", "state.operational", "ok"),
    "status:deploying": Shown("●", "state.deploying", "run"),
    "status:degraded": Shown("✗", "state.degraded", "bad"),
}


def shown(kind: str, value: str | None) -> Shown:
    """How `value` of a `kind` (`run`, `gate`, `promotion`, …) looks; an unknown one is said to be unknown."""
    return _TABLE.get(f"{kind}:{value}", _BLANK)


def job_shown(job: JobRun) -> Shown:
    """How a job looks: a failure that is allowed does not look like one that stops the run."""
    if job.state is State.FAILED and job.allow_failure:
        return _TABLE["run:allowed"]
    return shown("run", job.state)


def run_shown(run: RunSummary) -> Shown:
    """How a run looks: what the gates stop is blocked, though every job may have passed."""
    if run.verdict == Outcome.BLOCK and run.state is State.SUCCESS:
        return shown("gate", Outcome.BLOCK)
    return shown("run", run.state)


def cell_of(view: HomeView | AtView, service: str, environment: str) -> Cell:
    """The cell of a service and environment; an empty one where nothing runs."""
    for cell in view.cells:
        if cell.service == service and cell.environment == environment:
            return cell
    return Cell(service=service, environment=environment)


def cell_shown(cell: Cell) -> Shown:
    """How a service in an environment looks; a rollout under way says more than the deployment's own state."""
    if cell.rollout is not None and cell.rollout.state not in (RolloutState.PROMOTED, RolloutState.ROLLED_BACK):
        return shown("rollout", cell.rollout.state)
    return shown("deployment", cell.state)


def promotion_shown(view: PromotionView) -> Shown:
    """How a promotion looks; a plan that moved under a waiting approval is stale whatever was recorded."""
    if view.stale and view.promotion.state in (PromotionState.PROPOSED, PromotionState.APPROVED):
        return shown("promotion", PromotionState.STALE)
    return shown("promotion", view.promotion.state)


def seconds_between(start: datetime | None, end: datetime | None, now: datetime) -> float | None:
    """How long something took, or takes until now; None before its start."""
    if start is None:
        return None
    return max(((end or now) - start).total_seconds(), 0.0)
