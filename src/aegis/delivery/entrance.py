"""Who comes in, at every door: tokens of people, sessions and jobs become actors; doors get scoped handles.

The doors authorise once here and then stream through the handle they were given. What jobs publish is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aegis.access.tokens import JOB_PREFIX, JobClaim, Kind, read_job_token
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
from aegis.registry.ports import PackageFile

QUARANTINE = "quarantine"
_HINT = "use a token: aegis login, or ask an administrator"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the registry doors."""

    who: Actor | None

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


class Entrance:
    """Implements `Credentials`, `Sessions`, `Doors` and the callbacks of `HostedGitDoor`."""

    def __init__(self, context: Context, job_secret: bytes) -> None:
        self._context = context
        self._job_secret = job_secret

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
        context = self._context
        now = context.clock.now()
        if token.startswith(JOB_PREFIX + "."):
            grant = read_job_token(self._job_secret, token, now, alive=self._alive)
        else:
            grant = context.tokens.resolve(token, now)
        if grant is None or grant.kind is Kind.LOGIN_LINK:
            return None
        person = grant.kind in (Kind.USER, Kind.SESSION)
        if person and context.adopted.directory.by_id(grant.identity) is None:
            return None
        return actor_of(grant, context.adopted.directory)

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
        return Caller(self.actor(authorization) if authorization else None)

    def oci(self, grant: Grant, repository: str, actions: frozenset[OciAction]) -> OciHandle:
        """See `doors.Doors`: jobs push to their own project's quarantine, and nobody pulls from there to deploy."""
        who = _somebody(grant)
        quarantined = repository.startswith(f"{QUARANTINE}/")
        project = repository.removeprefix(f"{QUARANTINE}/")
        verbs = {"pull": "pull-image", "push": "push-image", "delete": "delete-image"}
        for action in sorted(actions):
            if action == "pull" and quarantined and who.kind == Kind.JOB and "push" in actions:
                continue
            self._context.authorise(
                who, verbs[action], kind="image", name=repository, project=project, quarantined=quarantined
            )
        return self._context.images.repository(repository, actor=grant.actor, actions=actions)

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
        project = repository.removeprefix(f"{QUARANTINE}/")
        size = self._context.images.repository(repository, actor="aegis").stat(digest).size
        self._published(actor, project, ArtifactKind.IMAGE, project.rpartition("/")[2], tag, digest, size, repository)

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
