"""The rules of package indexes: which index answers for a project, uploads, yanking, and releases between indexes.

Follows PEP 503 (names), 592 (yank), 658 and 714 (metadata files), 740 (attestations) and the legacy upload protocol of the
packaging user guide; `registry.simple` makes the pages. A file name is given once per index and forever. Who may do what
is `delivery.doors`' question.

One index answers for a project, never two: the first in the declared order that has, or ever had, a file of it. A mirror
is asked only for names that no index here has ever had and none has declared as its own. So nobody outside can slip a
package of a known name, or a higher version of one, in between.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, BinaryIO, Final, Literal, cast

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from aegis.core.errors import Conflict, Denied, ExternalError, NotFound, UserError
from aegis.core.ports import Blobs, Clock
from aegis.registry import simple
from aegis.registry.attestations import provenance, read_attestations, with_own
from aegis.registry.distribution import Content, PackageFacts, file_name_facts, read_distribution
from aegis.registry.options import RegistryOptions
from aegis.registry.package_mirror import MirroredFile, PackageMirror
from aegis.registry.ports import IndexStore, PackageFile, Pins
from aegis.registry.simple import PageBody

Action = Literal["read", "upload"]
BOTH: Final[frozenset[Action]] = frozenset({"read", "upload"})
_INDEX: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

OnFile = Callable[[str, PackageFile, str], None]
"""Called with index, file and actor after a file was added."""


class PackageIndexes:
    """All indexes over one blob store. Safe from any thread as far as its ports are."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        store: IndexStore,
        clock: Clock,
        on_file: OnFile | None = None,
        options: Callable[[], RegistryOptions] = RegistryOptions,
        mirror: PackageMirror | None = None,
        pins: Pins,
    ) -> None:
        self.blobs = blobs
        self.store = store
        self.clock = clock
        self.on_file = on_file
        self.options = options
        self.mirror = mirror
        self.pins = pins

    def index(self, name: str, *, actor: str, actions: frozenset[Action] = BOTH) -> PackageIndex:
        """The handle that may do `actions` in one index as `actor`; `NotFound` for an impossible name."""
        if _INDEX.fullmatch(name) is None:
            raise NotFound("index-unknown", f"there is no index {name[:80]!r}")
        return PackageIndex(self, name, actor, actions)

    def release(
        self, source: str, target: str, filename: str, *, actor: str, attestation: dict[str, Any] | None = None
    ) -> PackageFile:
        """Let a file out of one index into another, with an attestation of ours where one was made.

        Idempotent; `NotFound`, `Conflict` as `IndexStore.add`.
        """
        found = self.store.file(source, filename)
        if found is None:
            raise NotFound("file-unknown", f"{source} has no file {filename[:120]}")
        proven = found.provenance_digest
        if attestation is not None:
            known = self.blobs.get(proven) if proven else None
            proven = self.blobs.put(with_own(known, attestation, actor))
        self.store.add(target, replace(found, uploaded_by=actor, provenance_digest=proven))
        return found


class PackageIndex:
    """One index for one actor. Errors: `Denied`, `NotFound`, `Conflict`, `UserError`."""

    def __init__(self, indexes: PackageIndexes, name: str, actor: str, actions: frozenset[Action]) -> None:
        self._indexes = indexes
        self._options = indexes.options
        self._blobs = indexes.blobs
        self._store = indexes.store
        self._clock = indexes.clock
        self._on_file = indexes.on_file
        self._actions = actions
        self.name = name
        self.actor = actor

    def project_list(self, accept: str) -> PageBody:
        """The page of all projects, in the form that `accept` prefers: this index's and those it falls through to.

        What a mirror could fetch is not listed.
        """
        self._may("read")
        order = self._options().order(self.name)
        found = {name for index in order for name in self._store.projects(index)}
        return simple.project_list(sorted(found), accept)

    def project_page(self, project: str, accept: str) -> PageBody:
        """The page of one project; `NotFound` where no index in the order has a file of it."""
        self._may("read")
        name = canonicalize_name(project)
        files = self._files(name)
        if not files:
            raise NotFound("project-unknown", f"{self.name} has no project {name[:80]}")
        return simple.project_page(name, files, accept)

    def file(self, filename: str) -> PackageFile:
        """What is known of a file; `NotFound`."""
        self._may("read")
        own = self._store.file(self.name, filename)
        if own is not None:
            return own
        try:
            project, _, _ = file_name_facts(filename)
        except UserError:
            project = ""
        found = next((one for one in self._files(project) if one.filename == filename), None) if project else None
        if found is None:
            raise NotFound("file-unknown", f"{self.name} has no file {filename[:120]}")
        return found

    def have(self, filename: str) -> PackageFile:
        """What is known of a file, once its bytes are here; their number counts, whatever its page said."""
        found = self.file(filename)
        if isinstance(found, MirroredFile):
            self._mirror().fetch(found)
        size = self._blobs.size(found.digest)
        if size is None:
            raise NotFound("file-unknown", f"the content of {filename[:120]} is gone")
        return replace(found, size=size)

    def open_file(self, filename: str) -> BinaryIO | None:
        """The file where its bytes are known to be right and lie in one; None: use `read`."""
        return self._blobs.file(self.have(filename).digest)

    def read(self, filename: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A file's bytes, or a part of them, in chunks."""
        return self._blobs.open(self.have(filename).digest, offset=offset, length=length)

    def metadata(self, filename: str) -> bytes:
        """The core metadata of a wheel (PEP 658); `NotFound` for anything else."""
        found = self.file(filename)
        if isinstance(found, MirroredFile):
            return self._mirror().metadata(found)
        if not found.metadata_digest:
            raise NotFound("file-unknown", f"{filename} has no metadata file")
        return self._blobs.get(found.metadata_digest)

    def provenance(self, filename: str) -> bytes:
        """The provenance object of a file (PEP 740); `NotFound` where nobody attested it."""
        found = self.file(filename)
        if isinstance(found, MirroredFile):
            return self._mirror().provenance(found)
        if not found.provenance_digest:
            raise NotFound("file-unknown", f"{filename} has no provenance")
        return self._blobs.get(found.provenance_digest)

    def _files(self, project: str) -> Sequence[PackageFile]:
        """The files of a project in the one index that answers for it."""
        options = self._options()
        for index in options.order(self.name):
            rule = options.indexes.get(index)
            if rule is None or not rule.mirror:
                if self._store.had(index, project):
                    return self._store.files(index, project)
            elif not options.is_own(project) and not self._store.knows(project):
                found = self._mirror().files(index, rule, project)
                if found is not None:
                    return found
        return ()

    def _mirror(self) -> PackageMirror:
        if self._indexes.mirror is None:
            raise NotFound("index-unknown", "this server mirrors nothing")
        return self._indexes.mirror

    def upload(self, form: Mapping[str, str], filename: str, content: IO[bytes]) -> PackageFile:
        """Take an upload of the legacy protocol: the form's fields, the file's name and its content.

        The same file again succeeds; another file of the same name is a `Conflict`.
        """
        self._may("upload")
        rule = self._options().indexes.get(self.name)
        if rule is not None and rule.mirror:
            raise Denied("index-mirror", f"{self.name} mirrors another index; upload to one of your own")
        if form.get(":action", "file_upload") != "file_upload" or form.get("protocol_version", "1") != "1":
            raise UserError("upload-form", "only `file_upload` of protocol version 1 is understood")
        claimed = form.get("sha256_digest", "").strip().lower()
        if claimed and _SHA256.fullmatch(claimed) is None:
            raise UserError("upload-digest", "the form's sha256_digest is not a SHA-256 digest")
        present = self._store.file(self.name, filename)
        try:
            digest, size = self._blobs.put_stream(content, expected=f"sha256:{claimed}" if claimed else None)
        except Conflict as error:
            raise UserError("upload-digest", error.message, hint="upload it again") from error
        if present is not None and present.digest != digest:
            raise _exists(self.name, filename)
        facts = read_distribution(filename, cast("IO[bytes]", io.BufferedReader(self._content(digest, size))))
        _compare(form, facts.project, facts.version)
        attested = read_attestations(form["attestations"], filename, digest) if form.get("attestations") else ()
        with self._indexes.pins.held(digest):
            if self._blobs.size(digest) is None:  # a clean-up was quicker than this upload
                raise ExternalError("upload-lost", f"{filename} was cleaned up meanwhile", retryable=True)
            return self._added(facts, filename, digest, size, attested)

    def _added(
        self, facts: PackageFacts, filename: str, digest: str, size: int, attested: tuple[dict[str, Any], ...]
    ) -> PackageFile:
        file = PackageFile(
            project=facts.project, version=facts.version, filename=filename, digest=digest, size=size,
            metadata_digest=self._blobs.put(facts.metadata) if facts.is_wheel else "",
            requires_python=facts.requires_python, uploaded_at=self._clock.now(), uploaded_by=self.actor,
            provenance_digest=self._blobs.put(provenance(attested, self.actor)) if attested else "",
        )  # fmt: skip
        try:
            self._store.add(self.name, file)
        except Conflict as error:
            raise _exists(self.name, filename) from error
        if self._on_file is not None:
            self._on_file(self.name, file, self.actor)
        return file

    def yank(self, filename: str, reason: str | None) -> None:
        """Yank a file with a reason (perhaps empty), or take that back with None."""
        self._may("upload")
        if not self._store.yank(self.name, filename, reason):
            raise NotFound("file-unknown", f"{self.name} has no file {filename[:120]}")

    def _content(self, digest: str, size: int) -> Content:
        return Content(lambda offset, length: self._blobs.open(digest, offset=offset, length=length), size)

    def _may(self, action: Action) -> None:
        if action not in self._actions:
            raise Denied("index-denied", f"{self.actor} may not {action} in the index {self.name}")


def _compare(form: Mapping[str, str], project: str, version: str) -> None:
    name = form.get("name", project)
    if canonicalize_name(name) != project:
        raise UserError("upload-form", f"the form says {name[:80]!r}, the file is {project}")
    said = form.get("version", version)
    try:
        same = str(Version(said)) == version
    except InvalidVersion:
        same = False
    if not same:
        raise UserError("upload-form", f"the form says version {said[:80]!r}, the file is {version}")


def _exists(index: str, filename: str) -> Conflict:
    return Conflict(
        "file-exists",
        f"{index} has had another file named {filename}; a name is given once",
        hint="raise the version and upload that",
    )
