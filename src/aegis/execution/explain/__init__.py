"""Why a job failed, and the mend: known causes in its log, and what differs from its last good run. Pure."""

from aegis.execution.explain.cause import ABSTAIN, Cause
from aegis.execution.explain.compare import (
    Difference,
    Explanation,
    Good,
    Inputs,
    Outcome,
    differences,
    digest,
    explained,
    flake_probability,
    inputs_of,
)
from aegis.execution.explain.verdict import causes_of, new_lines

__all__ = [
    "ABSTAIN", "Cause", "Difference", "Explanation", "Good", "Inputs", "Outcome", "causes_of", "differences", "digest",
    "explained", "flake_probability", "inputs_of", "new_lines",
]  # fmt: skip
