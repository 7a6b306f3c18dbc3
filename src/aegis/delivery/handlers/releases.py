"""Releases: what a passing run built is signed, let out of quarantine, tagged and written into the changelog.

Every step can be repeated: an interrupted release is simply cut again from where it was.
"""

from __future__ import annotations

from dataclasses import replace

from aegis.core import events
from aegis.core.errors import Conflict, NotFound
from aegis.core.events import Draft
from aegis.core.ports import CommitInfo, Query, Repository
from aegis.core.types import Artifact, ArtifactKind, Evidence, JobRun, Outcome, Release, Run
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers import attestations, promotions, trust
from aegis.delivery.handlers.runs import run_of
from aegis.delivery.options import ProjectOptions
from aegis.delivery.queries.entries import RunEntry
from aegis.delivery.views import Result
from aegis.source import changelog, releases, versions
from aegis.source.changes import brought

QUARANTINE = "quarantine"
ROBOT = "Aegis <aegis@localhost>"
HEADS = "refs/heads/"
UNRECORDED = "unrecorded"
"""Who pushed what the ledger missed: nobody knows, so nobody may approve it alone."""


@handles(ask.CutRelease)
def cut(context: Context, command: ask.CutRelease, asking: Asking) -> Result:
    """Release a run's artifacts, where its branch feeds an environment or cuts versions."""
    entry = run_of(context, command.run)
    head = context.ledger.head().seq
    run, verdict = entry.run, entry.verdict
    if verdict is None or verdict.outcome is Outcome.BLOCK or not run.ref.startswith(HEADS) or run.environment:
        return Result(seq=head, message="nothing to release")
    branch = run.ref.removeprefix(HEADS)
    project = context.options.project(run.project)
    release_branch = context.options.is_release_branch(branch)
    followed = bool(context.options.feeds(branch)) and (project.kind == "service" or bool(project.prereleases))
    if not release_branch and not followed:
        return Result(seq=head, message=f"{branch} releases nothing")
    decision = _decide(context, project, run.commit, release_branch=release_branch)
    made = _made(context, f"{_name(project)}@{decision.version}")
    if made is not None:
        return _again(context, made, run, asking)
    if release_branch and not decision.release:
        return Result(seq=head, message="; ".join(decision.reasons))
    artifacts = published(context, entry)
    if not artifacts or (project.kind == "service" and all(one.kind is not ArtifactKind.IMAGE for one in artifacts)):
        return Result(seq=head, message="the run published nothing that could be released")
    release = _release(context, entry, project, decision, artifacts)
    return _carry_out(context, entry, release, decision, asking)


def _name(project: ProjectOptions) -> str:
    return project.service or project.name.rpartition("/")[2]


def _decide(
    context: Context, project: ProjectOptions, commit: str, *, release_branch: bool
) -> versions.VersionDecision:
    """The version of a commit; one whose tag was set but whose release was not recorded is cut again, as it was."""
    repository = context.repository(project.name)
    decision = versions.decide_version(repository, commit, release_branch=release_branch)
    unrecorded = (
        decision.version == decision.previous and _made(context, f"{_name(project)}@{decision.version}") is None
    )
    if release_branch and not decision.release and unrecorded:
        again = versions.decide_version(repository, commit, release_branch=True, without=decision.version)
        if again.release and again.version == decision.version:
            return again
    return decision


def _made(context: Context, release: str) -> Release | None:
    records = context.subject(f"release/{release}")
    return next((one.data.release for one in records if isinstance(one.data, events.ReleaseCreated)), None)


def _again(context: Context, release: Release, run: Run, asking: Asking) -> Result:
    """A commit that is released already comes to another branch: its release goes where that branch leads."""
    subject = f"release/{release.id}"
    if release.commit != run.commit:
        raise Conflict(
            "version-taken",
            f"{release.id} is commit {release.commit[:12]}, and {run.commit[:12]} would get the same version",
            hint="the branch was rewritten: add a commit, so that the version moves on",
        )
    seq = context.ledger.head().seq
    places: list[str] = []
    for environment in context.options.environments.values():
        if environment.branch == run.ref.removeprefix(HEADS) and release.image is not None:
            usual = f"{release.id}-{environment.name}"
            fresh = f"{usual}-{run.id}" if context.subject(f"promotion/{usual}") else usual
            proposed = promotions.propose(context, release, environment, asking, promotion_id=fresh)
            seq, places = max(seq, proposed.seq), [*places, environment.name]
    where = f", proposed for {', '.join(places)}" if places else ""
    return Result(seq=seq, message=f"already released{where}", subject=subject)


def published(context: Context, entry: RunEntry) -> tuple[Artifact, ...]:
    """What the jobs of a run published, from the ledger; the latest of each file or image."""
    query = Query(types=(events.NAMES[events.ArtifactPublished][0],), project=entry.run.project, newest_first=True)
    found: dict[str, Artifact] = {}
    for record in context.ledger.read(limit=200, query=query):
        if isinstance(record.data, events.ArtifactPublished) and record.data.artifact.run == entry.run.id:
            artifact = record.data.artifact
            found.setdefault(artifact.filename or artifact.name, artifact)
    return tuple(found.values())


def _release(
    context: Context, entry: RunEntry, project: ProjectOptions, decision: versions.VersionDecision,
    artifacts: tuple[Artifact, ...],
) -> Release:  # fmt: skip
    run = entry.run
    repository = context.repository(run.project)
    name = _name(project)
    since = _in_production(context, project)
    commits = [one for one in repository.log(run.commit, since=since, limit=5000) if not _own(repository, one)]
    records = _project_records(context, run.project)
    involved = releases.involvement(
        run.project,
        records,
        commits,
        identity_of=lambda email: _identity(context, email),
        brought=lambda change: (one.commit for one in brought(repository, change)),
    )
    unmapped = (*involved.unmapped, *((UNRECORDED,) if UNRECORDED in involved.involved else ()))
    last = repository.log(run.commit, since=_tagged(repository, decision.previous), limit=5000)
    return Release(
        id=f"{name}@{decision.version}",
        project=run.project,
        service=project.service,
        version=decision.version,
        commit=run.commit,
        ref=run.ref,
        run=run.id,
        verdict=entry.verdict.id if entry.verdict else "",
        artifacts=artifacts,
        evidence=tuple(one.id for one in entry.evidence),
        changelog=changelog.entry(decision.version, context.clock.now().date(), last),
        previous=f"{name}@{decision.previous}" if decision.previous else None,
        involved=involved.involved,
        unmapped=unmapped,
    )


def _identity(context: Context, email: str) -> str | None:
    person = context.adopted.directory.by_email(email)
    return person.id if person is not None else None


def _own(repository: Repository, info: CommitInfo) -> bool:
    """Whether a commit is this server's changelog entry, and nothing else under its name."""
    if f"{info.author_name} <{info.author_email}>" != ROBOT or len(info.parents) != 1:
        return False
    return repository.changed(info.parents[0], info.commit) == ("CHANGELOG.md",)


def _tagged(repository: Repository, version: str | None) -> str | None:
    if version is None:
        return None
    return repository.refs("refs/tags/").get(f"refs/tags/{versions.tag_name(version)}")


def _in_production(context: Context, project: ProjectOptions) -> str | None:
    """The commit of the project's release in the last environment that takes promotions; None before the first."""
    from aegis.delivery.handlers.manifests import placed  # noqa: PLC0415 - manifests know releases through promotions

    for environment in reversed(tuple(context.options.environments.values())):
        if environment.source is not None and project.service:
            there = placed(context, project.service, environment.name)
            return there.commit if there else None
    return None


def _project_records(context: Context, project: str) -> list[events.Record]:
    kinds = (events.ChangePushed, events.MergeRequestMerged)
    query = Query(types=tuple(events.NAMES[kind][0] for kind in kinds), project=project, newest_first=True)
    return list(context.ledger.read(limit=2000, query=query))


def _job(entry: RunEntry, artifact: Artifact) -> JobRun | None:
    return next((job for job in entry.jobs.values() if job.id == artifact.job), None)


def _carry_out(
    context: Context, entry: RunEntry, release: Release, decision: versions.VersionDecision, asking: Asking
) -> Result:
    repository = context.repository(release.project)
    subject = f"release/{release.id}"
    project = context.options.project(release.project)
    drafts: list[Draft] = []
    freed: list[Artifact] = []
    bills: list[Evidence] = []
    for artifact in release.artifacts:
        if artifact.kind in (ArtifactKind.IMAGE, ArtifactKind.CHART):
            handle = context.images.repository(artifact.repository, actor="aegis")
            signed = trust.sign_image(context, handle, artifact)
            tags: tuple[str, ...] = (artifact.version,)  # a chart's tag is its own version: Helm insists on it
            if artifact.kind is ArtifactKind.IMAGE:
                attestations.attach(context, handle, artifact, entry.run, _job(entry, artifact))
                tags = _tags(release)
            place = artifact.repository.removeprefix(f"{QUARANTINE}/")
            context.images.copy(artifact.repository, place, artifact.digest, tags=tags, actor="aegis")
            drafts.append(_about(artifact, signed, release, asking))
        else:
            attested = attestations.attest_file(context, artifact, entry.run, _job(entry, artifact))
            place, tags = project.index, (release.version,)
            if not decision.release:
                place = project.prereleases or place
            file = context.packages.release(QUARANTINE, place, artifact.filename, actor="aegis", attestation=attested)
            if file.metadata_digest:
                known = context.blobs.get(file.metadata_digest)
                bills.append(attestations.describe_wheel(context, artifact, known, entry.run))
        freed.append(replace(artifact, quarantined=False, repository=place, tags=tags))
        out = events.ArtifactReleased(digest=artifact.digest, repository=place, tags=tags, verdict=release.verdict)
        drafts.append(_about(artifact, out, release, asking))
    if decision.release:
        _tag(repository, release)
        _write_changelog(context, repository, release)
    whole = replace(release, artifacts=tuple(freed))
    created = Draft(
        subject=subject,
        data=events.ReleaseCreated(release=whole),
        actor=asking.actor.id,
        project=release.project,
        service=release.service,
        cause=asking.cause,
    )
    described = [replace(created, data=events.EvidenceRecorded(evidence=one)) for one in bills]
    seq = context.append(*drafts, created, *described, expect={subject: 0})
    return Result(seq=seq, message=f"released {release.id}", subject=subject)


def _tags(release: Release) -> tuple[str, ...]:
    branch = release.ref.removeprefix(HEADS).replace("/", "-")
    return (release.version, f"{release.version}-{release.commit[:8]}", release.commit, branch)


def _about(artifact: Artifact, data: object, release: Release, asking: Asking) -> Draft:
    return Draft(
        subject=f"artifact/{artifact.digest}",
        data=data,
        actor=asking.actor.id,
        project=release.project,
        service=release.service,
        cause=asking.cause,
    )


def _tag(repository: Repository, release: Release) -> None:
    """Tag the released commit; a tag that stands there already is the same release, cut before an interruption."""
    ref = f"refs/tags/{versions.tag_name(release.version)}"
    try:
        repository.set_ref(ref, release.commit, expect=None)
    except Conflict:
        if repository.refs("refs/tags/").get(ref) != release.commit:
            raise


def _write_changelog(context: Context, repository: Repository, release: Release) -> None:
    """Add the entry on top of the branch, by a commit that starts no pipeline; a branch that moves is tried again."""
    for _ in range(3):
        tip = repository.resolve(release.ref)
        try:
            text = repository.read(tip, "CHANGELOG.md").decode("utf-8", "replace")
        except NotFound:
            text = ""
        new = changelog.prepend(text, release.changelog)
        if new == text:
            return
        message = f"docs(changelog): {release.version}\n\n[skip ci]\n"
        try:
            repository.commit(release.ref, {"CHANGELOG.md": new.encode()}, message=message, author=ROBOT, expect=tip)
        except Conflict:
            continue
        return
    context.append(
        Draft(
            subject=f"release/{release.id}-changelog",
            data=events.ActionFailed(
                key=f"changelog:{release.id}", code="changelog-busy", message="the branch kept moving",
                hint="the entry is in the release; add it by hand",
            ),
            actor="aegis",
            project=release.project,
        )
    )  # fmt: skip
