"""The names of a run's trace: made of ids that the ledger holds, so that they are known before anything is exported. Pure.

Jobs are told theirs when they start (W3C `traceparent`), the trace is told when the run has ended, and a run of another
pipeline is linked without anybody looking it up. It knows nothing of spans.
"""

from __future__ import annotations

import hashlib

SAMPLED = "01"


def trace_id(run: str) -> str:
    """A run's trace: 16 bytes in hexadecimal."""
    return _digest("trace", run, 16)


def span_id(*parts: str) -> str:
    """A span of something that has an id (a run, an attempt of a job, a step of it): 8 bytes in hexadecimal."""
    return _digest("span", "\0".join(parts), 8)


def traceparent(run: str, job: str) -> str:
    """What a job's tools join their own spans to: W3C Trace Context, version 00."""
    return f"00-{trace_id(run)}-{span_id(job)}-{SAMPLED}"


def _digest(kind: str, text: str, size: int) -> str:
    made = hashlib.sha256(f"aegis/{kind}/{text}".encode()).hexdigest()[: 2 * size]
    # All zeros is no id by the specification; the chance is nil, and the rule is kept all the same.
    return made if int(made, 16) else "1".rjust(2 * size, "0")
