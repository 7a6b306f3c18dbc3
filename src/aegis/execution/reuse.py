"""Whether a job was proven already: what its result depends on, as a fingerprint, and who may take over whose result. Pure.

A job asks for it by the variable `AEGIS_REUSE`, so that its pipeline file stays one that GitLab reads. Its fingerprint covers what it
says, what it runs in, what it sees and what it reads; `CHANGING` lists what it sees and what is left out, since it is another in every
run. What is left out counts all the same where a script or another variable names it. The fingerprint is keyed, so that no secret can
be guessed from it.

It does not decide whether reused evidence counts: the gates do, and the result says what it was made of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from aegis.core import codec
from aegis.core.plan import JobSpec
from aegis.core.types import StoredFile
from aegis.core.values import dataclass
from aegis.execution.archive import pattern
from aegis.execution.runners import Dependency

VERSION: Final = 1
"""Of what a fingerprint means. Another number: nothing noted before is reused."""
ASK: Final = "AEGIS_REUSE"
INPUTS: Final = "AEGIS_REUSE_INPUTS"
NEVER: Final = "AEGIS_NO_REUSE"
_YES: Final = frozenset({"1", "true", "yes"})
CHANGING: Final = frozenset({
    "AEGIS_INDEX_URL", "AEGIS_UPLOAD_URL", "AEGIS_VERSION", "CI_BUILDS_DIR", "CI_COMMIT_AUTHOR", "CI_COMMIT_BEFORE_SHA", "CI_COMMIT_BRANCH", "CI_COMMIT_DESCRIPTION",
    "CI_COMMIT_MESSAGE", "CI_COMMIT_REF_NAME", "CI_COMMIT_REF_SLUG", "CI_COMMIT_REF_PROTECTED", "CI_COMMIT_SHA",
    "CI_COMMIT_SHORT_SHA", "CI_COMMIT_TAG", "CI_COMMIT_TAG_MESSAGE", "CI_COMMIT_TIMESTAMP", "CI_COMMIT_TITLE",
    "CI_CONCURRENT_ID", "CI_CONCURRENT_PROJECT_ID", "CI_JOB_ID", "CI_JOB_NAME", "CI_JOB_NAME_SLUG", "CI_JOB_STAGE",
    "CI_JOB_STARTED_AT", "CI_JOB_STATUS", "CI_JOB_TIMEOUT", "CI_JOB_TOKEN", "CI_JOB_URL", "CI_OPEN_MERGE_REQUESTS",
    "CI_PIPELINE_CREATED_AT", "CI_PIPELINE_ID", "CI_PIPELINE_IID", "CI_PIPELINE_NAME", "CI_PIPELINE_SCHEDULE_DESCRIPTION",
    "CI_PIPELINE_SOURCE", "CI_PIPELINE_TRIGGERED", "CI_PIPELINE_URL", "CI_PROJECT_DIR", "CI_REGISTRY_PASSWORD",
    "CI_REGISTRY_USER", "CI_RUNNER_DESCRIPTION", "CI_RUNNER_ID", "CI_RUNNER_TAGS", "GITLAB_USER_EMAIL", "GITLAB_USER_ID",
    "GITLAB_USER_LOGIN", "GITLAB_USER_NAME", "HOME", "PWD", "SOURCE_DATE_EPOCH", "TMPDIR", "TRACEPARENT", "TRACESTATE", NEVER,
})  # fmt: skip
"""Variables that are another in every run or attempt and say nothing of what is proven; `CI_MERGE_REQUEST_*` as well."""
_NAMED: Final = 5
_CHANGING_PREFIX: Final = "CI_MERGE_REQUEST_"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a job sees, beside what its plan says.

    `variables` is the environment of its steps, `files` the contents of file variables by name, `tree` each file of its work tree with
    a digest, `surroundings` what runs it: the image by digest or the machine's programs, its network, its services.
    """

    variables: Mapping[str, str]
    files: Mapping[str, str]
    tree: Mapping[str, str]
    dependencies: Sequence[Dependency]
    isolation: str
    surroundings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Of a job: the whole, its parts and variables by name, and of its whole work tree (which inputs may leave out most of)."""

    whole: str
    parts: Mapping[str, str]
    variables: Mapping[str, str]
    tree: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a job that passed has left, as it is noted. `seconds` is how long it took."""

    fingerprint: Fingerprint
    run: str
    job: str
    commit: str
    at: datetime
    trusted: bool
    isolation: str
    files: tuple[StoredFile, ...] = ()
    coverage: float | None = None
    seconds: float = 0.0


def asked(variables: Mapping[str, str]) -> bool:
    """Whether a job wants earlier results to count."""
    return variables.get(ASK, "").strip().lower() in _YES


def forbidden(variables: Mapping[str, str]) -> bool:
    """Whether the run wants everything to be worked anew."""
    return variables.get(NEVER, "").strip().lower() in _YES


def hindrance(spec: JobSpec, image: str, *, services: int = 0) -> str:
    """Why a job can never be reused, or empty: it acts on the world, or what it runs in is not known by digest."""
    outward = {
        "deploys": spec.environment is not None, "releases": spec.release is not None, "starts a pipeline": spec.trigger is not None,
        "shows who it is (id_tokens)": bool(spec.id_tokens), "holds a resource group": spec.resource_group is not None,
        "publishes pages": spec.pages is not None, "takes files of other pipelines": bool(spec.foreign_needs),
    }  # fmt: skip
    for what, so in outward.items():
        if so:
            return f"it {what}"
    if len(spec.services) != services:
        return "its services are not known by digest"
    if spec.image is not None and not image:
        return f"its image {spec.image.name} is not known by digest"
    return ""


def fingerprint(spec: JobSpec, seen: Seen, keyed: Callable[[bytes], str]) -> Fingerprint:
    """What the job's result depends on. `keyed` is a digest with the project's key."""
    globs = seen.variables.get(INPUTS, "").split()
    wanted = [pattern(one.removeprefix("./")) for one in globs]
    read = {
        path: digest
        for path, digest in seen.tree.items()
        if not globs or any(one.fullmatch(path) or _holds(one, path) for one in wanted)
    }
    scripts = (spec.pre_get_sources, spec.before_script, spec.script, spec.after_script)
    counted = _counted(scripts, seen)
    documents: dict[str, object] = {
        "script": [spec.name, scripts, spec.artifacts, spec.coverage],
        "image": [seen.surroundings, seen.isolation, spec.image.entrypoint if spec.image else None],
        "variables": sorted(counted.items()),
        "inputs": [globs, sorted(read.items())],
        "needs": [(one.job, one.archive.digest) for one in seen.dependencies],
    }
    parts = {name: keyed(_bytes(document)) for name, document in documents.items()}
    return Fingerprint(
        whole=keyed(_bytes([VERSION, sorted(parts.items())])),
        parts=parts,
        variables={name: keyed(_bytes([name, value]))[:16] for name, value in counted.items()},
        tree=_plain(_bytes(sorted(seen.tree.items()))),
    )


def _holds(one: re.Pattern[str], path: str) -> bool:
    """Whether a pattern names a directory above a file."""
    parts = path.split("/")
    return any(one.fullmatch("/".join(parts[:depth])) for depth in range(1, len(parts)))


def _counted(scripts: object, seen: Seen) -> dict[str, str]:
    own = {name: value for name, value in seen.variables.items() if not _changes(name)}
    texts = [_bytes(scripts).decode("utf-8", "replace"), *own.values(), *seen.files.values()]
    named = {name for text in texts for name in _NAME.findall(text)}
    values = own | {name: value for name, value in seen.variables.items() if name in named}
    # The place of a file is another in every attempt; what is in it counts.
    return {name: seen.files.get(name, value) for name, value in values.items()}


def _changes(name: str) -> bool:
    return name in CHANGING or name.startswith(_CHANGING_PREFIX)


def usable(found: Proven, *, trusted: bool) -> bool:
    """Whether a job of this trust may take over a result: one of a protected ref for all, others for their like."""
    return found.trusted or not trusted


def differences(now: Fingerprint, then: Fingerprint) -> tuple[str, ...]:
    """Which parts are others than they were; of the variables also which."""
    return tuple(_different(name, now, then) for name in now.parts if now.parts[name] != then.parts.get(name))


def _different(part: str, now: Fingerprint, then: Fingerprint) -> str:
    if part != "variables":
        return part
    names = sorted(now.variables.keys() | then.variables.keys())
    changed = [name for name in names if now.variables.get(name) != then.variables.get(name)]
    return f"variables ({', '.join(changed[:_NAMED])}{' …' if len(changed) > _NAMED else ''})"


def deviations(now: Sequence[StoredFile], then: Sequence[StoredFile]) -> tuple[str, ...]:
    """Which files a job has left otherwise than when it was proven, though its fingerprint is the same."""
    before, after = ({(one.kind, one.name): one.digest for one in files} for files in (then, now))
    return tuple(
        f"{name} ({kind})"
        for kind, name in sorted(before | after)
        if before.get((kind, name)) != after.get((kind, name))
    )


def _bytes(value: object) -> bytes:
    return codec.encode(value)


def _plain(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
