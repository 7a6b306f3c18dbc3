"""What the template library holds, for showing: names, descriptions, inputs, and the lines that include one.

Reads package data and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aegis.core.errors import NotFound, UserError
from aegis.pipeline import templates
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Limits
from aegis.pipeline.inputs import Given, InputSpec, from_text, settle, specs, split


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


def including(template: Template, values: Mapping[str, Any]) -> str:
    """The text of a `.gitlab-ci.yml` that is this template."""
    import json  # noqa: PLC0415 - JSON is YAML; start-up is a feature

    lines = ["include:", f"  - component: {template.address}"]
    if values:
        lines.append("    inputs:")
        lines.extend(f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    return "\n".join(lines) + "\n"
