"""Advice about what jobs leave, keep and take: artifacts, caches, environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aegis.pipeline.advice.subject import (
    Finding,
    Rule,
    Subject,
    acts_outside,
    deploys,
    environment_name,
    environment_tier,
    is_true,
    mapping,
)
from aegis.pipeline.conditions import strings
from aegis.pipeline.document import Map, Scalar, Seq


def _unused_artifacts(subject: Subject) -> Iterator[Finding]:
    """Jobs whose files nobody fetches. One pass over all edges, then one over the jobs."""
    order = subject.names.order
    taken: set[str] = set()
    last = greedy = -1
    for job in subject.configuration.jobs.values():
        stage = order.get(job.stage, 0)
        last = max(last, stage)
        dependencies = job.get("dependencies")
        if isinstance(dependencies, Seq):
            targets = (subject.names.definition(name) for name in strings(dependencies))
            taken.update(one.name for one in targets if one is not None)
        elif job.get("needs") is not None:
            taken.update(name for name, takes in subject.needs(job).items() if takes)
        else:
            greedy = max(greedy, stage)  # takes everything of earlier stages
    for job in subject.jobs():
        node = mapping(job.get("artifacts"))
        if node is None or not (strings(node.get("paths")) or is_true(node.get("untracked"))):
            continue
        stage = order.get(job.stage, 0)
        if job.name in taken or stage < greedy or stage == last or node.has("expose_as") or acts_outside(job):
            continue
        where = node.key("paths")
        yield Finding(
            message=f"`{job.name}` keeps artifacts that no job takes",
            where=where.where if where is not None else node.where, job=job.name,
            hint="remove them, name the job in `needs` of the one that wants them, or say with `expose_as` that people do",
        )  # fmt: skip


def _cache_without_key(subject: Subject) -> Iterator[Finding]:
    seen: set[int] = set()
    for job in subject.jobs():
        node = job.get("cache")
        for one in node.items if isinstance(node, Seq) else (node,):
            if not isinstance(one, Map) or id(one) in seen or one.has("key") or not subject.is_own(one.file):
                continue
            seen.add(id(one))
            if strings(one.get("paths")) or is_true(one.get("untracked")):
                yield Finding(
                    message=f"`{job.name}: cache` has no key: every branch and job shares it, and it never gets fresh",
                    where=one.where, hint="add `key: {files: [requirements.lock]}`", job=job.name,
                )  # fmt: skip


def _concurrent_deploys(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        if deploys(job) and "$" not in environment_name(job) and job.get("resource_group") is None:
            yield Finding(
                message=f"`{job.name}` may deploy to `{environment_name(job)}` while another pipeline does",
                where=job.key.where, hint=f"add `resource_group: {environment_name(job)}`", job=job.name,
            )  # fmt: skip


def _unguarded_production(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        if not deploys(job) or environment_tier(job) != "production" or job.node.has("trigger"):
            continue
        guarded = job.text("when") in {"manual", "delayed"} or job.node.has("rules") or job.node.has("only")
        if not guarded:
            yield Finding(
                message=f"`{job.name}` deploys to production from every branch and tag",
                where=job.key.where, hint="add `rules: [{if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH, when: manual}]`",
                job=job.name,
            )  # fmt: skip


def _endless_environment(subject: Subject) -> Iterator[Finding]:
    for job in subject.jobs():
        node = job.get("environment")
        name = environment_name(job)
        if not deploys(job) or "$" not in name:
            continue
        stops = isinstance(node, Map) and (node.has("on_stop") or node.has("auto_stop_in"))
        if not stops:
            place = node.get("name") if isinstance(node, Map) else node
            yield Finding(
                message=f"`{job.name}` makes environments (`{name}`) that nothing stops",
                where=place.where if isinstance(place, Scalar) else job.key.where, job=job.name,
                hint="add `auto_stop_in: 1 week`, or `on_stop` with a job of `action: stop`",
            )  # fmt: skip


RULES: Final = (
    Rule(name="unused-artifacts", title="Artifacts that nobody takes", find=_unused_artifacts,
         why="They cost upload time and storage in every pipeline."),
    Rule(name="cache-without-key", title="A cache without a key", find=_cache_without_key,
         why="All jobs and branches overwrite one another's, and a stale one is never left behind."),
    Rule(name="concurrent-deploys", title="A deployment without `resource_group`", find=_concurrent_deploys,
         why="An older pipeline that is slower can overwrite a newer one's deployment."),
    Rule(name="unguarded-production", title="Production without a condition", find=_unguarded_production,
         why="Any branch that is pushed goes to production."),
    Rule(name="endless-environment", title="Review environments that nothing stops", find=_endless_environment,
         why="Each branch leaves one running for good."),
)  # fmt: skip
