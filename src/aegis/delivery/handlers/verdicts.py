"""Verdicts: the claims of a finished run are signed, kept and judged under the policy in force."""

from __future__ import annotations

import yaml

from aegis.core import events
from aegis.core.errors import NotFound, UserError, Where
from aegis.core.events import Draft
from aegis.core.types import Evidence, JobRun, Outcome, Reason, StoredFile, Verdict
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.runs import change_of, merge_request_of, run_of
from aegis.delivery.queries.entries import RunEntry
from aegis.delivery.views import Result
from aegis.gates import judge as gate
from aegis.gates import reports
from aegis.gates.policy import GatePolicy, merge_tighter, read_fields
from aegis.pipeline.child import CHILD
from aegis.supplychain.signing import sign_evidence

OWN_FILE = ".aegis.yaml"
"""A service's own file: it may make the platform's gates stricter, never looser."""
OWN_FILE_LIMIT = 1 << 16
KINDS = {
    "junit": "tests",
    "coverage_report": "coverage",
    "codequality": "quality",
    "dependency_scanning": "dependencies",
    "secret_detection": "secrets",
}


@handles(ask.JudgeRun)
def judge(context: Context, command: ask.JudgeRun, asking: Asking) -> Result:
    """Sign what the jobs delivered and say whether it is enough."""
    subject = f"run/{command.run}"
    entry = run_of(context, command.run)
    version = len(context.subject(subject))
    if entry.run.source == CHILD:
        return Result(seq=context.ledger.head().seq, message="a child is judged with its parent", subject=subject)
    if entry.run.environment:
        return _verify(context, entry, asking)
    if entry.verdict is not None:
        return Result(seq=context.ledger.head().seq, message="already judged", subject=subject)
    claims = _evidence(context, entry)
    drafts = [*(events.EvidenceRecorded(evidence=one) for one in claims), _verdict(context, entry, claims)]
    seq = context.append(
        *(
            Draft(subject=subject, data=data, actor=asking.actor.id, project=entry.run.project, cause=asking.cause)
            for data in drafts
        ),
        expect={subject: version},
    )
    return Result(seq=seq, message="judged", subject=subject)


def _verify(context: Context, entry: RunEntry, asking: Asking) -> Result:
    """Keep what a verification run proved as evidence about the release itself."""
    subject = f"release/{entry.run.release}"
    records = context.subject(subject)
    if any(isinstance(one.data, events.EvidenceRecorded) and one.data.evidence.run == entry.run.id for one in records):
        return Result(seq=context.ledger.head().seq, message="already kept", subject=subject)
    service = context.options.project(entry.run.project).service
    draft = Draft(
        subject=subject,
        data=_verified(context, entry),
        actor=asking.actor.id,
        project=entry.run.project,
        service=service,
        environment=entry.run.environment or "",
        cause=asking.cause,
    )
    return Result(seq=context.append(draft, expect={subject: len(records)}), message="verified", subject=subject)


def _verified(context: Context, entry: RunEntry) -> events.EvidenceRecorded:
    run = entry.run
    passed = run.state == "success" and any(job.state == "success" for job in entry.jobs.values())
    evidence = Evidence(
        id=context.new_id(),
        kind="e2e",
        subject=run.commit,
        project=run.project,
        digest=run.plan,
        media_type="application/vnd.aegis.run+json",
        run=run.id,
        uploaded_by="aegis",
        summary={
            "release": run.release or "",
            "environment": run.environment or "",
            "result": "pass" if passed else "fail",
            "jobs": ", ".join(f"{job.name}: {job.state}" for job in entry.jobs.values()) or "no job ran",
        },
    )
    return events.EvidenceRecorded(evidence=sign_evidence(evidence, context.signer))


def _evidence(context: Context, entry: RunEntry) -> list[Evidence]:
    return [
        sign_evidence(_claim(context, entry, job, file), context.signer)
        for job in entry.jobs.values()
        for file in job.files
        if file.kind in KINDS
    ]


def _claim(context: Context, entry: RunEntry, job: JobRun, file: StoredFile) -> Evidence:
    return Evidence(
        id=context.new_id(),
        kind=KINDS[file.kind],
        subject=entry.run.commit,
        project=entry.run.project,
        digest=file.digest,
        media_type="application/octet-stream",
        run=entry.run.id,
        uploaded_by=job.id,
        template=job.origin,
        summary={
            "job": job.name,
            "file": file.name,
            **_origin(job),
            **_figures(KINDS[file.kind], context.blobs.get(file.digest)),
        },
    )


def _origin(job: JobRun) -> dict[str, str]:
    return {"reused_from": job.reused_from} if job.reused_from else {}


def _figures(kind: str, data: bytes) -> dict[str, str]:
    """What a report says in a few figures, for showing; the gates read it themselves."""
    report, _ = reports.read(kind, data)
    if isinstance(report, reports.SuiteReport):
        failed = report.failures + report.errors
        return {"passed": str(report.ran - failed), "failed": str(failed), "skipped": str(report.skipped)}
    if isinstance(report, reports.CoverageReport):
        return {"lines": f"{report.percent:.1f} %"}
    if isinstance(report, reports.FindingsReport):
        return {"findings": str(len(report.findings))}
    return {"result": "unreadable"}


def _verdict(context: Context, entry: RunEntry, claims: list[Evidence]) -> events.VerdictGiven:
    options = context.options
    jobs = {job.id: job for job in entry.jobs.values()}
    given = tuple(
        gate.Claim(
            kind=claim.kind,
            report=context.blobs.get(claim.digest),
            job=jobs[claim.uploaded_by].name,
            job_state=jobs[claim.uploaded_by].state,
            origin=claim.template,
            isolation=jobs[claim.uploaded_by].isolation,
            reuse=jobs[claim.uploaded_by].reuse,
            name=claim.summary.get("file", ""),
        )
        for claim in claims
    )
    asked = gate.Context(
        target=_target(context, entry),
        changed_paths=_changed(context, entry),
        jobs=tuple(entry.jobs.values()),
        now=context.clock.now(),
    )
    base = _base(context, entry)
    reasons: tuple[Reason, ...]
    try:
        policy = tightened(context, entry.run.project, base)
    except UserError as error:
        # What a service says about its own gates and cannot be used must not pass as if it had said nothing.
        reason = Reason(gate="policy", outcome=Outcome.BLOCK, message=error.message, mend=error.hint, where=error.where)
        outcome, reasons = Outcome.BLOCK, (reason,)
    else:
        outcome, reasons = gate.judge(policy, given, asked)
    return events.VerdictGiven(
        verdict=Verdict(
            id=context.new_id(),
            project=entry.run.project,
            commit=entry.run.commit,
            run=entry.run.id,
            outcome=Outcome(outcome),
            reasons=reasons,
            policy_digest=options.policy_digest,
            evidence=tuple(claim.id for claim in claims),
        )
    )


def tightened(context: Context, project: str, commit: str | None) -> GatePolicy:
    """The platform's gates, as the service's own file at `commit` makes them stricter; `UserError` where it loosens."""
    gates = context.options.gates
    if commit is None:
        return gates
    try:
        data = context.repository(project).read(commit, OWN_FILE)
    except NotFound:
        return gates
    try:
        document = yaml.load(data[:OWN_FILE_LIMIT], Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(
            "policy-yaml", f"{OWN_FILE} is not YAML: {error}", hint="mend it", where=Where(OWN_FILE)
        ) from error
    own = document.get("gates", {}) if isinstance(document, dict) else None
    if own is None or set(document) - {"gates"}:
        raise UserError(
            "policy-key", f"{OWN_FILE} holds `gates:` and nothing else", hint="see docs/gates.md", where=Where(OWN_FILE)
        )
    return merge_tighter(gates, read_fields(own, OWN_FILE), OWN_FILE)


def _base(context: Context, entry: RunEntry) -> str | None:
    """Whose policy judges: the target branch as it was before the change. None where there was nothing before."""
    number = merge_request_number(entry)
    repository = context.repository(entry.run.project)
    if number:
        return repository.refs("refs/heads/").get(f"refs/heads/{_target(context, entry)}")
    return change_of(context, entry.run.change).before if entry.run.change else entry.run.commit


def _target(context: Context, entry: RunEntry) -> str:
    """The branch whose policy judges: a merge request's target, else the branch itself."""
    number = merge_request_number(entry)
    if number:
        return merge_request_of(context, entry.run.project, number).target_branch
    return entry.run.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _changed(context: Context, entry: RunEntry) -> tuple[str, ...]:
    number = merge_request_number(entry)
    if number:
        repository = context.repository(entry.run.project)
        target = repository.refs("refs/heads/").get(f"refs/heads/{_target(context, entry)}")
        base = repository.merge_base(target, entry.run.commit) if target else None
        return repository.changed(base, entry.run.commit)
    return change_of(context, entry.run.change).changed if entry.run.change else ()


def merge_request_number(entry: RunEntry) -> int | None:
    """The number of the merge request that a run belongs to."""
    if entry.run.change.startswith("merge-request:"):
        return int(entry.run.change.rsplit(":", 1)[1])
    return None
