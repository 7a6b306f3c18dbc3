"""Events of a change until it is a release: pushes, merge requests, runs, artifacts, evidence, verdicts."""

from __future__ import annotations

from aegis.core.events.records import event
from aegis.core.pages import PagesDeployment
from aegis.core.plan import CiVariable, JobEnvironment, Variable
from aegis.core.types import Artifact, Change, Evidence, JobRun, PublishedRelease, Release, Run, State, Verdict
from aegis.core.values import dataclass

# -- source -----------------------------------------------------------------------------------------------


@event("aegis.change.pushed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePushed:
    """A ref moved in a repository. Subject `change/<id>`."""

    change: Change


@event("dev.cdevents.branch.deleted")
@dataclass(frozen=True, slots=True, kw_only=True)
class BranchDeleted:
    """A branch is gone; `commit` is where it was. Subject `refs/<project>`."""

    ref: str
    commit: str


@event("dev.cdevents.change.created")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestOpened:
    """Subject `merge-request/<project>/<number>`."""

    number: int
    title: str
    source_branch: str
    target_branch: str
    head: str
    opened_by: str
    description: str = ""


@event("dev.cdevents.change.updated")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestUpdated:
    """The source branch moved; what was approved or judged of the old head counts no longer."""

    number: int
    head: str
    by: str


@event("aegis.merge-request.noted")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestNoted:
    """The one note of Aegis on a merge request, replaced as a whole each time."""

    number: int
    head: str
    body: str


@event("dev.cdevents.change.merged")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestMerged:
    """A real Git merge was pushed to the target branch."""

    number: int
    commit: str
    merged_by: str


@event("dev.cdevents.change.abandoned")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestClosed:
    """Closed without a merge."""

    number: int
    by: str


# -- execution --------------------------------------------------------------------------------------------


@event("dev.cdevents.pipelinerun.queued")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """A run with its plan's digest; `run.jobs` is empty, the plan in the blob store names them. Subject `run/<id>`."""

    run: Run
    job_count: int


@event("aegis.run.refused")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRefused:
    """No pipeline could be made of a change: why, and the mend."""

    change: str
    commit: str
    ref: str
    code: str
    message: str
    hint: str = ""


@event("dev.cdevents.pipelinerun.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first job was assigned."""

    run: str


@event("dev.cdevents.taskrun.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A job was assigned to a runner."""

    job: JobRun


@event("dev.cdevents.taskrun.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished:
    """A job came to its end. `will_retry` when another attempt follows."""

    job: JobRun
    will_retry: bool = False


@event("aegis.job.changed")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged:
    """A person or rule changed a job that was not running: played, skipped, canceled, held, retried.

    `variables` were given to a manual job by whoever started it, and override the job's own.
    """

    name: str
    state: State
    by: str
    reason: str = ""
    variables: tuple[Variable, ...] = ()


@event("aegis.environment.used")
@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentUsed:
    """A job with `environment` has ended; `ok` when it passed. Subject `run/<id>`."""

    environment: JobEnvironment
    job: str
    ref: str
    commit: str
    ok: bool


@event("aegis.environment.stopping")
@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStopping:
    """A job's environment is to stop: by `job` of `run`, or at once where `job` is empty. Subject `place/<project>/<name>`."""

    name: str
    reason: str
    by: str
    run: str = ""
    job: str = ""


@event("aegis.environment.made")
@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentMade:
    """Somebody named an environment before any job deployed it. Subject `place/<project>/<name>`."""

    name: str
    url: str = ""
    tier: str = ""


@event("aegis.environment.removed")
@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRemoved:
    """A stopped environment is listed no longer."""

    name: str


@event("aegis.release.asked")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAsked:
    """A job with `release` has passed. Subject `run/<id>`."""

    job: str


@event("aegis.release.published")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePublished:
    """A job's release is made, and its tag exists. Subject `published-release/<project>/<tag>`."""

    release: PublishedRelease


@event("aegis.job.erased")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobErased:
    """The log and files of a job's attempt (`id`) were deleted at somebody's wish. Subject `run/<id>`."""

    job: str
    id: str


@event("aegis.pages.asked")
@dataclass(frozen=True, slots=True, kw_only=True)
class PagesAsked:
    """A job with `pages` has passed. Subject `run/<id>`."""

    job: str


@event("aegis.pages.published")
@dataclass(frozen=True, slots=True, kw_only=True)
class PagesPublished:
    """What a job left is what is served of its project from now on. Subject `pages/<project>`."""

    deployment: PagesDeployment


@event("aegis.pages.removed")
@dataclass(frozen=True, slots=True, kw_only=True)
class PagesRemoved:
    """Nothing is served of a project any more; with a `prefix` only that deployment's address is gone."""

    project: str
    prefix: str | None = None


@event("aegis.artifacts.kept")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsKept:
    """The files of a job (an id) stay beyond `artifacts:expire_in`, until its run's logs go. Subject `run/<id>`."""

    job: str
    by: str


@event("aegis.artifacts.erased")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsErased:
    """The files of jobs (ids) are gone: somebody asked for it, or their time was over (`expired`). Subject `run/<id>`."""

    jobs: tuple[str, ...]
    by: str
    expired: bool = False


@event("aegis.run.cancel-requested")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelRequested:
    """Somebody asked a run to stop."""

    run: str
    by: str
    reason: str = ""


@event("dev.cdevents.pipelinerun.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Every job has come to its end. `reused` counts the jobs whose recorded result was taken."""

    run: str
    state: State
    reused: int = 0


@event("aegis.variable.set")
@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSet:
    """A CI variable is kept, or changed; `before` is its environment scope until now where that is another.

    Its value is not here. Subject `variables/<owner>`.
    """

    variable: CiVariable
    before: str = ""


@event("aegis.variable.removed")
@dataclass(frozen=True, slots=True, kw_only=True)
class VariableRemoved:
    """A CI variable is kept no longer."""

    owner: str
    key: str
    environment_scope: str


# -- artifacts, evidence, verdicts, releases --------------------------------------------------------------


@event("dev.cdevents.artifact.published")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPublished:
    """A job published an artifact to quarantine. Subject `artifact/<digest>`."""

    artifact: Artifact


@event("aegis.artifact.released")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReleased:
    """A verdict let an artifact out of quarantine."""

    digest: str
    repository: str
    tags: tuple[str, ...]
    verdict: str


@event("dev.cdevents.artifact.signed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSigned:
    """The server signed a digest; `key` is the fingerprint of the public key."""

    digest: str
    key: str
    signature: str


@event("aegis.artifact.quarantined")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactQuarantined:
    """A released digest must not be deployed again."""

    digest: str
    reason: str
    release: str = ""


@event("aegis.evidence.recorded")
@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecorded:
    """A claim was signed and kept. Subject `run/<id>`."""

    evidence: Evidence


@event("aegis.verdict.given")
@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGiven:
    """The gates judged a run. Subject `run/<id>`."""

    verdict: Verdict


@event("aegis.release.created")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCreated:
    """A release was cut. Subject `release/<id>`."""

    release: Release
