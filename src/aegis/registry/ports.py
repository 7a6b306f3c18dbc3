"""What the registries need from outside: metadata stores and a place for unfinished uploads.

Content lies in `core.ports.Blobs`; these stores hold who refers to it. All ports are synchronous, may be called
from any thread, and raise only `NotFound`, `Conflict` and `ExternalError`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRecord:
    """What is known of a manifest in one repository. `subject` is the digest it refers to, or empty."""

    digest: str
    media_type: str
    size: int
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """Digests of the blobs and manifests that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """A manifest of a repository with its tags, and when it (or its newest tag) was pushed."""

    record: ManifestRecord
    tags: tuple[str, ...]
    pushed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedImage:
    """A tag and what it points at."""

    repository: str
    tag: str
    digest: str


class Pins(Protocol):
    """Content that is being pushed: from before it is looked for until something refers to it."""

    def held(self, digest: str) -> AbstractContextManager[None]:
        """Keep that content while the block runs."""
        ...

    def unless_held(self, digest: str, act: Callable[[], bool]) -> bool:
        """`act()`, during which nobody can pin the content; False, and nothing done, where somebody has."""
        ...


class Turns(Protocol):
    """Lets callers do something about one thing one at a time."""

    def __call__(self, thing: Hashable) -> AbstractContextManager[object]:
        """The turn at a thing: blocks while another has it. Never held for two things at once."""
        ...


class Letting(Protocol):
    """What a store has let go of and nobody may need any more. Forgetting a name only notes the content here."""

    def loose(self, before: datetime) -> tuple[str, ...]:
        """Digests that were let go of before then."""
        ...

    def tighten(self, digest: str) -> None:
        """It is not loose any more: it was deleted, or is in use again."""
        ...

    def in_use(self, digest: str) -> bool:
        """Whether this store refers to that content."""
        ...


class ImageStore(Letting, Protocol):
    """Which blobs, manifests and tags each repository has. Every call is atomic, and durable when it returns."""

    def link_blob(self, repository: str, digest: str, size: int) -> None:
        """The repository has that blob from now on; no error when it had it."""
        ...

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a blob that the repository has, else None."""
        ...

    def unlink_blob(self, repository: str, digest: str) -> bool:
        """The repository has it no longer; whether it had."""
        ...

    def put_manifest(self, repository: str, record: ManifestRecord, *, tag: str | None, fixed: bool = False) -> None:
        """Keep a manifest and, in the same step, point `tag` at it.

        With `fixed` a tag that points elsewhere is not moved: `Conflict`, and nothing is written. Putting the same
        manifest again succeeds.
        """
        ...

    def manifest(self, repository: str, digest: str) -> ManifestRecord | None:
        """The manifest with that digest in the repository."""
        ...

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest a tag points at."""
        ...

    def tags(self, repository: str, *, after: str = "", limit: int = 0) -> tuple[str, ...] | None:
        """Tags beyond `after`, at most `limit` (0: all); None: no such repository.

        The order is that of the distribution specification: letters without regard to case, then by bytes.
        """
        ...

    def tags_of(self, repository: str, digest: str) -> tuple[str, ...]:
        """The tags that point at a digest."""
        ...

    def untag(self, repository: str, tag: str) -> bool:
        """Forget a tag; whether it was there."""
        ...

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Forget a manifest and the tags that point at it; whether it was there."""
        ...

    def referrers(self, repository: str, subject: str) -> tuple[ManifestRecord, ...]:
        """Manifests whose subject is that digest, oldest first."""
        ...

    def repositories(self, *, after: str = "", limit: int = 0) -> tuple[str, ...]:
        """Repositories that have a manifest, in the order of their names."""
        ...

    def listing(self, repository: str) -> tuple[ListedImage, ...]:
        """All manifests of a repository, in the order in which they were first pushed."""
        ...

    def typed(self, artifact_type: str) -> tuple[TaggedImage, ...]:
        """All tags of manifests of that artifact type, by repository and tag."""
        ...

    def unlink_unreferenced(self, repository: str, before: datetime) -> int:
        """Let go of blobs that came before then and that no manifest of the repository needs; how many."""
        ...


class Uploads(Protocol):
    """Unfinished uploads: bytes that arrive in order, in pieces, perhaps over several connections.

    Not durable: an upload may be lost with the machine, never its name handed out twice. One writer at a time per
    upload; a second one gets `Conflict`.
    """

    def start(self, owner: str) -> str:
        """A new, empty upload that belongs to `owner`: its unguessable name."""
        ...

    def size(self, name: str, owner: str) -> int:
        """Bytes received so far; `NotFound` for another owner's, too."""
        ...

    def append(self, name: str, owner: str, data: Iterable[bytes], *, offset: int | None = None) -> int:
        """Add bytes; the new size. `Conflict` when `offset` is given and is not the present size."""
        ...

    def read(self, name: str, owner: str) -> Iterator[bytes]:
        """All bytes, in chunks of at most 1 MiB."""
        ...

    def commit(self, name: str, owner: str, digest: str) -> int:
        """Make what has arrived a blob of the store and forget the upload; its size.

        `Conflict` where it has another digest: the upload stays. Nobody sees a part of it. After `ExternalError` it may be
        gone, when the disk did not take what had arrived.
        """
        ...

    def sweep(self) -> int:
        """Forget what nobody has added to for a day; how many files that were."""
        ...

    def discard(self, name: str, owner: str) -> None:
        """Forget it; `NotFound` when it is not there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFile:
    """One wheel or sdist in an index. Digests are `sha256:…`; `yanked` is None, or the reason (perhaps empty)."""

    project: str
    """The normalised name (PEP 503)."""
    version: str
    filename: str
    digest: str
    size: int
    metadata_digest: str = ""
    requires_python: str = ""
    uploaded_at: datetime
    uploaded_by: str
    yanked: str | None = None
    provenance_digest: str = ""
    """The blob with the file's provenance object (PEP 740), or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPage:
    """A page of a mirror's source as it was fetched: its ETag, its media type, and when that was."""

    etag: str
    media_type: str
    body: bytes
    fetched_at: datetime


class IndexStore(Letting, Protocol):
    """Which files each package index has. Every call is atomic, and durable when it returns."""

    def add(self, index: str, file: PackageFile) -> None:
        """Add a file; `Conflict` when the index has, or ever had, one of that name with another digest."""
        ...

    def files(self, index: str, project: str) -> tuple[PackageFile, ...]:
        """Files of a project by normalised name, in order of upload; empty where there is no such project."""
        ...

    def file(self, index: str, filename: str) -> PackageFile | None:
        """One file."""
        ...

    def knows(self, project: str) -> bool:
        """Whether any index has, or ever had, a file of that project."""
        ...

    def had(self, index: str, project: str) -> bool:
        """Whether one index has, or ever had, a file of that project."""
        ...

    def page(self, index: str, project: str) -> KeptPage | None:
        """The page of a mirrored project that was kept."""
        ...

    def keep_page(self, index: str, project: str, page: KeptPage) -> None:
        """Keep a page of a mirrored project in place of the one before."""
        ...

    def projects(self, index: str) -> tuple[str, ...]:
        """The normalised names of all projects, sorted."""
        ...

    def yank(self, index: str, filename: str, reason: str | None) -> bool:
        """Yank with a reason, or None to take it back; whether the file was there."""
        ...

    def remove(self, index: str, filename: str) -> bool:
        """Forget a file but not its name; whether it was there."""
        ...
