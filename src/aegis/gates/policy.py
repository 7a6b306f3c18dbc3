"""What has to be proven before anything is released, as values, and how a service may tighten it.

The policy comes from the platform's declaration as it stands on the target branch before the change; a service's own
file may only make it stricter. This module reads and compares policies. It judges nothing: that is `gates.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import UserError, Where
from aegis.core.ids import sha256
from aegis.core.types import Outcome, Severity
from aegis.gates.reports import COVERAGE, DEPENDENCIES, KINDS, QUALITY, SECRETS, TESTS

_RANK: Final = MappingProxyType({Outcome.PASS: 0, Outcome.WARN: 1, Outcome.BLOCK: 2})


class Reused(StrEnum):
    """Which taken-over results may be evidence, from loose to strict."""

    ANY = "any"
    """Those whose declared inputs were the same."""
    SAME_TREE = "same-tree"
    """Those whose whole work tree was the same."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPolicy:
    """Which severities block and which warn; the others pass."""

    block: tuple[Severity, ...] = (Severity.CRITICAL, Severity.HIGH)
    warn: tuple[Severity, ...] = (Severity.MEDIUM, Severity.LOW, Severity.UNKNOWN)

    def outcome(self, severity: Severity) -> Outcome:
        """What a finding of that severity means."""
        if severity in self.block:
            return Outcome.BLOCK
        return Outcome.WARN if severity in self.warn else Outcome.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """A finding that is known and borne until a day: it warns instead of blocking. Only the platform grants one.

    `rule` is an advisory's id or a scanner's rule, `package` and `path` (wildcards allowed) narrow it.
    """

    rule: str
    until: date
    reason: str
    package: str = "*"
    path: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The gates of a platform.

    `required` maps a target (a branch name, wildcards allowed) to the kinds of evidence it needs; all that match count.
    Coverage is in percent of lines. `not_found` is what a package that could not be looked up means, `foreign_jobs`
    what evidence from a job means whose script is not a template's. `advisories_max_age_days` warns of old data.
    `released` is what a blocking vulnerability means for promotions that became known after the release. `reused` says
    which evidence counts of jobs whose result was taken over.
    """

    required: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"*": KINDS})
    coverage_minimum: float = 80.0
    changed_lines_minimum: float | None = None
    quality: ScanPolicy = ScanPolicy(
        block=(Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM), warn=(Severity.LOW, Severity.UNKNOWN)
    )
    dependencies: ScanPolicy = ScanPolicy()
    secrets: ScanPolicy = ScanPolicy(block=tuple(Severity), warn=())
    not_found: Outcome = Outcome.BLOCK
    isolation_required: bool = True
    foreign_jobs: Outcome = Outcome.WARN
    advisories_max_age_days: int | None = None
    reused: Reused = Reused.SAME_TREE
    released: Outcome = Outcome.WARN
    exemptions: tuple[Exemption, ...] = ()

    def requires(self, target: str) -> tuple[str, ...]:
        """The kinds of evidence that a change to `target` needs."""
        wanted = {kind for pattern, kinds in self.required.items() if fnmatchcase(target, pattern) for kind in kinds}
        return tuple(kind for kind in KINDS if kind in wanted)

    def scan(self, kind: str) -> ScanPolicy:
        """The rule for findings of one kind of evidence."""
        return {QUALITY: self.quality, DEPENDENCIES: self.dependencies, SECRETS: self.secrets}[kind]


def digest(policy: GatePolicy) -> str:
    """What names this policy in a verdict."""
    return sha256(codec.encode(policy))


def from_document(document: Mapping[str, Any], source: str) -> GatePolicy:
    """The policy that a `gates:` mapping describes; what it leaves out has the default."""
    return GatePolicy(**read_fields(document, source))


def merge_tighter(base: GatePolicy, override: Mapping[str, Any], source: str = "the service's file") -> GatePolicy:
    """`base` with what a service's own file says (the result of `read_fields`), which may only be stricter.

    A looser value is a `UserError` that names the field, what the platform asks and what was given.
    """
    changed: dict[str, Any] = {}
    for name, given in override.items():
        required = getattr(base, name)
        if name == "required":
            changed[name] = _required_union(required, given, source)
        elif name in {"quality", "dependencies", "secrets"}:
            _refuse_looser_scan(name, required, given, source)
            changed[name] = given
        elif name == "exemptions":
            if not set(given) <= set(required):
                raise _looser("exemptions", "those of the platform", "further ones", source)
            changed[name] = given
        else:
            if not _at_least(name, given, required):
                raise _looser(_FIELD_NAMES.get(name, name), _shown(required), _shown(given), source)
            changed[name] = given
    return replace(base, **changed)


# -- reading ----------------------------------------------------------------------------------------------


def read_fields(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields of `GatePolicy` that a `gates:` mapping gives; an unknown key or wrong value is a `UserError`."""
    if not isinstance(document, Mapping):
        raise _wrong("", "a mapping", document, source)
    given: dict[str, Any] = {}
    for key, value in document.items():
        reader = _READERS.get(str(key))
        if reader is None:
            raise UserError(
                "policy-key",
                f"gates.{key} is not known",
                hint=f"known are: {', '.join(sorted(_READERS))}",
                where=Where(source),
            )
        given.update(reader(value, source))
    return given


def _read_required(value: Any, source: str) -> dict[str, Any]:
    table = value if isinstance(value, Mapping) else {"*": value}
    required: dict[str, tuple[str, ...]] = {}
    for target, kinds in table.items():
        if not isinstance(kinds, list | tuple) or any(kind not in KINDS for kind in kinds):
            raise _wrong(f"required.{target}", f"a list of {', '.join(KINDS)}", kinds, source)
        required[str(target)] = tuple(kinds)
    return {"required": required}


def _read_tests(value: Any, source: str) -> dict[str, Any]:
    """`tests: optional` is the declaration's short form for a platform that needs neither tests nor coverage."""
    if value not in {"required", "optional"}:
        raise _wrong("tests", "required or optional", value, source)
    kinds = KINDS if value == "required" else tuple(kind for kind in KINDS if kind not in {TESTS, COVERAGE})
    return {"required": {"*": kinds}}


def _read_coverage(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not set(value) <= {"minimum", "changed_lines"}:
        raise _wrong("coverage", "a mapping with minimum and changed_lines", value, source)
    names = {"minimum": "coverage_minimum", "changed_lines": "changed_lines_minimum"}
    return {names[key]: _percent(f"coverage.{key}", percent, source) for key, percent in value.items()}


def _read_scan(name: str) -> Callable[[Any, str], dict[str, Any]]:
    extra = {"not_found", "advisories", "max_age_days", "released"} if name == "dependencies" else set()

    def reader(value: Any, source: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not set(value) <= {"block", "warn"} | extra:
            raise _wrong(name, f"a mapping with {', '.join(sorted({'block', 'warn'} | extra))}", value, source)
        given: dict[str, Any] = {}
        if {"block", "warn"} & set(value):
            default = getattr(GatePolicy(), name)
            given[name] = ScanPolicy(
                block=_severities(f"{name}.block", value.get("block", default.block), source),
                warn=_severities(f"{name}.warn", value.get("warn", default.warn), source),
            )
        if "not_found" in value:
            given["not_found"] = _outcome(f"{name}.not_found", value["not_found"], source)
        if "released" in value:
            given["released"] = _outcome(f"{name}.released", value["released"], source)
        if "max_age_days" in value:
            days = value["max_age_days"]
            if isinstance(days, bool) or not isinstance(days, int) or days < 1:
                raise _wrong(f"{name}.max_age_days", "a whole number of days, at least 1", days, source)
            given["advisories_max_age_days"] = days
        return given

    return reader


def _read_isolation(value: Any, source: str) -> dict[str, Any]:
    if value not in {"required", "optional"}:
        raise _wrong("isolation", "required or optional", value, source)
    return {"isolation_required": value == "required"}


def _read_reused(value: Any, source: str) -> dict[str, Any]:
    try:
        return {"reused": Reused(value)}
    except ValueError:
        raise _wrong("reused", f"one of {', '.join(Reused)}", value, source) from None


def _read_templates(value: Any, source: str) -> dict[str, Any]:
    return {"foreign_jobs": _outcome("templates", value, source)}


def _read_exemptions(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, list | tuple):
        raise _wrong("exemptions", "a list", value, source)
    exemptions: list[Exemption] = []
    for number, entry in enumerate(value):
        place = f"exemptions[{number}]"
        if not isinstance(entry, Mapping) or not {"rule", "until", "reason"} <= set(entry):
            raise _wrong(place, "a mapping with rule, until and reason", entry, source)
        if not set(entry) <= {"rule", "until", "reason", "package", "path"}:
            raise _wrong(place, "no other keys than rule, until, reason, package and path", entry, source)
        exemptions.append(
            Exemption(
                rule=str(entry["rule"]),
                until=_day(f"{place}.until", entry["until"], source),
                reason=str(entry["reason"]),
                package=str(entry.get("package", "*")),
                path=str(entry.get("path", "*")),
            )
        )
    return {"exemptions": tuple(exemptions)}


_READERS: Final[Mapping[str, Callable[[Any, str], dict[str, Any]]]] = MappingProxyType(
    {
        "required": _read_required,
        "tests": _read_tests,
        "coverage": _read_coverage,
        "quality": _read_scan("quality"),
        "dependencies": _read_scan("dependencies"),
        "secrets": _read_scan("secrets"),
        "isolation": _read_isolation,
        "templates": _read_templates,
        "reused": _read_reused,
        "exemptions": _read_exemptions,
    }
)


def _percent(name: str, value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise _wrong(name, "a number from 0 to 100", value, source)
    return float(value)


def _severities(name: str, value: Any, source: str) -> tuple[Severity, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a list of severities", value, source)
    try:
        return tuple(Severity(one) for one in value)
    except ValueError:
        raise _wrong(name, f"severities out of {', '.join(Severity)}", value, source) from None


def _outcome(name: str, value: Any, source: str) -> Outcome:
    try:
        return Outcome(value)
    except ValueError:
        raise _wrong(name, "pass, warn or block", value, source) from None


def _day(name: str, value: Any, source: str) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        raise _wrong(name, "a day such as 2026-03-31", value, source) from None


def _wrong(name: str, expected: str, value: Any, source: str) -> UserError:
    full = f"gates.{name}" if name else "gates"
    return UserError("policy-value", f"{full}: expected {expected}, found {value!r}", where=Where(source))


# -- comparing --------------------------------------------------------------------------------------------

_FIELD_NAMES: Final = MappingProxyType(
    {
        "coverage_minimum": "coverage.minimum",
        "changed_lines_minimum": "coverage.changed_lines",
        "not_found": "dependencies.not_found",
        "isolation_required": "isolation",
        "foreign_jobs": "templates",
        "released": "dependencies.released",
        "advisories_max_age_days": "dependencies.max_age_days",
    }
)


def _at_least(name: str, given: Any, required: Any) -> bool:
    """Whether `given` is as strict as `required` or stricter."""
    if isinstance(required, Outcome):
        return _RANK[given] >= _RANK[required]
    if isinstance(required, Reused):
        return list(Reused).index(given) >= list(Reused).index(required)
    if name == "advisories_max_age_days":
        return required is None or (given is not None and given <= required)
    return required is None or (given is not None and given >= required)


def _refuse_looser_scan(name: str, required: ScanPolicy, given: ScanPolicy, source: str) -> None:
    for severity in Severity:
        before, after = required.outcome(severity), given.outcome(severity)
        if _RANK[after] < _RANK[before]:
            raise _looser(f"{name}.{before}", f"{severity} to {before}", f"{severity} to {after}", source)


def _required_union(
    required: Mapping[str, tuple[str, ...]], given: Mapping[str, tuple[str, ...]], source: str
) -> Mapping[str, tuple[str, ...]]:
    """What the service adds; the same target with fewer kinds is an attempt to loosen and is named as such."""
    for target, kinds in given.items():
        missing = [kind for kind in required.get(target, ()) if kind not in kinds]
        if missing:
            raise _looser(f"required.{target}", ", ".join(required[target]), ", ".join(kinds) or "nothing", source)
    return {**required, **given}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "required" if value else "optional"
    return "nothing" if value is None else str(value)


def _looser(name: str, required: str, given: str, source: str) -> UserError:
    return UserError(
        "policy-loosened",
        f"gates.{name}: the platform asks for {required}; {source} would loosen it to {given}",
        hint=f"remove gates.{name} from {source}, or ask the owners of the platform's declaration",
        where=Where(source),
    )


assert set(_FIELD_NAMES) <= {one.name for one in fields(GatePolicy)}  # noqa: S101 - a renamed field must fail at once
