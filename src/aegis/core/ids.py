"""Identifiers: sortable ids, digests and names. Pure: time and entropy are given."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from aegis.core.errors import UserError

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def ulid(milliseconds: int, entropy: bytes) -> str:
    """A 26-character id that sorts by time: 48 bits of Unix milliseconds and 80 bits of entropy."""
    if len(entropy) != 10:
        msg = f"an id needs 10 bytes of entropy, not {len(entropy)}"
        raise ValueError(msg)
    number = (milliseconds << 80) | int.from_bytes(entropy)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Whether `text` has the form of an id (of a run, a promotion, an event)."""
    return len(text) == 26 and text[:1] in "01234567" and set(text) <= set(_ALPHABET)


def sha256(data: bytes) -> str:
    """The digest of `data` in the form `sha256:<64 hex>`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether `text` is a sha256 or sha512 digest in OCI form."""
    return _DIGEST.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Whether `text` is a full SHA-1 commit id."""
    return _COMMIT.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether `text` is a DNS label: a service or an environment."""
    return _NAME.fullmatch(text) is not None


def is_project(text: str) -> bool:
    """Whether `text` is a repository path `group/name` (nested groups allowed) without path tricks."""
    return _PROJECT.fullmatch(text) is not None and ".." not in text and not text.endswith((".git", ".lock"))


def checked_project(text: str) -> str:
    """`text` when it is a project path, else a `UserError`."""
    if not is_project(text):
        raise UserError(
            "project-name",
            f"{text!r} is not a project path",
            hint="use group/name with lower-case letters, digits, '.', '_' and '-'",
        )
    return text


# -- numbers: GitLab's clients and runners know pipelines, jobs, projects and people by whole numbers ------------------

POSITIONS: Final = 100_000
ATTEMPTS: Final = 1000


def number(text: str) -> int:
    """The number that stands for a name: 48 bits of its SHA-256, the same for ever and exact in JSON."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def job_number(run: int, position: int, attempt: int) -> int:
    """The number of an attempt of a job: the run's number, the job's place in the plan, the attempt (from 1).

    `UserError` where a part does not fit; ninety million runs stay exact in JSON.
    """
    if not (0 <= position < POSITIONS and 1 <= attempt < ATTEMPTS):
        raise UserError("job-number", f"job {position}, attempt {attempt} has no number", hint="start a new run")
    return (run * POSITIONS + position) * ATTEMPTS + attempt


def split_job_number(value: int) -> tuple[int, int, int]:
    """Run, position and attempt of a job's number."""
    rest, attempt = divmod(value, ATTEMPTS)
    run, position = divmod(rest, POSITIONS)
    return run, position, attempt
