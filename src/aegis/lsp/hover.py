"""What is known about the word at a position, in Markdown: jobs after merging, why they run, keywords, variables. Pure."""

from __future__ import annotations

from typing import Final

from aegis.lsp import vocabulary
from aegis.lsp.cursor import Cursor, at, key_of
from aegis.lsp.definition import subject_at
from aegis.lsp.project import Project
from aegis.pipeline import library, templates
from aegis.pipeline.configuration import Configuration, Definition
from aegis.pipeline.document import Map, plain

_LINES: Final = 60


def hover(project: Project, lines: list[str], line: int, column: int) -> str | None:
    """The text at a 0-based position; None where there is nothing to say."""
    cursor = at(lines, line, column)
    text = lines[line] if line < len(lines) else ""
    if cursor.variable:
        return _variable(project, cursor.variable, cursor)
    subject = subject_at(project, lines, line, column)
    if subject is not None and subject[0] == "job":
        return job(project, subject[1])
    if subject is not None and subject[0] == "component":
        return _component(subject[1])
    if subject is not None and subject[0] == "stage":
        return _stage(project, subject[1])
    key = key_of(text)
    if key is not None and key[0] <= column <= key[0] + len(key[1]):
        sentence = vocabulary.explain(cursor.path, key[1])
        return f"**`{key[1]}`** — {sentence}" if sentence else None
    return None


def job(project: Project, name: str) -> str | None:
    """A job (or hidden job) after merging: its stage, its chain of `extends`, why it runs, and what it became."""
    configuration = project.configuration
    node = configuration.root.get(name) if configuration is not None else None
    if configuration is None or not isinstance(node, Map):
        return None
    definition = configuration.jobs.get(name)
    parts = [f"**`{name}`**" + (f" · stage `{definition.stage}`" if definition is not None else " · hidden")]
    chain = list(_chain(configuration, name, ()))
    if chain:
        parts.append("extends " + " → ".join(f"`{one}`" for one in (name, *chain)))
    if definition is not None:
        parts.append(_why(project, definition))
    parts.append(f"```yaml\n{_yaml(name, node, definition)}\n```")
    return "\n\n".join(parts)


def _chain(configuration: Configuration, name: str, seen: tuple[str, ...]) -> list[str]:
    """What a job extends, nearest first."""
    node = configuration.root.get(name)
    extends = plain(node.get("extends") or node) if isinstance(node, Map) and node.has("extends") else None
    bases = [extends] if isinstance(extends, str) else extends if isinstance(extends, list) else []
    found: list[str] = []
    for base in reversed([one for one in bases if isinstance(one, str) and one not in seen]):
        found += [base, *_chain(configuration, base, (*seen, name, base))]
    return found


def _why(project: Project, definition: Definition) -> str:
    found = project.push()
    branch = project.request.default_branch
    if found.errors:
        return f"A push to `{branch}`: not known while the file has errors."
    names = {instance.name for instance in definition.instances}
    running = [one for one in (found.plan.jobs if found.plan is not None else ()) if one.name in names]
    if running:
        first = running[0]
        count = f"{len(running)} times, " if len(running) > 1 else ""
        how = "" if first.when == "on_success" else f" ({first.when})"
        return f"A push to `{branch}`: **runs**{how}, {count}because {first.reason}."
    reason = next((one.reason for one in found.excluded if one.name in names), found.skipped)
    return f"A push to `{branch}`: **does not run**, because {reason}."


def _yaml(name: str, node: Map, definition: Definition | None) -> str:
    import yaml  # noqa: PLC0415 - only when somebody looks

    body = {key: value for key, value in plain(node).items() if key != "extends"}
    for key, value in (definition.values if definition is not None else {}).items():
        if key != "extends":
            body.setdefault(key, plain(value))
    dumped = yaml.safe_dump({name: body}, sort_keys=False, allow_unicode=True, width=100).rstrip().splitlines()
    more = [f"# … {len(dumped) - _LINES} more lines"] if len(dumped) > _LINES else []
    return "\n".join([*dumped[:_LINES], *more])


def _stage(project: Project, stage: str) -> str:
    configuration = project.configuration
    jobs = [one.name for one in configuration.jobs.values() if one.stage == stage] if configuration is not None else []
    shown = ", ".join(f"`{name}`" for name in jobs[:20]) + (f" and {len(jobs) - 20} more" if len(jobs) > 20 else "")
    return f"**stage `{stage}`** — {shown or 'no job is in it'}"


def _component(address: str) -> str | None:
    if address not in templates.addresses():
        return None
    found = library.find(address)
    rows = "\n".join(
        f"- `{one.name}` ({one.type}, {'default `' + str(one.default) + '`' if one.has_default else 'required'}): {one.description}"
        for one in found.inputs
    )
    return f"**`{found.address}`** — {found.description}\n\n{rows}"


def _variable(project: Project, name: str, cursor: Cursor) -> str:
    configuration = project.configuration
    parts = [f"**`${name}`**"]
    node = configuration.root.get(cursor.job) if configuration is not None else None
    own = node.get("variables") if isinstance(node, Map) else None
    for owner, variables in (
        (f"`{cursor.job}`", own),
        ("the top level", configuration.root.get("variables") if configuration is not None else None),
    ):
        value = variables.get(name) if isinstance(variables, Map) else None
        if value is not None:
            parts.append(f"declared by {owner}: `{plain(value)}` ({value.file}:{value.line})")
    if name in vocabulary.PREDEFINED:
        parts.append(vocabulary.PREDEFINED[name])
    plan = project.push().plan
    if plan is not None:
        values = {
            one.value
            for spec in plan.jobs
            if spec.name == cursor.job
            for one in spec.variables
            if one.key == name and not one.masked
        }
        parts.extend(
            f"for a push to `{project.request.default_branch}`: `{value}`" for value in sorted(values) if value
        )
    if len(parts) == 1:
        parts.append("not declared here: a variable of the project, the group, or whoever starts the pipeline")
    return "\n\n".join(parts)
