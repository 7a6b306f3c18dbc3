"""Judges a run: every claim against the policy, worst first, each with its mend.

Fails closed: a kind of evidence that the policy requires and nobody delivered blocks, as does a report that is empty
or cannot be read. It deliberately trusts nothing that a job says about itself beyond the report: name, state,
template, isolation and reuse of the job come from the server's own record. It signs and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aegis.core.reuse import JobReuse
from aegis.core.types import JobRun, Outcome, Reason, State
from aegis.gates.coverage import judge_coverage
from aegis.gates.findings import judge_findings
from aegis.gates.policy import GatePolicy, Reused
from aegis.gates.reports import (
    COVERAGE,
    KINDS,
    TESTS,
    CoverageReport,
    Diagnostic,
    FindingsReport,
    SuiteReport,
    merge_coverage,
    merge_suites,
    read,
)

EVIDENCE: Final = "evidence"
ISOLATION: Final = "isolation"
JOBS: Final = "jobs"

_GATES: Final = {gate: place for place, gate in enumerate((*KINDS, ISOLATION, EVIDENCE, JOBS))}
_OUTCOMES: Final = {Outcome.BLOCK: 0, Outcome.WARN: 1, Outcome.PASS: 2}
ISOLATED: Final = frozenset({"namespaces", "container"})
"""What counts as kept apart. Anything else, `process` and `shell` among it, does not."""

Report = SuiteReport | CoverageReport | FindingsReport

_MISSING: Final = {
    "tests": "let a job run `aegis project test` and declare its junit.xml under artifacts:reports:junit",
    "coverage": "let a job run `aegis project test` and declare its coverage.xml under artifacts:reports:coverage_report",
    "quality": "let a job run `aegis project lint` and declare its report under artifacts:reports:codequality",
    "dependencies": (
        "let a job run `aegis scan dependencies` and declare its report under artifacts:reports:dependency_scanning"
    ),
    "secrets": "let a job run `aegis scan secrets` and declare its report under artifacts:reports:secret_detection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A report and who delivered it. `report` is its bytes, or None where the job declared it and left nothing.

    `origin` is the template whose script the job ran unchanged, `isolation` how the job was kept apart.
    """

    kind: str
    report: bytes | Report | None
    job: str = ""
    job_state: State = State.SUCCESS
    origin: str | None = None
    isolation: str = ""
    name: str = ""
    reuse: JobReuse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is judged: the branch that the change is for, what it changed, and the jobs of its run.

    `changed_lines` maps paths to added or changed line numbers; None means that they are not known. Several attempts of
    a job may be given; the last one counts. `now` is needed for exemptions and the age of advisories.
    """

    target: str
    changed_paths: tuple[str, ...] = ()
    changed_lines: Mapping[str, tuple[int, ...]] | None = None
    jobs: tuple[JobRun, ...] = ()
    now: datetime | None = None


def judge(policy: GatePolicy, claims: tuple[Claim, ...], context: Context) -> tuple[Outcome, tuple[Reason, ...]]:
    """The outcome of a run and all reasons, worst first; passed gates are told last."""
    reasons: list[Reason] = []
    required = policy.requires(context.target)
    for kind in KINDS:
        mine = tuple(claim for claim in claims if claim.kind == kind)
        if mine:
            reasons += _kind(policy, kind, mine, context)
        elif kind in required:
            reasons.append(_missing(kind))
    reasons += [_unknown(claim) for claim in claims if claim.kind not in KINDS]
    reasons += _provenance(policy, claims)
    reasons += _jobs(context.jobs, claims)
    ordered = sorted(reasons, key=lambda one: (_OUTCOMES[one.outcome], _GATES.get(one.gate, len(_GATES))))
    outcome = ordered[0].outcome if ordered else Outcome.BLOCK
    if not ordered:
        ordered = [
            Reason(
                gate=EVIDENCE,
                outcome=Outcome.BLOCK,
                message="nothing was judged: the policy requires nothing and no job left a report",
                mend="declare under gates.required what a change to this branch has to prove",
            )
        ]
    return outcome, tuple(ordered)


def _kind(policy: GatePolicy, kind: str, claims: tuple[Claim, ...], context: Context) -> list[Reason]:
    reasons: list[Reason] = []
    suites: list[SuiteReport] = []
    coverages: list[CoverageReport] = []
    scans: list[FindingsReport] = []
    for claim in claims:
        report, problems = _read(claim)
        if report is None:
            reasons.append(_unreadable(claim, problems))
            continue
        if claim.job_state not in {State.SUCCESS, State.FAILED}:
            reasons.append(_unfinished(claim))
        if isinstance(report, SuiteReport):
            suites.append(report)
        elif isinstance(report, CoverageReport):
            coverages.append(report)
        else:
            scans.append(report)
            reasons += [_noted(claim, problem) for problem in problems]
    if suites:
        reasons += _tests(merge_suites(tuple(suites)))
    if coverages:
        merged = merge_coverage(tuple(coverages))
        reasons += judge_coverage(policy, merged, context.changed_paths, context.changed_lines)
    if scans:
        reasons += judge_findings(policy, kind, tuple(scans), context.now)
    return reasons


def _read(claim: Claim) -> tuple[Report | None, tuple[Diagnostic, ...]]:
    if claim.report is None:
        return None, (Diagnostic(code="report-missing", message="the job left no such report"),)
    if not isinstance(claim.report, bytes):
        fits = isinstance(claim.report, {TESTS: SuiteReport, COVERAGE: CoverageReport}.get(claim.kind, FindingsReport))
        if not fits:
            return None, (Diagnostic(code="report-kind", message="the report is of another kind"),)
        return claim.report, ()
    return read(claim.kind, claim.report)


def _tests(report: SuiteReport) -> list[Reason]:
    bad = report.failures + report.errors
    if bad:
        first = report.failed[0] if report.failed else None
        said = f"; first: {first.name}: {_one_line(first.message)}" if first else ""
        return [
            Reason(
                gate=TESTS,
                outcome=Outcome.BLOCK,
                message=f"{bad} of {report.tests} tests failed{said}",
                mend="run `aegis project test` here, then mend the code or the test",
                where=first.where if first else None,
            )
        ]
    if not report.ran:
        return [
            Reason(
                gate=TESTS,
                outcome=Outcome.BLOCK,
                message=f"no test was carried out ({report.skipped} skipped)",
                mend="check that the test command finds the tests: `aegis project test`",
            )
        ]
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    return [Reason(gate=TESTS, outcome=Outcome.PASS, message=f"{report.ran} tests passed{skipped}")]


def _provenance(policy: GatePolicy, claims: tuple[Claim, ...]) -> list[Reason]:
    """Once per job: whether its script is a template's, and whether it ran isolated."""
    reasons: list[Reason] = []
    jobs = {claim.job: claim for claim in claims if claim.job}
    for name, claim in jobs.items():
        if claim.origin is None and policy.foreign_jobs is not Outcome.PASS:
            reasons.append(
                Reason(
                    gate=EVIDENCE,
                    outcome=policy.foreign_jobs,
                    message=f"the evidence of job {name!r} comes from a script that is not a template's",
                    mend="take the job from the template library as it is: `include: {component: aegis/python-service@1}`",
                )
            )
        if (taken := _taken_over(policy, claim)) is not None:
            reasons.append(taken)
        if policy.isolation_required and claim.isolation not in ISOLATED:
            reasons.append(
                Reason(
                    gate=ISOLATION,
                    outcome=Outcome.BLOCK,
                    message=f"job {name!r} ran without isolation, so its evidence could have been made by another job",
                    mend="run it on a runner with isolation; `aegis doctor` says what keeps this machine from it",
                )
            )
    return reasons


def _taken_over(policy: GatePolicy, claim: Claim) -> Reason | None:
    """Why the evidence of a job does not count whose result is an earlier one's."""
    if claim.reuse is None or not claim.reuse.run or policy.reused is Reused.ANY:
        return None
    if policy.reused is Reused.SAME_TREE and claim.reuse.same_tree:
        return None
    why = (
        "the policy counts no reused evidence"
        if policy.reused is Reused.NEVER
        else "other files of the tree have changed since"
    )
    return Reason(
        gate=EVIDENCE,
        outcome=Outcome.BLOCK,
        message=f"the evidence of job {claim.job!r} was made by run {claim.reuse.run} on commit {claim.reuse.commit[:8]}: {why}",
        mend="run the pipeline with the variable AEGIS_NO_REUSE=true, or let `gates.reused` count it",
    )


def _jobs(jobs: tuple[JobRun, ...], claims: tuple[Claim, ...]) -> list[Reason]:
    """Failed jobs of the run, and failed jobs that only a claim tells of."""
    latest = {
        claim.job: JobRun(id="", name=claim.job, stage="", state=claim.job_state, attempt=0)
        for claim in claims
        if claim.job
    }
    for job in jobs:
        if job.name not in latest or job.attempt >= latest[job.name].attempt:
            latest[job.name] = job
    reasons: list[Reason] = []
    for job in latest.values():
        if job.state in {State.FAILED, State.CANCELED}:
            why = job.message or (job.failure_reason or "").replace("_", " ")
            reasons.append(
                Reason(
                    gate=JOBS,
                    outcome=Outcome.WARN if job.allow_failure else Outcome.BLOCK,
                    message=f"job {job.name!r} {'failed' if job.state is State.FAILED else 'was canceled'}"
                    + (f": {_one_line(why)}" if why else ""),
                    mend=f"`aegis explain {job.name}` says why; `aegis logs {job.name}` shows its log",
                )
            )
    return reasons


def _missing(kind: str) -> Reason:
    return Reason(
        gate=kind,
        outcome=Outcome.BLOCK,
        message=f"no job delivered evidence about {kind}, which the policy requires",
        mend=_MISSING[kind],
    )


def _unknown(claim: Claim) -> Reason:
    return Reason(
        gate=EVIDENCE,
        outcome=Outcome.WARN,
        message=f"job {claim.job!r} delivered evidence of an unknown kind {claim.kind!r}; it was not judged",
        mend=f"known kinds are {', '.join(KINDS)}",
    )


def _unreadable(claim: Claim, problems: tuple[Diagnostic, ...]) -> Reason:
    said = problems[0].message if problems else "it holds nothing"
    who = f" of job {claim.job!r}" if claim.job else ""
    file = f" {claim.name}" if claim.name else ""
    return Reason(
        gate=claim.kind,
        outcome=Outcome.BLOCK,
        message=f"the {claim.kind} report{file}{who} cannot be judged: {said}",
        mend=_MISSING.get(claim.kind, "deliver a report that can be read"),
    )


def _unfinished(claim: Claim) -> Reason:
    return Reason(
        gate=claim.kind,
        outcome=Outcome.BLOCK,
        message=f"job {claim.job!r} is {claim.job_state.replace('_', ' ')}; its {claim.kind} report may not be whole",
        mend=f"run the job again: `aegis retry {claim.job}`",
    )


def _noted(claim: Claim, problem: Diagnostic) -> Reason:
    return Reason(
        gate=claim.kind,
        outcome=Outcome.WARN,
        message=f"the {claim.kind} report{' ' + claim.name if claim.name else ''}: {problem.message}",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
