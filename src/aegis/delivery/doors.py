"""What the registry doors need: who asks, and a handle scoped to what they may do.

A door authorises once (`authenticate`, then `oci` or `pypi`) and then streams through the handle it was given. The
handles are those of `aegis.registry`; their shapes stand here, so that the web imports nothing below delivery.
`status_of` and `oci_problem` translate errors into HTTP's words. Which rules grant what is the implementation's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, BinaryIO, Final, Literal, Protocol

from aegis.core.errors import AegisError, Conflict, Denied, NotFound, UserError

OciAction = Literal["pull", "push", "delete"]
PypiAction = Literal["read", "upload"]


class Grant(Protocol):
    """Who asks. Opaque to the doors; anonymous where no credentials were sent."""

    @property
    def actor(self) -> str:
        """The identity that is written into records."""
        ...

    @property
    def anonymous(self) -> bool:
        """Whether no credentials were sent: a denial then asks for some."""
        ...


class ManifestFacts(Protocol):
    """A manifest without its bytes."""

    @property
    def digest(self) -> str: ...  # noqa: D102 - as named
    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class ManifestBody(Protocol):
    """A manifest as it was pushed."""

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


class UploadState(Protocol):
    """An unfinished upload: name and bytes received."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class StoredManifest(Protocol):
    """An accepted manifest; `subject` is what it refers to, or empty."""

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102


class TagPage(Protocol):
    """A page of tags, and whether there are more."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def more(self) -> bool: ...  # noqa: D102


class OciHandle(Protocol):
    """One image repository for one actor. `aegis.registry.oci.ImageRepository` says what each call does.

    Every call may block on the disk; a door runs them in threads.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    def blob_size(self, digest: str) -> int: ...  # noqa: D102
    def read_blob(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]: ...  # noqa: D102
    def blob_file(self, digest: str) -> BinaryIO | None: ...  # noqa: D102
    def mount(self, digest: str, source: Any) -> bool: ...  # noqa: D102
    def delete_blob(self, digest: str) -> None: ...  # noqa: D102
    def start_upload(self) -> UploadState: ...  # noqa: D102
    def upload(self, name: str) -> UploadState: ...  # noqa: D102
    def append(self, name: str, data: Iterable[bytes], *, offset: int | None = None) -> UploadState: ...  # noqa: D102
    def finish(self, name: str, digest: str) -> int: ...  # noqa: D102
    def cancel(self, name: str) -> None: ...  # noqa: D102
    def put_manifest(  # noqa: D102
        self, reference: str, media_type: str, body: bytes, *, tags: Sequence[str] = ()
    ) -> StoredManifest: ...
    def stat(self, reference: str) -> ManifestFacts: ...  # noqa: D102
    def manifest(self, reference: str) -> ManifestBody: ...  # noqa: D102
    def delete_manifest(self, reference: str) -> None: ...  # noqa: D102
    def tags(self, *, limit: int | None = None, last: str = "") -> TagPage: ...  # noqa: D102
    def referrers(self, digest: str, *, artifact_type: str = "") -> bytes: ...  # noqa: D102


class PageBody(Protocol):
    """A page in the form that was asked for."""

    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


class FileFacts(Protocol):
    """A file of an index."""

    @property
    def filename(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class PypiHandle(Protocol):
    """One package index for one actor. `aegis.registry.pypi.PackageIndex` says what each call does."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def project_list(self, accept: str) -> PageBody: ...  # noqa: D102
    def project_page(self, project: str, accept: str) -> PageBody: ...  # noqa: D102
    def file(self, filename: str) -> FileFacts: ...  # noqa: D102
    def have(self, filename: str) -> FileFacts: ...  # noqa: D102
    def open_file(self, filename: str) -> BinaryIO | None: ...  # noqa: D102
    def provenance(self, filename: str) -> bytes: ...  # noqa: D102
    def read(self, filename: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]: ...  # noqa: D102
    def metadata(self, filename: str) -> bytes: ...  # noqa: D102
    def upload(self, form: Mapping[str, str], filename: str, content: IO[bytes]) -> FileFacts: ...  # noqa: D102


class Issued(Protocol):
    """A token for the image registry: seconds that it counts, and when it was made (Unix time)."""

    @property
    def token(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> int: ...  # noqa: D102
    @property
    def issued_at(self) -> datetime: ...  # noqa: D102


class Doors(Protocol):
    """Who may use the registries, and how far. Synchronous; called in threads.

    `Denied` is raised for wrong credentials and for everything a grant does not cover; a repository or index that
    the actor may not see is `Denied` or `NotFound` as the implementation likes, alike for existing and missing ones.
    """

    def authenticate(self, authorization: str | None) -> Grant:
        """Who an `Authorization` header speaks for: Basic with any user and a token as password, or Bearer.

        No header: an anonymous grant. A header that does not hold: `Denied`.
        """
        ...

    def registry_token(self, authorization: str | None, wanted: Sequence[tuple[str, frozenset[OciAction]]]) -> Issued:
        """A token for a short time, for what is wanted of repositories as far as the credentials reach.

        `Denied` without credentials or with wrong ones. What they do not cover is left out, as docker's protocol has it.
        """
        ...

    def oci(self, grant: Grant, repository: str, actions: frozenset[OciAction]) -> OciHandle:
        """The handle that may do `actions`, all of them, in a repository.

        `Denied` with the code `oci-scope` where a token was not made for that: another one may be asked for.
        """
        ...

    def pypi(self, grant: Grant, index: str, action: PypiAction) -> PypiHandle:
        """The handle that may do `action` in an index."""
        ...


class ChartFacts(Protocol):
    """A chart's package."""

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class ChartHandle(Protocol):
    """The charts that one actor may pull. `aegis.registry.charts.Charts` says what each call does."""

    def index(self, under: str) -> bytes: ...  # noqa: D102
    def package(self, repository: str, filename: str) -> ChartFacts: ...  # noqa: D102
    def read(self, chart: Any, offset: int, length: int) -> Iterator[bytes]: ...  # noqa: D102
    def open_file(self, chart: Any) -> BinaryIO | None: ...  # noqa: D102


class ChartDoors(Protocol):
    """Who may see which charts."""

    def authenticate(self, authorization: str | None) -> Grant:
        """See `Doors`."""
        ...

    def charts(self, grant: Grant) -> ChartHandle:
        """The charts in repositories that the grant may pull from; `Denied` without credentials."""
        ...


_OCI: Final[dict[str, tuple[int, str]]] = {
    "oci-blob-unknown": (404, "BLOB_UNKNOWN"),
    "oci-denied": (403, "DENIED"),
    "oci-digest-invalid": (400, "DIGEST_INVALID"),
    "oci-manifest-blob-unknown": (404, "MANIFEST_BLOB_UNKNOWN"),
    "oci-manifest-invalid": (400, "MANIFEST_INVALID"),
    "oci-manifest-unknown": (404, "MANIFEST_UNKNOWN"),
    "oci-name-invalid": (400, "NAME_INVALID"),
    "oci-name-unknown": (404, "NAME_UNKNOWN"),
    "oci-scope": (401, "UNAUTHORIZED"),
    "oci-size-invalid": (400, "SIZE_INVALID"),
    "oci-tag-fixed": (409, "DENIED"),
    "oci-tag-invalid": (400, "TAG_INVALID"),
    "oci-too-large": (413, "SIZE_INVALID"),
    "oci-unsupported": (400, "UNSUPPORTED"),
    "oci-upload-invalid": (400, "BLOB_UPLOAD_INVALID"),
    "oci-upload-range": (416, "BLOB_UPLOAD_INVALID"),
    "oci-upload-unknown": (404, "BLOB_UPLOAD_UNKNOWN"),
}


def status_of(error: AegisError) -> int:
    """The HTTP status of an error by its family; anonymity is the door's to see."""
    if isinstance(error, Denied):
        return 403
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, UserError):
        return 400
    return 503


def oci_problem(error: AegisError) -> tuple[int, str]:
    """The HTTP status and the distribution specification's code of an error."""
    if error.code in _OCI:
        return _OCI[error.code]
    code = {403: "DENIED", 404: "NAME_UNKNOWN", 409: "DENIED", 400: "UNSUPPORTED", 503: "UNAVAILABLE"}
    status = status_of(error)
    return status, code.get(status, "UNKNOWN")
