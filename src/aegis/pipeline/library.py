"""What the template library holds, for showing: names, descriptions, inputs, and the lines that include one.

Reads package data and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aegis.core.errors import NotFound, UserError
from aegis.pipeline import templates
from aegis.pipeline.conditions import Context
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Limits, Map, plain
from aegis.pipeline.inputs import Given, InputSpec, from_text, interpolated, settle, specs, split
from aegis.pipeline.reader import parse
from aegis.pipeline.request import MemoryFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One component of the library."""

    name: str
    address: str
    description: str
    inputs: tuple[InputSpec, ...]
    text: str


def every() -> tuple[Template, ...]:
    """All templates, by address."""
    return tuple(find(address) for address in templates.addresses())


def find(name: str) -> Template:
    """A template by its name (the newest major) or its address; `NotFound`."""
    known = templates.addresses()
    address = name if name in known else max((one for one in known if one.startswith(f"aegis/{name}@")), default="")
    data = templates.read(address)
    if data is None:
        short = [one.removeprefix("aegis/").partition("@")[0] for one in known]
        raise NotFound(
            "no-template", f"there is no template {name!r}", hint=meant(name, short) or f"there are: {', '.join(short)}"
        )
    text = data.decode()
    comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    part = split(text, address, Report(), Limits())
    declared = specs(part.header, address, Report(), Limits()).inputs if part.header is not None else {}
    return Template(
        name=address.removeprefix("aegis/").partition("@")[0],
        address=address,
        description=" ".join(comment),
        inputs=tuple(declared.values()),
        text=text,
    )


def typed(template: Template, given: Mapping[str, str]) -> dict[str, Any]:
    """Inputs given as text on a command line, in the types that the template declares; `UserError` where they do not fit."""
    declared = {spec.name: spec for spec in template.inputs}
    values = {name: from_text(declared[name].type, text) if name in declared else text for name, text in given.items()}
    report = Report()
    settle(declared, {name: Given(value) for name, value in values.items()}, template.address, report, None)
    if report.errors:
        first = report.errors[0]
        raise UserError(first.code, first.message, hint=first.hint)
    return values


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """The template's own text with its inputs put in: for a server that knows no components of ours. `UserError` as `typed`.

    What the template includes from the library is rendered into it as well, with the inputs that it is given there.
    """
    parts = [f"# {template.address} with its inputs put in; `aegis template show {template.name}` shows the original."]
    body, inner = _filled(template, values)
    for address, given in inner:
        parts.append(_filled(find(address), given)[0])
    return "\n".join([*parts, body])


def _filled(template: Template, values: Mapping[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """The content with its inputs put in and without its `include`, and what that included."""
    report, limits = Report(), Limits()
    part = split(template.text, template.address, report, limits)
    declared = {spec.name: spec for spec in template.inputs}
    settled = settle(declared, {name: Given(value) for name, value in values.items()}, template.address, report, None)
    named = {f"inputs.{name}": value for name, value in settled.items()}
    nothing_known = Context(files=MemoryFiles({}), values={})
    content, _ = interpolated(part, named, nothing_known, template.address, report)
    if report.errors:
        first = report.errors[0]
        raise UserError(first.code, first.message, hint=first.hint)
    root = parse(content, template.address, report, limits)
    include = root.get("include") if isinstance(root, Map) else None
    inner = [
        (str(one["component"]), dict(one.get("inputs") or {}))
        for one in (plain(include) if include is not None else [])
    ]
    lines = content.splitlines()
    if include is not None:
        begin = next(at for at, line in enumerate(lines) if line.startswith("include:"))
        end = next((at for at in range(begin + 1, len(lines)) if lines[at][:1] not in {" ", "-"}), len(lines))
        del lines[begin : end + 1]
    return "\n".join(lines).strip() + "\n", inner


def page() -> str:
    """`docs/templates.md`: every template with its inputs and jobs, made from their `spec`."""
    parts = [_HEAD]
    for one in every():
        parts.append(f"## {one.name}\n\n`{one.address}`: {one.description}\n")
        parts.append("| input | type | default | what it is |\n| --- | --- | --- | --- |")
        for spec in one.inputs:
            kind = " or ".join(f"`{option}`" for option in spec.options) or spec.type
            default = f"`{_shown(spec.default)}`" if spec.has_default else "required"
            parts.append(f"| `{spec.name}` | {kind} | {default} | {spec.description} |")
        example = {spec.name: f"<{spec.name}>" for spec in one.inputs if not spec.has_default}
        parts.append(f"\n```yaml\n{including(one, {name: name for name in example})}```\n")
    return "\n".join(parts)


_HEAD: Final = """# Templates

Made from the templates' own `spec` by `python tools/template_pages.py`; a test holds it to them. `aegis template list` shows the
same, `aegis template show NAME` the text, `aegis template use NAME --input NAME=VALUE` writes a `.gitlab-ci.yml`; with `--render` it
holds the jobs themselves, for a server that does not have these components.

The number after `@` is the template's major version: within it inputs and jobs are only added. Jobs call `aegis` verbs, so that
they do the same on a laptop. Where runners run jobs in containers (GitLab, or the variable AEGIS_CONTAINERS is "true"), Trivy and
GitLab's own scanners take the place of Aegis's scans; their reports are read by the same gates.
"""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else '""'


def including(template: Template, values: Mapping[str, Any]) -> str:
    """The text of a `.gitlab-ci.yml` that is this template."""
    import json  # noqa: PLC0415 - JSON is YAML; start-up is a feature

    lines = ["include:", f"  - component: {template.address}"]
    if values:
        lines.append("    inputs:")
        lines.extend(f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    return "\n".join(lines) + "\n"
