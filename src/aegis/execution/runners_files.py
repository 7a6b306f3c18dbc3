"""What a remote runner uploads of a job, turned into the files that a job leaves. Pure; bytes in, bytes out.

A runner packs an archive as zip, most reports as gzip (one member per file, each with its name) and some raw. Reports
are kept as they were in the job, one file each, so that gates read them alike wherever the job ran.

Sources: GitLab `app/models/ci/job_artifact.rb` (types, formats, names), gitlab-runner `commands/helpers/archive`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aegis.core.errors import UserError

ARCHIVE: Final = "archive"
REPORT_LIMIT: Final = 128 * 1024 * 1024
"""The largest report, unpacked."""
_RAW: Final = frozenset({
    "sast", "secret_detection", "dependency_scanning", "container_scanning", "cluster_image_scanning", "dast",
    "license_scanning", "performance", "browser_performance", "load_performance", "terraform", "requirements",
    "requirements_v2", "coverage_fuzzing", "api_fuzzing", "codequality",
})  # fmt: skip
_NAMES: Final = {
    "accessibility": "gl-accessibility.json", "annotations": "gl-annotations.json",
    "api_fuzzing": "gl-api-fuzzing-report.json", "browser_performance": "browser-performance.json",
    "cobertura": "cobertura-coverage.xml", "codequality": "gl-code-quality-report.json",
    "container_scanning": "gl-container-scanning-report.json", "coverage_fuzzing": "gl-coverage-fuzzing.json",
    "cyclonedx": "gl-sbom.cdx.json", "dast": "gl-dast-report.json",
    "dependency_scanning": "gl-dependency-scanning-report.json", "dotenv": ".env", "jacoco": "jacoco-coverage.xml",
    "junit": "junit.xml", "license_scanning": "gl-license-scanning-report.json",
    "load_performance": "load-performance.json", "metrics": "metrics.txt", "performance": "performance.json",
    "requirements": "requirements.json", "requirements_v2": "requirements_v2.json", "sast": "gl-sast-report.json",
    "secret_detection": "gl-secret-detection-report.json", "terraform": "tfplan.json",
}  # fmt: skip
_TYPES: Final = {"coverage_report": "cobertura"}
_KINDS: Final = {"cobertura": "coverage_report", "jacoco": "coverage_report"}
_CHUNK: Final = 1024 * 1024
_NAMED, _COMMENTED, _EXTRA, _CHECKED = 8, 16, 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an upload says it is: GitLab's artifact type and format."""

    type: str = ARCHIVE
    format: str = "zip"

    @property
    def kind(self) -> str:
        """The kind of the file that it becomes (`StoredFile.kind`)."""
        return _KINDS.get(self.type, self.type)


def upload_of(kind: str | None, form: str | None) -> Upload:
    """The parameters of an upload; `UserError` for a type that no job has, or a format that does not go with it."""
    wanted = kind or ARCHIVE
    if wanted == ARCHIVE:
        if form not in (None, "", "zip"):
            raise UserError("artifact-format", f"an archive is uploaded as zip, not as {form!r}")
        return Upload()
    if wanted not in _NAMES:
        raise UserError("artifact-type", f"{wanted!r} is not a type of artifact")
    return Upload(type=wanted, format=form or format_of(wanted))


def type_of(kind: str) -> str:
    """GitLab's artifact type for a report as the pipeline file names it."""
    return _TYPES.get(kind, kind)


def format_of(kind: str) -> str:
    """How a runner is to pack a report of that artifact type."""
    return "raw" if kind in _RAW else "gzip"


def name_of(kind: str) -> str:
    """The file name that GitLab gives a report of that artifact type."""
    return _NAMES.get(kind, f"{kind}.txt")


def unpacked(chunks: Iterable[bytes], *, default: str, limit: int = REPORT_LIMIT) -> Iterator[tuple[str, bytes]]:
    """The files in a gzip upload, one per member: the path that the member names (else `default`) and its bytes.

    `UserError` where it is not gzip, ends early, or holds more than `limit` bytes.
    """
    data = b"".join(chunks)
    left = limit
    while data:
        name = _member_name(data) or default
        inflate = zlib.decompressobj(31)
        try:
            content = inflate.decompress(data, left + 1)
        except zlib.error as error:
            raise UserError("artifact-gzip", f"the upload is not gzip: {error}") from error
        left -= len(content)
        if left < 0:
            raise UserError("artifact-too-large", f"the report holds more than {limit} bytes")
        if not inflate.eof:
            raise UserError("artifact-gzip", "the upload ends within a gzip member")
        yield name, content
        data = inflate.unused_data


def _member_name(data: bytes) -> str:
    """The path in a gzip member's header: its comment where the runner put it, else its name (RFC 1952)."""
    if len(data) < 10 or data[:2] != b"\x1f\x8b":
        return ""
    flags, at = data[3], 10
    if flags & _EXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    texts = []
    for flag in (_NAMED, _COMMENTED):
        text = b""
        if flags & flag:
            end = data.find(b"\0", at)
            text, at = (data[at:end], end + 1) if end >= 0 else (b"", len(data))
        texts.append(text.decode("latin-1"))
    name = texts[1] or texts[0]
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    path = "/".join(parts)[:500]
    return "".join(one if one.isprintable() else "-" for one in path)
