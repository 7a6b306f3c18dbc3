"""One definition, one instance and what its rules said, as a `JobSpec`. Pure.

Decides how each keyword becomes a field, and which texts are expanded here. Edges to other jobs are drawn in `graph`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from aegis.core.plan import ArtifactSpec, CacheSpec, Image, JobEnvironment, JobSpec, Need, Retry, Variable
from aegis.pipeline import durations, effects, templates
from aegis.pipeline.conditions import Match, strings
from aegis.pipeline.configuration import Definition, is_pages, scalar_text
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.matrix import Instance
from aegis.pipeline.predefined import tier
from aegis.pipeline.variables import Expansion, expand_known, visible

CANNOT: Final = "This job uses `{keywords}`, which cannot be carried out here; it fails rather than pass unseen."


class Chosen(NamedTuple):
    """What rules (or `only`, or nothing) decided about one instance."""

    definition: Definition
    instance: Instance
    match: Match | None
    reason: str
    when: str
    start_in: int | None
    allow_failure: bool
    exit_codes: tuple[int, ...]


def choose(definition: Definition, instance: Instance, match: Match | None, reason: str) -> Chosen:
    """Joins the job's own `when`, `start_in` and `allow_failure` with those of the matching rule."""
    when = definition.text("when") or "on_success"
    allowed = definition.get("allow_failure")
    codes: tuple[int, ...] = ()
    static = when == "manual"
    if isinstance(allowed, Map):
        static, codes = False, numbers(allowed.get("exit_codes"))
    elif isinstance(allowed, Scalar):
        static = allowed.value is True
    start = definition.text("start_in")
    if match is not None:
        when = match.text("when") or when
        start = match.text("start_in") or start
        ruled = match.rule.get("allow_failure")
        if isinstance(ruled, Map):
            static, codes = False, numbers(ruled.get("exit_codes"))
        elif isinstance(ruled, Scalar) and ruled.value is not None:
            static, codes = ruled.value is True, ()
    return Chosen(
        definition=definition,
        instance=instance,
        match=match,
        reason=reason,
        when=when,
        start_in=durations.seconds(start) if start and when == "delayed" else None,
        allow_failure=static,
        exit_codes=codes,
    )


def numbers(node: Node | None) -> tuple[int, ...]:
    """An integer or a list of integers."""
    nodes = node.items if isinstance(node, Seq) else (node,)
    return tuple(one.value for one in nodes if isinstance(one, Scalar) and isinstance(one.value, int))


def script_lines(node: Node | None) -> tuple[str, ...]:
    """A script as its lines, nested lists flattened."""
    if node is None:
        return ()
    if isinstance(node, Seq) and all(isinstance(one, Scalar) for one in node.items):
        return tuple([one.value for one in node.items if isinstance(one, Scalar) and isinstance(one.value, str)])
    found: list[str] = []
    stack: list[Node] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, Seq):
            stack.extend(reversed(one.items))
        elif isinstance(one, Scalar) and isinstance(one.value, str):
            found.append(one.value)
    return tuple(found)


def origin(definition: Definition) -> str | None:
    """The component that every script of the job comes from, unchanged; None when any line is someone else's."""
    own = definition.values.get("script")
    if own is None or not own.file.startswith("aegis/"):
        return None
    files: set[str] = set()
    for keyword in ("before_script", "script", "after_script"):
        node = definition.get(keyword)
        stack: list[Node] = [node] if node is not None else []
        while stack:
            one = stack.pop()
            files.add(one.file)
            if isinstance(one, Seq):
                stack.extend(one.items)
        if len(files) > 1:
            return None
    only = next(iter(files), "")
    return only if only.startswith("aegis/") and templates.read(only) is not None else None


def interruptible(chosen: Chosen) -> bool:
    """Whether a newer pipeline may cancel the job."""
    ruled = chosen.match.rule.get("interruptible") if chosen.match is not None else None
    node = ruled if isinstance(ruled, Scalar) and ruled.value is not None else chosen.definition.get("interruptible")
    return isinstance(node, Scalar) and node.value is True


def environment(definition: Definition, expansion: Expansion) -> JobEnvironment | None:
    """The environment a job names, with its name expanded; the address is expanded by `address`."""
    node = definition.get("environment")
    if isinstance(node, Scalar):
        name = expansion.text(node.text)
        return JobEnvironment(name=name, tier=tier(name))
    if not isinstance(node, Map):
        return None
    name = expansion.text(_text(node, "name") or "")
    url = _text(node, "url")
    stop = _text(node, "auto_stop_in")
    return JobEnvironment(
        name=name,
        action=_text(node, "action") or "start",
        url=url,
        on_stop=_text(node, "on_stop"),
        tier=_text(node, "deployment_tier") or tier(name),
        auto_stop_in=durations.seconds(expansion.text(stop)) if stop else None,
    )


def address(environment: JobEnvironment | None, expansion: Expansion) -> JobEnvironment | None:
    """The environment with its address expanded, which may name the environment itself."""
    if environment is None or environment.url is None:
        return environment
    return replace(environment, url=expansion.text(environment.url))


def _text(node: Map, key: str) -> str | None:
    value = node.get(key)
    return value.text if isinstance(value, Scalar) and value.value is not None else None


def _flag(node: Map, key: str) -> bool:
    value = node.get(key)
    return isinstance(value, Scalar) and value.value is True


def image(node: Node | None, expansion: Expansion) -> Image | None:
    """An `image` or one of the `services`."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Image(name=expansion.text(node.text))
    if not isinstance(node, Map):
        return None
    docker = node.get("docker")
    variables = node.get("variables")
    return Image(
        name=expansion.text(_text(node, "name") or ""),
        entrypoint=strings(node.get("entrypoint")) if node.has("entrypoint") else None,
        alias=_text(node, "alias"),
        command=strings(node.get("command")) if node.has("command") else None,
        variables={name: scalar_text(one) for name, one in variables.items()} if isinstance(variables, Map) else {},
        pull_policy=strings(node.get("pull_policy")),
        user=_text(docker, "user") if isinstance(docker, Map) else None,
        platform=_text(docker, "platform") if isinstance(docker, Map) else None,
    )


def published(definition: Definition) -> str | None:
    """The directory that a pages job publishes; None for any other job."""
    if not is_pages(definition):
        return None
    pages = definition.get("pages")
    inner = _text(pages, "publish") if isinstance(pages, Map) else None
    return inner or definition.text("publish") or "public"


def artifacts(node: Node | None, expansion: Expansion, publish: str | None = None) -> ArtifactSpec | None:
    """What a job leaves; paths and name expanded. The directory of a pages job is always part of it."""
    if not isinstance(node, Map):
        return ArtifactSpec(paths=(expansion.text(publish),)) if publish is not None else None
    paths = strings(node.get("paths"))
    if publish is not None and publish not in paths:
        paths = (*paths, publish)
    reports: dict[str, tuple[str, ...]] = {}
    declared = node.get("reports")
    if isinstance(declared, Map):
        for kind, value in declared.items():
            found = strings(value.get("path")) if isinstance(value, Map) else strings(value)
            reports[kind] = _expanded(found, expansion)
    public = node.get("public")
    private = isinstance(public, Scalar) and public.value is False
    name = _text(node, "name")
    expire = _text(node, "expire_in")
    return ArtifactSpec(
        paths=_expanded(paths, expansion),
        exclude=_expanded(strings(node.get("exclude")), expansion),
        untracked=_flag(node, "untracked"),
        when=_text(node, "when") or "on_success",
        name=expansion.text(name) if name is not None else None,
        expire_in=durations.seconds(expire) if expire and expire != "never" else None,
        reports=reports,
        expose_as=_text(node, "expose_as"),
        access=_text(node, "access") or ("developer" if private else "all"),
    )


def _expanded(paths: tuple[str, ...], expansion: Expansion) -> tuple[str, ...]:
    return tuple(expansion.text(path) if "$" in path or "%" in path else path for path in paths)


def caches(node: Node | None, expansion: Expansion) -> tuple[CacheSpec, ...]:
    """Each cache; one without paths and `untracked` keeps nothing and is left out."""
    nodes = node.items if isinstance(node, Seq) else (node,)
    found = (_cache(one, expansion) for one in nodes if isinstance(one, Map))
    return tuple(cache for cache in found if cache.paths or cache.untracked)


def _cache(node: Map, expansion: Expansion) -> CacheSpec:
    key = node.get("key")
    name = "default"
    files: tuple[str, ...] = ()
    prefix: str | None = None
    if isinstance(key, Map):
        files = _expanded(strings(key.get("files")) or strings(key.get("files_commits")), expansion)
        written = _text(key, "prefix")
        prefix = expansion.text(written) if written is not None else None
    elif isinstance(key, Scalar) and key.value is not None:
        name = expansion.text(key.text).replace("/", "%2F") or "default"
    return CacheSpec(
        key=name,
        key_files=files,
        key_prefix=prefix,
        paths=_expanded(strings(node.get("paths")), expansion),
        policy=expansion.text(_text(node, "policy") or "pull-push"),
        when=_text(node, "when") or "on_success",
        untracked=_flag(node, "untracked"),
        unprotect=_flag(node, "unprotect"),
        fallback_keys=_expanded(strings(node.get("fallback_keys")), expansion),
    )


def retry(node: Node | None) -> Retry:
    """How often and why a job is tried again."""
    if isinstance(node, Scalar) and isinstance(node.value, int):
        return Retry(max=node.value)
    if not isinstance(node, Map):
        return Retry()
    most = node.get("max")
    codes = numbers(node.get("exit_codes"))
    causes = strings(node.get("when"))
    return Retry(
        max=most.value if isinstance(most, Scalar) and isinstance(most.value, int) else 0,
        when=causes or (() if codes else ("always",)),
        exit_codes=codes,
    )


def _script(definition: Definition) -> tuple[tuple[str, ...], bool]:
    """The script, or that of `run`; and whether it stands in for steps that cannot be carried out here."""
    if not definition.node.has("run"):
        return script_lines(definition.get("script")), False
    steps = effects.run_steps(definition)
    if steps is not None:
        return steps, False
    text = CANNOT.format(keywords="run").replace("`", "")
    return (f"echo '{text}' >&2", "exit 1"), True


def build(
    chosen: Chosen,
    *,
    variables: Mapping[str, Variable],
    expansion: Expansion,
    place: JobEnvironment | None,
    edges: tuple[tuple[Need, ...] | None, tuple[str, ...] | None],
    given: Mapping[str, Variable],
) -> JobSpec:
    """The job. `edges` are its needs and dependencies; `given` are the variables that a trigger job hands on."""
    definition, instance = chosen.definition, chosen.instance
    timeout = definition.text("timeout")
    script, impossible = _script(definition)
    services = definition.get("services")
    group = definition.text("resource_group")
    tags = strings(definition.get("tags"))
    return JobSpec(
        name=instance.name,
        stage=definition.stage,
        script=script,
        before_script=() if impossible else script_lines(definition.get("before_script")),
        after_script=() if impossible else script_lines(definition.get("after_script")),
        when=chosen.when,
        start_in=chosen.start_in,
        allow_failure=chosen.allow_failure,
        allow_failure_exit_codes=chosen.exit_codes,
        needs=edges[0],
        dependencies=edges[1],
        variables=(
            *[effects.referred(one) if one.value.startswith(effects.SECRET) else one for one in expansion.final()],
            *effects.secret_variables(definition, expansion),
        ),
        image=image(definition.get("image"), expansion),
        services=tuple(
            one
            for one in (image(node, expansion) for node in (services.items if isinstance(services, Seq) else ()))
            if one is not None
        ),
        artifacts=artifacts(definition.get("artifacts"), expansion, published(definition)),
        cache=caches(definition.get("cache"), expansion),
        retry=retry(definition.get("retry")),
        timeout=(durations.seconds(timeout) if timeout else None) or 3600,
        interruptible=interruptible(chosen),
        resource_group=expansion.text(group) if group else None,
        environment=place,
        tags=tuple(expand_known(tag, visible(variables)) if "$" in tag or "%" in tag else tag for tag in tags),
        coverage=definition.text("coverage"),
        parallel_index=instance.number,
        parallel_total=instance.total,
        manual_confirmation=definition.text("manual_confirmation"),
        pre_get_sources=effects.pre_get_sources(definition),
        trigger=effects.trigger(definition, expansion, given),
        id_tokens=effects.id_tokens(definition, expansion),
        release=effects.release(definition),
        pages=effects.pages(definition, expansion),
        foreign_needs=effects.foreign_needs(definition, expansion),
        origin=None if impossible or not variables else origin(definition),
        reason=chosen.reason,
        where=definition.key.where,
    )
