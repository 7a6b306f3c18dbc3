"""What a job does besides its script: pipelines it starts, tokens and secrets it gets, what it publishes. Pure.

Decides how these keywords become fields of the plan. Whether and when they are carried out is decided by execution and
delivery; whether their form is right was checked before.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aegis.core.plan import ForeignNeed, IdToken, PagesSpec, ReleaseSpec, Trigger, Variable
from aegis.pipeline import durations
from aegis.pipeline.configuration import Definition, yaml_variables
from aegis.pipeline.document import Map, Node, Scalar, Seq, plain
from aegis.pipeline.variables import Expansion

SECRET: Final = "secret://"  # noqa: S105 - how a reference begins
_NAMES: Final = {
    "gitlab_secrets_manager": "name",
    "azure_key_vault": "name",
    "gcp_secret_manager": "name",
    "akeyless": "name",
    "aws_secrets_manager": "secret_id",
}


def trigger(definition: Definition, expansion: Expansion, given: Mapping[str, Variable]) -> Trigger | None:
    """The pipeline that takes the script's place; `given` are the variables that the pipeline file gives this job."""
    node = definition.get("trigger")
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Trigger(project=expansion.text(node.text), variables=tuple(given.values()))
    if not isinstance(node, Map):
        return None
    written = _texts(plain(node), expansion)
    include = written.get("include") or ()
    entries = include if isinstance(include, list | tuple) else (include,)
    forward = written.get("forward") or {}
    return Trigger(
        project=written.get("project") or "",
        branch=str(written.get("branch") or ""),
        include=tuple(_entry(one) for one in entries),
        strategy=written.get("strategy") or "",
        forward_yaml=forward.get("yaml_variables", True) is not False,
        forward_pipeline=forward.get("pipeline_variables", False) is True,
        inputs=written.get("inputs") or {},
        variables=tuple(given.values()),
    )


def _entry(written: Any) -> Mapping[str, Any]:
    if isinstance(written, Mapping):
        return dict(written)
    text = str(written)
    return {"remote" if text.startswith(("http://", "https://")) else "local": text}


def _texts(value: Any, expansion: Expansion) -> Any:
    """A plain value with every text in it expanded."""
    if isinstance(value, str):
        return expansion.text(value)
    if isinstance(value, Mapping):
        return {key: _texts(one, expansion) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(one, expansion) for one in value]
    return value


def id_tokens(definition: Definition, expansion: Expansion) -> tuple[IdToken, ...]:
    """The tokens by the name of their variable."""
    node = definition.get("id_tokens")
    found: list[IdToken] = []
    for name, one in node.items() if isinstance(node, Map) else ():
        audience = _texts(plain(one), expansion).get("aud", ()) if isinstance(one, Map) else ()
        audiences = (audience,) if isinstance(audience, str) else tuple(str(each) for each in audience)
        found.append(IdToken(name=name, audiences=audiences))
    return tuple(found)


def release(definition: Definition) -> ReleaseSpec | None:
    """What is published under a tag. Its texts stay unexpanded: the job's own dotenv report may fill them."""
    node = definition.get("release")
    if not isinstance(node, Map):
        return None
    written = plain(node)
    links = (written.get("assets") or {}).get("links") or ()
    return ReleaseSpec(
        tag_name=str(written.get("tag_name") or ""),
        description=str(written.get("description") or ""),
        name=str(written.get("name") or ""),
        tag_message=str(written.get("tag_message") or ""),
        ref=str(written.get("ref") or ""),
        milestones=tuple(str(one) for one in written.get("milestones") or ()),
        released_at=str(written.get("released_at") or ""),
        links=tuple({key: str(value) for key, value in one.items()} for one in links),
    )


DAY: Final = 86400


def pages(definition: Definition, expansion: Expansion) -> PagesSpec | None:
    """Whether the job's archive becomes the project's pages: it says so, or it is the job named `pages`."""
    node = definition.get("pages")
    older = definition.text("publish")
    if isinstance(node, Scalar) and node.value is False:
        return None
    if isinstance(node, Map):
        written = _texts(plain(node), expansion)
        prefix, expire = str(written.get("path_prefix") or ""), written.get("expire_in")
        # A deployment beside the main one goes after a day, where nothing else is said.
        lasts = DAY if expire is None and prefix else None
        return PagesSpec(
            publish=str(written.get("publish") or older or "public"),
            path_prefix=prefix,
            expire_in=durations.seconds(expire) if isinstance(expire, str) and expire != "never" else lasts,
        )
    if (isinstance(node, Scalar) and node.value is True) or definition.name == "pages":
        return PagesSpec(publish=expansion.text(older) if older else "public")
    return None


def pre_get_sources(definition: Definition) -> tuple[str, ...]:
    """The commands of `hooks:pre_get_sources_script`."""
    node = definition.get("hooks")
    script = node.get("pre_get_sources_script") if isinstance(node, Map) else None
    return tuple(_lines(script))


def _lines(node: Node | None) -> Iterator[str]:
    if isinstance(node, Seq):
        for one in node.items:
            yield from _lines(one)
    elif isinstance(node, Scalar) and isinstance(node.value, str):
        yield node.value


def run_steps(definition: Definition) -> tuple[str, ...] | None:
    """`run` as a script, each step in a subshell of its own; None where a step is more than a script."""
    node = definition.get("run")
    steps = plain(node) if isinstance(node, Seq) else ()
    lines: list[str] = []
    for step in steps:
        if not isinstance(step, Mapping) or set(step) - {"name", "script", "env"} or "script" not in step:
            return None
        script = step["script"]
        body = "\n".join(script) if isinstance(script, list) else str(script)
        exports = [f"export {key}={shlex.quote(str(value))}" for key, value in (step.get("env") or {}).items()]
        lines.append("\n".join((f"( # {step.get('name', 'step')}", *exports, body.rstrip("\n"), ")")))
    return tuple(lines)


def secret_variables(definition: Definition, expansion: Expansion) -> tuple[Variable, ...]:
    """`secrets` as variables whose values are references. A secret of another store is looked up under its path here."""
    node = definition.get("secrets")
    found: list[Variable] = []
    for name, one in node.items() if isinstance(node, Map) else ():
        written = _texts(plain(one), expansion) if isinstance(one, Map) else {}
        reference = _reference(written)
        file = written.get("file", True) is not False
        found.append(Variable(key=name, value="", secret=reference, masked=True, raw=True, file=file))
    return tuple(found)


def _reference(written: Mapping[str, Any]) -> str:
    if isinstance(written.get("aegis"), str):
        text: str = written["aegis"]
        return text if text.startswith(SECRET) else f"{SECRET}{text}"
    vault = written.get("vault")
    if isinstance(vault, str):
        path, _, field = vault.partition("@")[0].rpartition("/")
        return f"{SECRET}{path}#{field}"
    if isinstance(vault, Mapping):
        return f"{SECRET}{vault.get('path', '')}#{vault.get('field', 'value')}"
    for provider, key in _NAMES.items():
        entry = written.get(provider)
        if isinstance(entry, Mapping):
            named = entry.get("field")
            return f"{SECRET}{entry.get(key, '')}" + (f"#{named}" if named else "")
        if isinstance(entry, str):
            path, _, field = entry.partition("#")
            return f"{SECRET}{path}" + (f"#{field}" if field else "")
    return SECRET


def referred(variable: Variable) -> Variable:
    """A variable whose value is a reference to a secret, as one that is resolved when the job starts."""
    if variable.secret is None and variable.value.startswith(SECRET):
        return Variable(key=variable.key, value="", secret=variable.value, masked=True, raw=True, file=variable.file)
    return variable


def foreign_needs(definition: Definition, expansion: Expansion) -> tuple[ForeignNeed, ...]:
    """The entries of `needs` that name a job of another pipeline."""
    node = definition.get("needs")
    found: list[ForeignNeed] = []
    for one in node.items if isinstance(node, Seq) else ():
        if isinstance(one, Map) and (one.has("pipeline") or one.has("project")) and one.has("job"):
            written = _texts(plain(one), expansion)
            found.append(
                ForeignNeed(
                    job=str(written["job"]),
                    project=str(written.get("project") or ""),
                    ref=str(written.get("ref") or ""),
                    pipeline=str(written.get("pipeline") or ""),
                    artifacts=written.get("artifacts", True) is not False,
                    optional=written.get("optional", False) is True,
                )
            )
    return tuple(found)


def own_variables(definition: Definition, root: Mapping[str, Variable]) -> dict[str, Variable]:
    """What the pipeline file gives a job: inherited top-level variables, then the job's."""
    return {**root, **yaml_variables(definition.node.get("variables"))}
