"""How severe an advisory is: CVSS vectors to a score, scores and words to a level.

The base score of CVSS 3.0 and 3.1 is computed (specification, section 7). CVSS 4.0 scores come from a table of 270
classes that is not carried here: a vector without a declared level counts as high, and the note says so. CVSS 2
vectors and advisories without any rating stay unknown: the policy decides what that means.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aegis.core.types import Severity

_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
        "AC": {"L": 0.77, "H": 0.44},
        "UI": {"N": 0.85, "R": 0.62},
        "C": {"H": 0.56, "L": 0.22, "N": 0.0},
        "I": {"H": 0.56, "L": 0.22, "N": 0.0},
        "A": {"H": 0.56, "L": 0.22, "N": 0.0},
    }
)
_PRIVILEGES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
)
_WORDS: Final[Mapping[str, Severity]] = MappingProxyType(
    {
        "critical": Severity.CRITICAL,
        "high": Severity.HIGH,
        "important": Severity.HIGH,
        "moderate": Severity.MEDIUM,
        "medium": Severity.MEDIUM,
        "low": Severity.LOW,
        "none": Severity.INFO,
    }
)
_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}


def cvss3_base(vector: str) -> float | None:
    """The base score, 0.0 to 10.0, of a CVSS 3.0 or 3.1 vector; None where the vector is not whole."""
    version, _, rest = vector.strip().partition("/")
    if version not in {"CVSS:3.0", "CVSS:3.1"}:
        return None
    metrics = dict(part.split(":", 1) for part in rest.split("/") if ":" in part)
    try:
        weight = {name: table[metrics[name]] for name, table in _WEIGHTS.items()}
        changed = {"U": False, "C": True}[metrics["S"]]
        privileges = _PRIVILEGES[metrics["S"]][metrics["PR"]]
    except KeyError:
        return None
    iss = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02) ** 15 if changed else 6.42 * iss
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    return _round_up(min((impact + exploitability) * (1.08 if changed else 1.0), 10.0))


def level(score: float) -> Severity:
    """The qualitative rating of a score (CVSS 3.1, section 5)."""
    for floor, severity in (
        (9.0, Severity.CRITICAL),
        (7.0, Severity.HIGH),
        (4.0, Severity.MEDIUM),
        (0.1, Severity.LOW),
    ):
        if score >= floor:
            return severity
    return Severity.INFO


def rate(vectors: tuple[str, ...], words: tuple[str, ...]) -> tuple[Severity, str]:
    """The severity of an advisory with `vectors` and declared `words`, and how it came about."""
    scores = [score for vector in vectors if (score := cvss3_base(vector)) is not None]
    if scores:
        return level(max(scores)), f"CVSS 3 base score {max(scores):.1f}"
    declared = [found for word in words if (found := _WORDS.get(word.strip().lower())) is not None]
    if declared:
        return min(declared, key=_ORDER.__getitem__), "as the advisory declares"
    if any(vector.startswith("CVSS:4.") for vector in vectors):
        return Severity.HIGH, "rated by a CVSS 4 vector alone, which counts as high"
    return Severity.UNKNOWN, "the advisory gives no rating"


def _round_up(value: float) -> float:
    """One decimal, upwards, in whole numbers as the specification's appendix A asks."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10
