"""Who comes in, at every door: tokens of people, sessions and jobs become actors; doors get scoped handles.

The doors authorise once here and then stream through the handle they were given. What jobs publish is written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aegis.access import tokens
from aegis.access.tokens import JOB_PREFIX, REGISTRY_PREFIX, JobClaim, Kind, read_job_token
from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft
from aegis.core.types import Artifact, ArtifactKind
from aegis.delivery import git_door
from aegis.delivery.context import Context, actor_of
from aegis.delivery.doors import Grant, OciAction, OciHandle, PypiAction, PypiHandle
from aegis.delivery.git_door import GitGrant, Push
from aegis.delivery.handlers.access import close_session, open_session
from aegis.delivery.handlers.moves import intend
from aegis.delivery.handlers.pushes import received
from aegis.delivery.views import Actor
from aegis.registry.charts import CONFIG, Chart, Charts, Visible
from aegis.registry.image_mirror import PREFIX as MIRRORED
from aegis.registry.oci import ImageRepository
from aegis.registry.ports import PackageFile

QUARANTINE = "quarantine"
REGISTRY_SECONDS = 300
_VERBS = {"pull": "pull-image", "push": "push-image", "delete": "delete-image"}
_HINT = "use a token: aegis login, or ask an administrator"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the registry doors. `access` bounds a token that was made for named repositories."""

    who: Actor | None
    access: Mapping[str, tuple[str, ...]] | None = None

    @property
    def actor(self) -> str:
        """The identity written into records; a job's names its run, too."""
        if self.who is None:
            return "anonymous"
        return f"job/{self.who.run}/{self.who.job}" if self.who.kind == Kind.JOB else self.who.id

    @property
    def anonymous(self) -> bool:
        """Whether nothing was sent."""
        return self.who is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryToken:
    """See `doors.Issued`."""

    token: str
    seconds: int
    issued_at: datetime


class ChartView:
    """See `doors.ChartHandle`: the charts of one caller."""

    def __init__(self, charts: Charts, visible: Visible) -> None:
        self._charts = charts
        self._visible = visible
        self.read = charts.read
        self.open_file = charts.open_file

    def index(self, under: str) -> bytes:
        """The index of what the caller may pull."""
        return self._charts.index(under, self._visible)

    def package(self, repository: str, filename: str) -> Chart:
        """A package; `Denied` where the caller may not pull."""
        if not self._visible(repository):
            raise Denied("not-permitted", f"you may not pull from {repository}")
        return self._charts.package(repository, filename)


class Entrance:
    """Implements `Credentials`, `Sessions`, `Doors`, `ChartDoors` and the callbacks of `HostedGitDoor`."""

    def __init__(self, context: Context, job_secret: bytes) -> None:
        self._context = context
        self._job_secret = job_secret
        self._charts = Charts(context.images)

    # -- Credentials and Sessions -------------------------------------------------------------------------

    def actor(self, authorization: str | None, cookie: str | None = None) -> Actor:
        """See `views.Credentials`."""
        if authorization:
            found = self.identify(git_door.basic_token(authorization))
        else:
            found = self.resolve(cookie) if cookie else None
        if found is None:
            raise Denied("unauthenticated", "no valid token or session", hint=_HINT)
        return found

    def identify(self, token: str) -> Actor | None:
        """Who a token speaks for, or None."""
        grant = self._grant(token)
        return None if grant is None else actor_of(grant, self._context.adopted.directory)

    def _grant(self, token: str) -> tokens.Grant | None:
        context = self._context
        now = context.clock.now()
        if token.startswith(JOB_PREFIX + "."):
            grant = read_job_token(self._job_secret, token, now, alive=self._alive)
        else:
            grant = context.tokens.resolve(token, now)
        return grant if grant is not None and self._counts(grant) else None

    def _counts(self, grant: tokens.Grant) -> bool:
        person = grant.kind in (Kind.USER, Kind.SESSION)
        known = not person or self._context.adopted.directory.by_id(grant.identity) is not None
        return known and grant.kind not in (Kind.LOGIN_LINK, Kind.REGISTRATION)

    def _alive(self, claim: JobClaim) -> bool:
        try:
            run = self._context.engine.run(claim.run)
        except NotFound:
            return False
        return any(job.id == claim.job and not job.state.finished for job in run.jobs)

    def open(self, credential: str) -> str:
        """See `views.Sessions`."""
        return open_session(self._context, credential)

    def resolve(self, cookie: str) -> Actor | None:
        """See `views.Sessions`."""
        found = self.identify(cookie)
        return found if found is not None and found.kind == Kind.SESSION else None

    def close(self, cookie: str) -> None:
        """See `views.Sessions`."""
        close_session(self._context, cookie)

    # -- Doors --------------------------------------------------------------------------------------------

    def authenticate(self, authorization: str | None) -> Caller:
        """See `doors.Doors`."""
        if not authorization:
            return Caller(None)
        token = git_door.basic_token(authorization)
        if not token.startswith(f"{REGISTRY_PREFIX}."):
            return Caller(self.actor(authorization))
        claim = tokens.read_registry_token(self._job_secret, token, self._context.clock.now())
        grant = self._behind(claim.grant) if claim is not None else None
        if claim is None or grant is None:
            raise Denied("unauthenticated", "this token is past its time or was revoked", hint=_HINT)
        return Caller(actor_of(grant, self._context.adopted.directory), claim.access)

    def _behind(self, grant: tokens.Grant) -> tokens.Grant | None:
        """The credential that a registry token was made from, while that still counts."""
        now = self._context.clock.now()
        if grant.kind is Kind.JOB:
            claim = JobClaim(
                run=grant.run, job=grant.job, attempt=grant.attempt, project=grant.project,
                expires_at=grant.expires_at or now,
            )  # fmt: skip
            return grant if claim.expires_at > now and self._alive(claim) else None
        present = self._context.tokens.named(grant.token)
        if present is None or (present.expires_at is not None and present.expires_at <= now):
            return None
        return present if self._counts(present) else None

    def registry_token(
        self, authorization: str | None, wanted: Sequence[tuple[str, frozenset[OciAction]]]
    ) -> RegistryToken:
        """See `doors.Doors`."""
        grant = self._grant(git_door.basic_token(authorization))
        if grant is None:
            raise Denied("unauthenticated", "no valid token", hint=_HINT)
        who = actor_of(grant, self._context.adopted.directory)
        access: dict[str, tuple[str, ...]] = {}
        for repository, actions in wanted:
            covered = [one for one in sorted(actions) if self._covers(who, repository, one, actions)]
            access[repository] = tuple(sorted({*access.get(repository, ()), *covered}))
        now = self._context.clock.now()
        token = tokens.mint_registry_token(
            self._job_secret, grant, access, expires_at=now + timedelta(seconds=REGISTRY_SECONDS)
        )
        return RegistryToken(token=token, seconds=REGISTRY_SECONDS, issued_at=now)

    def _covers(self, who: Actor, repository: str, action: OciAction, beside: frozenset[OciAction]) -> bool:
        try:
            self._permit(who, repository, action, beside)
        except Denied:
            return False
        return True

    def oci(self, grant: Grant, repository: str, actions: frozenset[OciAction]) -> OciHandle:
        """See `doors.Doors`: jobs push to their own project's quarantine, and nobody pulls from there to deploy."""
        who = _somebody(grant)
        for action in sorted(actions):
            self._permit(who, repository, action, actions)
        access = grant.access if isinstance(grant, Caller) else None
        if access is not None and not actions <= set(access.get(repository, ())):
            raise Denied("oci-scope", f"this token was not made to {', '.join(sorted(actions))} in {repository}")
        return self._context.images.repository(repository, actor=grant.actor, actions=actions)

    def job_image(self, project: str, repository: str) -> ImageRepository:
        """A repository for reading the image that a job of the project runs in, where such a job may pull it."""
        who = Actor(id=f"project/{project}", name=project, kind=Kind.JOB, project=project)
        pull: frozenset[OciAction] = frozenset({"pull"})
        self._permit(who, repository, "pull", pull)
        return self._context.images.repository(repository, actor=who.id, actions=pull)

    def _permit(self, who: Actor, repository: str, action: OciAction, beside: frozenset[OciAction]) -> None:
        quarantined = repository.startswith(f"{QUARANTINE}/")
        if action == "pull" and quarantined and who.kind == Kind.JOB and "push" in beside:
            return
        self._context.authorise(
            who, _VERBS[action], kind="image", name=repository, project=self._project_of(repository),
            quarantined=quarantined, public=repository.startswith(MIRRORED),
        )  # fmt: skip

    def _project_of(self, repository: str) -> str:
        """The declared project that a repository belongs to: `shop/orders` has `shop/orders/chart`, too."""
        name = repository.removeprefix(f"{QUARANTINE}/")
        longer = [one for one in self._context.options.projects if name.startswith(f"{one}/")]
        return max(longer, key=len) if longer and name not in self._context.options.projects else name

    def charts(self, grant: Grant) -> ChartView:
        """See `doors.ChartDoors`."""
        who = _somebody(grant)
        return ChartView(self._charts, lambda name: self._covers(who, name, "pull", frozenset({"pull"})))

    def pypi(self, grant: Grant, index: str, action: PypiAction) -> PypiHandle:
        """See `doors.Doors`."""
        who = _somebody(grant)
        quarantined = index == QUARANTINE
        verb = "read-packages" if action == "read" else "upload-package"
        own = self._context.options.projects.get(who.project)
        mine = quarantined or (own is not None and own.index == index)
        self._context.authorise(
            who, verb, kind="index", name=index, project=who.project if mine else "", quarantined=quarantined
        )
        return self._context.packages.index(index, actor=grant.actor, actions=frozenset({action}))

    # -- Git ----------------------------------------------------------------------------------------------

    def git_identify(self, token: str) -> GitGrant | None:
        """See `HostedGitDoor.identify`."""
        actor = self.identify(token)
        return None if actor is None else GitGrant(identity=actor.id, groups=actor.groups, token=actor)

    def git_permit(self, grant: GitGrant, project: str, action: git_door.Action) -> None:
        """See `HostedGitDoor.permit`. Which refs a push may move is judged afterwards, by their protection."""
        actor = _actor(grant)
        if action == "fetch":
            self._context.authorise(actor, "fetch", project=project)
            return
        if project == self._context.options.gitops_project:
            raise Denied("gitops-owned", "Aegis alone writes the GitOps repository", hint="aegis promote")
        # A push needs what running a pipeline needs; the protection of branches says the rest.
        allowed = set(self._context.adopted.access.options.developers) & {*actor.groups, actor.id}
        if actor.kind == Kind.JOB or not allowed or not {"write", "*"} & set(actor.scopes):
            raise Denied("not-permitted", f"{actor.id} may not push to {project}", hint=_HINT)

    def git_begun(self, push: Push) -> None:
        """See `HostedGitDoor.on_begin`."""
        intend(self._context, push.project, push.identity, push.updates, options=push.options)

    def git_received(self, push: Push) -> Sequence[str]:
        """See `HostedGitDoor.on_push`."""
        if push.grant is None:
            raise Denied("unauthenticated", "a push needs an identity")
        return received(self._context, push.project, _actor(push.grant), push.updates, push.options)

    def git_refused(self, grant: GitGrant, project: str, why: Sequence[str]) -> None:
        """See `HostedGitDoor.on_refused`."""
        refusal = events.AccessDenied(verb="push", resource=project, reason="; ".join(why)[:1000])
        self._context.append(
            Draft(subject=f"identity/{grant.identity}", data=refusal, actor=grant.identity, project=project)
        )

    # -- what jobs publish --------------------------------------------------------------------------------

    def image_pushed(self, repository: str, digest: str, tag: str | None, actor: str) -> None:
        """See `registry.oci.Pushed`: an image that a job pushed to quarantine is an artifact of its run."""
        if tag is None or tag.startswith("sha256-") or not repository.startswith(f"{QUARANTINE}/"):
            return
        project = self._project_of(repository)
        found = self._context.images.repository(repository, actor="aegis").stat(digest)
        kind = ArtifactKind.CHART if found.artifact_type == CONFIG else ArtifactKind.IMAGE
        name = repository.rpartition("/")[2]
        self._published(actor, project, kind, name, tag, digest, found.size, repository)

    def package_uploaded(self, index: str, file: PackageFile, actor: str) -> None:
        """See `registry.pypi.OnFile`."""
        if index != QUARANTINE or not actor.startswith("job/"):
            return
        kind = ArtifactKind.WHEEL if file.filename.endswith(".whl") else ArtifactKind.SDIST
        project = self._context.engine.run(actor.split("/")[1]).project
        self._published(
            actor, project, kind, file.project, file.version, file.digest, file.size, index, filename=file.filename
        )

    def _published(
        self, actor: str, project: str, kind: ArtifactKind, name: str, version: str, digest: str, size: int,
        repository: str, filename: str = "",
    ) -> None:  # fmt: skip
        if not actor.startswith("job/"):
            return
        _, run_id, job = actor.split("/", 2)
        for record in self._context.subject(f"artifact/{digest}"):
            if isinstance(record.data, events.ArtifactPublished) and record.data.artifact.run == run_id:
                return  # a second tag of the same image
        run = self._context.engine.run(run_id)
        artifact = Artifact(
            digest=digest, kind=kind, name=name, version=version, project=project, commit=run.commit, run=run_id,
            job=job, repository=repository, size=size, tags=(version,), filename=filename,
        )  # fmt: skip
        published = events.ArtifactPublished(artifact=artifact)
        self._context.append(Draft(subject=f"artifact/{digest}", data=published, actor=f"job/{job}", project=project))


def _somebody(grant: Grant) -> Actor:
    if not isinstance(grant, Caller) or grant.who is None:
        raise Denied("unauthenticated", "a token is needed", hint=_HINT)
    return grant.who


def _actor(grant: GitGrant) -> Actor:
    if not isinstance(grant.token, Actor):
        raise Denied("unauthenticated", "a token is needed", hint=_HINT)
    return grant.token
