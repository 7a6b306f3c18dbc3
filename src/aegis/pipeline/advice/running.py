"""Advice about when jobs run: what never does, what runs twice, what waits or goes on in vain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aegis.core.errors import Where
from aegis.pipeline.advice.occasions import shape
from aegis.pipeline.advice.subject import Finding, Rule, Subject, acts_outside, deploys, is_true, leaves, mapping, texts
from aegis.pipeline.conditions import flat
from aegis.pipeline.configuration import Definition
from aegis.pipeline.document import Map, Scalar, Seq


def _workflow_kinds(subject: Subject) -> frozenset[str] | None:
    workflow = subject.configuration.workflow
    rules = flat(workflow.get("rules")) if workflow is not None else ()
    return subject.occasions.possible(shape(rules)) if rules else None


def _when(rule: Map) -> str:
    node = rule.get("when")
    return node.text if isinstance(node, Scalar) else ""


def _never_runs(subject: Subject) -> Iterator[Finding]:
    workflow = _workflow_kinds(subject)
    for one in subject.ruled():
        job, own, where = one.job, subject.occasions.possible(one.shape), one.rules[0].where
        if not own:
            yield Finding(
                message=f"`{job.name}` can never run: no rule lets it in, whatever the pipeline is for",
                where=where, hint="mend its rules, or remove the job", job=job.name,
            )  # fmt: skip
        elif workflow is not None and not own & workflow:
            kinds = ", ".join(sorted(own))
            yield Finding(
                message=f"`{job.name}` can never run: its rules ask for pipelines ({kinds}) that `workflow: rules` keep out",
                where=where, hint="let such pipelines in under `workflow: rules`, or mend the job's rules", job=job.name,
            )  # fmt: skip


def _unreachable_rule(subject: Subject) -> Iterator[Finding]:
    seen: set[int] = set()
    for one in subject.ruled():
        job, rules = one.job, one.rules
        for index, clause in enumerate(one.shape[:-1]):
            if not subject.occasions.always(clause):
                continue
            after = rules[index + 1]
            if id(after) not in seen and subject.is_own(after.file):
                seen.add(id(after))
                yield Finding(
                    message=f"`{job.name}: rules[{index + 1}]` is never looked at: rules[{index}] always matches",
                    where=after.where, hint="put the rule without a condition last", job=job.name,
                )  # fmt: skip
            break


def _double_pipelines(subject: Subject) -> Iterator[Finding]:
    """A branch with an open merge request gets two pipelines where nothing chooses between them."""
    if subject.configuration.workflow is not None and subject.configuration.workflow.has("rules"):
        return
    for one in subject.ruled():
        job, rules = one.job, one.rules
        last = rules[-1]
        if set(last.entries) == {"when"} and _when(last) != "never":
            continue  # `several-pipelines` says so already
        if {"branch", "merge request"} <= subject.occasions.possible(one.shape) and _names_merge_requests(rules):
            yield Finding(
                message=f"`{job.name}` may run twice for one push: its rules fit the branch and its merge request",
                where=rules[0].where, job=job.name,
                hint="add `workflow: rules` with `- if: $CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS` and `when: never`",
            )  # fmt: skip
            return


def _names_merge_requests(rules: tuple[Map, ...]) -> bool:
    conditions = (rule.get("if") for rule in rules)
    return any(isinstance(one, Scalar) and "merge_request" in one.text.lower() for one in conditions)


def _serial_needs(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        if acts_outside(job) or job.text("when") == "manual":
            continue
        for name, takes in subject.needs(job).items():
            other = subject.configuration.jobs[name]
            waits_for_nothing = not (takes and leaves(other)) and not acts_outside(other)
            if waits_for_nothing and other.stage == job.stage and other.get("cache") is None:
                yield Finding(
                    message=f"`{job.name}` waits for `{name}` of its own stage and takes nothing from it",
                    where=_need_place(job, name), job=job.name,
                    hint=f"remove `{name}` from `needs`, so that both run at once; or let it hand something over",
                )  # fmt: skip


def _need_place(job: Definition, name: str) -> Where:
    needs = job.get("needs")
    for one in texts(needs):
        if one.text == name:
            return one.where
    for item in needs.items if isinstance(needs, Seq) else ():
        target = item.get("job") if isinstance(item, Map) else None
        if isinstance(target, Scalar) and target.text == name:
            return target.where
    return job.key.where


def _redundant_need(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        needed = subject.needs(job)
        if len(needed) < 2:
            continue
        for name, takes in needed.items():
            other = subject.configuration.jobs[name]
            if takes and leaves(other):
                continue
            through = next(
                (one for one in needed if one != name and name in subject.needs(subject.configuration.jobs[one])), None
            )
            if through is not None:
                yield Finding(
                    message=f"`{job.name}` needs `{name}`, which `{through}` needs already, and takes nothing from it",
                    where=_need_place(job, name), hint=f"remove `{name}` from `needs`", job=job.name,
                )  # fmt: skip


def _uninterruptible(subject: Subject) -> Iterator[Finding]:
    missing: list[Definition] = []
    for job in subject.configuration.jobs.values():
        ruled = any(rule.has("interruptible") for rule in flat(job.node.get("rules")))
        if job.get("interruptible") is None and not ruled and not acts_outside(job) and subject.is_own(job.key.file):
            missing.append(job)
    if not missing:
        return
    shown = ", ".join(f"`{job.name}`" for job in missing[:4]) + (
        f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    )
    default = mapping(subject.configuration.root.get("default"))
    begin = "add" if default is not None else "write"
    yield Finding(
        message=f"{shown} do not say whether a newer push may cancel them (`interruptible`)"
        if len(missing) > 1 else f"{shown} does not say whether a newer push may cancel it (`interruptible`)",
        where=missing[0].key.where, hint=f"{begin} `default: interruptible: true`, and `interruptible: false` where work must not be cut short",
        job=missing[0].name,
    )  # fmt: skip


def _retry_always(subject: Subject) -> Iterator[Finding]:
    seen: set[int] = set()
    for job in subject.jobs():
        node = job.get("retry")
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Map):
            most, causes = node.get("max"), [one.text for one in texts(node.get("when"))]
            often = isinstance(most, Scalar) and isinstance(most.value, int) and most.value > 0
            bad = often and not node.has("exit_codes") and (not causes or "always" in causes)
        else:
            bad = isinstance(node, Scalar) and isinstance(node.value, int) and node.value > 0
        if bad and subject.is_own(node.file):
            yield Finding(
                message=f"`{job.name}: retry` repeats every failure, real ones too: a broken test costs the time several times",
                where=node.where, job=job.name,
                hint="name the causes: `when: [runner_system_failure, stuck_or_timeout_failure]`",
            )  # fmt: skip


def _deploy_timeout(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        if deploys(job) and job.get("timeout") is None and not job.node.has("trigger"):
            yield Finding(
                message=f"`{job.name}` deploys without a `timeout`: one that hangs holds everything for an hour",
                where=job.key.where, hint="add `timeout: 10 minutes`", job=job.name,
            )  # fmt: skip


def _allowed_deployment(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        node = job.node.get("allow_failure")
        if deploys(job) and node is not None and is_true(node) and job.text("when") != "manual":
            yield Finding(
                message=f"`{job.name}` deploys and may fail without anybody being told",
                where=node.where, hint="remove `allow_failure`", job=job.name,
            )  # fmt: skip


RULES: Final = (
    Rule(name="never-runs", title="A job that can never run", find=_never_runs,
         why="Its rules contradict themselves or the workflow's, so what it checks is never checked."),
    Rule(name="unreachable-rule", title="A rule after one that always matches", find=_unreachable_rule,
         why="The first rule that matches decides; those behind it are dead text that looks alive."),
    Rule(name="double-pipelines", title="Rules that fit a branch and its merge request", find=_double_pipelines,
         why="One push then makes two pipelines with the same jobs."),
    Rule(name="serial-needs", title="`needs` that serialise without reason", find=_serial_needs,
         why="Two jobs of one stage that hand nothing over could run at the same time."),
    Rule(name="redundant-need", title="A need that another need includes", find=_redundant_need,
         why="It changes nothing and hides which edges matter."),
    Rule(name="uninterruptible", title="No `interruptible`", find=_uninterruptible,
         why="Pipelines of outdated commits run to their end and take the runners of newer ones."),
    Rule(name="retry-always", title="`retry` without causes", find=_retry_always,
         why="It hides flaky tests and multiplies the time of real failures."),
    Rule(name="deploy-timeout", title="A deployment without `timeout`", find=_deploy_timeout,
         why="A deployment that hangs should be noticed in minutes."),
    Rule(name="deploy-may-fail", title="A deployment that may fail", find=_allowed_deployment,
         why="A failed deployment has to stop what comes after it, and to be told."),
)  # fmt: skip
