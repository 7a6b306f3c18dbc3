"""`ImageRoots` in a directory: images fetched by digest, verified, unpacked once, kept as `roots/<owner>/<digest>`.

`find` says where an image comes from and who may have it; it is asked every time, also for what is kept. Roots that no job
asked for in thirty days go when another one is unpacked. Whoever can write to the directory decides what jobs run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from aegis.adapters.image_unpack import Tree, inside
from aegis.adapters.turns_memory import MemoryTurns
from aegis.build.ports import ImageSource
from aegis.core.errors import AegisError, ExternalError, UserError
from aegis.core.ids import is_digest, sha256
from aegis.core.plan import Image
from aegis.execution import images
from aegis.execution.ports import HealthCheck, ImageRoot

_KEPT_SECONDS: Final = 30 * 24 * 3600
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/bin/sh", "/usr/bin/sh", "/busybox/sh")
_DOCUMENT: Final = 16 << 20
_ABOUT: Final = "settings.json"
"""What is kept of the configuration. A root that lacks it is unpacked anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where an image is: `open` reaches its source, `reference` is a tag or digest there, `key` names it among all."""

    key: str
    reference: str
    open: Callable[[], AbstractContextManager[ImageSource]]


class DirectoryImageRoots:
    """The cache under `directory`. `find` maps an image's name and the job's project to its place, or refuses it.

    Safe from any thread and for several processes: each image is unpacked aside and renamed when it is whole.
    """

    def __init__(
        self, directory: Path, find: Callable[[str, str], Located], *, owner: tuple[int, int] | None = None
    ) -> None:
        self._find = find
        self._owner = owner
        self._machine = platform.machine()
        self._directory = directory
        self._roots = directory / ("own" if owner is None else str(owner[0]))
        self._names = directory / "names"
        self._turns = MemoryTurns()

    def get(self, image: Image, project: str, *, service: bool = False) -> ImageRoot:
        """See `ImageRoots`."""
        located = self._find(image.name, project)
        trouble: AegisError | None = None
        for policy in images.policies(image.pull_policy):
            try:
                return self._shelled(self._by(policy, located, image.name), needed=not service)
            except AegisError as error:
                trouble = error
        raise trouble or UserError("pull-policy", "no pull policy was given")

    def _by(self, policy: str, located: Located, name: str) -> ImageRoot:
        with self._turns(located.key):
            digest = located.reference if is_digest(located.reference) else ""
            if policy != "always" and not digest:
                digest = self._noted(located.key)
            if digest and (self._place(digest) / _ABOUT).is_file():
                return self._kept(digest, name)
            if policy == "never":
                hint = "let it be pulled once: pull_policy [if-not-present]"
                raise UserError("image-not-kept", f"{name} is not kept here, and its pull policy is never", hint=hint)
            try:
                self._make(self._directory)
                self._make(self._roots)
                return self._pull(located, name)
            except OSError as error:
                raise ExternalError(
                    "image-unpack", f"{name} could not be unpacked: {error.strerror or error}", hint="look at the disk"
                ) from error

    def _pull(self, located: Located, name: str) -> ImageRoot:
        with located.open() as source:
            raw = source.manifest(located.reference)
            one = images.fitting(raw.body, name, self._machine)
            if one is not None:
                raw = source.manifest(one)
            if not (self._place(raw.digest) / _ABOUT).is_file():
                self._unpack(source, raw.body, raw.digest, name)
        self._note(located.key, raw.digest)
        return self._kept(raw.digest, name)

    def _unpack(self, source: ImageSource, body: bytes, digest: str, name: str) -> None:
        if sha256(body) != digest:
            raise ExternalError("image-digest", f"the manifest of {name} is not {digest}")
        self._forget_old()
        manifest = images.read_manifest(body, name)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._roots))
        try:
            with tempfile.TemporaryFile(dir=fresh) as file:
                fetch(source, manifest.config, _DOCUMENT, cast("BinaryIO", file))
                settings = images.read_settings(file.read(), name, self._machine)
            root = fresh / "root"
            root.mkdir(mode=0o755)
            if self._owner is not None:
                os.chown(root, *self._owner)
            tree = Tree(root, self._owner)
            for layer in manifest.layers:
                with tempfile.TemporaryFile(dir=fresh) as file:
                    fetch(source, layer.digest, layer.size, cast("BinaryIO", file))
                    tree.add(cast("BinaryIO", file), layer.media_type)
            (fresh / _ABOUT).write_text(json.dumps(asdict(settings)), encoding="utf-8")
            place = self._place(digest)
            try:
                fresh.rename(place)
            except OSError:
                if not (place / _ABOUT).is_file():
                    shutil.rmtree(place)
                    fresh.rename(place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _kept(self, digest: str, name: str) -> ImageRoot:
        place = self._place(digest)
        about = json.loads((place / _ABOUT).read_bytes())
        os.utime(place / _ABOUT)
        root = place / "root"
        health = about.pop("health")
        return ImageRoot(
            name=name, digest=digest, path=root,
            shell_path=next((one for one in _SHELLS if inside(root, one) is not None), ""),
            environment=about.pop("environment"), user=about.pop("user"), directory=about.pop("directory"),
            health=HealthCheck(**{**health, "argv": tuple(health["argv"])}) if health else None,
            **{key: tuple(value) for key, value in about.items()},
        )  # fmt: skip

    @staticmethod
    def _shelled(root: ImageRoot, *, needed: bool) -> ImageRoot:
        if needed and not root.shell_path:
            hint = "a job's script needs one: choose an image that has /bin/sh (many have a -debug or -alpine variant)"
            raise UserError("image-shell", f"{root.name} has no shell", hint=hint)
        return root

    # -- the directory --------------------------------------------------------------------------------------------

    def _place(self, digest: str) -> Path:
        return self._roots / digest.replace(":", "-")

    @staticmethod
    def _make(path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _noted(self, key: str) -> str:
        try:
            found = (self._names / sha256(key.encode()).partition(":")[2]).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""
        return found if is_digest(found) else ""

    def _note(self, key: str, digest: str) -> None:
        self._make(self._names)
        path = self._names / sha256(key.encode()).partition(":")[2]
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(digest, encoding="ascii")
        aside.replace(path)

    def _forget_old(self) -> None:
        before = time.time() - _KEPT_SECONDS
        for place in self._roots.iterdir():
            about = place / _ABOUT
            if (about if about.exists() else place).stat().st_mtime < before:
                shutil.rmtree(place, ignore_errors=True)


def fetch(source: ImageSource, digest: str, limit: int, file: BinaryIO) -> None:
    """Write a blob of at most `limit` bytes, verified, and go back to its beginning."""
    hashed, size = hashlib.sha256(), 0
    pieces: Iterator[bytes] = source.blob(digest)
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise ExternalError("image-digest", f"the blob {digest} is longer than its manifest says")
        hashed.update(piece)
        file.write(piece)
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise ExternalError("image-digest", f"what came for {digest} is something else", hint="pull it again")
    file.seek(0)
