"""Where the images of jobs come from: for a server its own registry and declared mirrors, here a layout or a near registry.

Decides which names mean which source. Everything else is refused with the mend: nothing is fetched from where nobody said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aegis.adapters.executor_container import ContainerExecutor
from aegis.adapters.image_roots import DirectoryImageRoots, Located
from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap import build_facts, engines
from aegis.build.ports import ImageSource, RawManifest
from aegis.core.errors import UserError
from aegis.core.ids import sha256
from aegis.execution import images
from aegis.execution.ports import Executor, ImageRoots
from aegis.registry.oci import ImageRepository
from aegis.registry.options import ImageMirrorRule

_PATHS: Final = ("oci:", "./", "../", "/")


def local_images(project: Path, executor: Executor, environ: Mapping[str, str]) -> ImageRoots:
    """The images of a local run: a container engine's, or kept in the user's cache."""
    if isinstance(executor, ContainerExecutor):
        # An engine pulls what it likes for whoever may use it; only what it cannot know is brought to it.
        return engines.images(
            executor, lambda name, _: _layout(name, project) if name.startswith(_PATHS) else None, environ
        )

    def find(name: str, _: str) -> Located:
        if name.startswith(_PATHS):
            return _layout(name, project)
        return _near(name)

    return DirectoryImageRoots(build_facts.cache_directory() / "roots", find, owner=executor.owner)


def server_images(
    directory: Path,
    executor: Executor,
    *,
    registry: str,
    mirrors: Callable[[], Mapping[str, ImageMirrorRule]],
    repository: Callable[[str, str], ImageRepository],
    environ: Mapping[str, str],
    registries: Sequence[str] = (),
) -> ImageRoots:
    """The images of a server's own runner. `repository` opens one for a project's job, or refuses it.

    A container engine pulls by itself from the hosts `registries` alone.
    """

    def find(name: str, project: str) -> Located:
        if name.startswith(_PATHS):
            hint = "push it to this server's registry: aegis image push"
            raise UserError("image-source", "a server takes no image from a path", hint=hint)
        hosts = {key: urlsplit(rule.url).netloc for key, rule in mirrors().items()}
        where, wanted = images.served(name, registry, hosts)
        handle = repository(project, where)
        return Located(key=f"{where}:{wanted}", reference=wanted, open=lambda: nullcontext(_Repository(handle)))

    def pulled(name: str, project: str) -> Located | None:
        host = images.read_reference(name).host or "docker.io"
        return None if not name.startswith(_PATHS) and host in registries else find(name, project)

    if isinstance(executor, ContainerExecutor):
        return engines.images(executor, pulled, environ)
    return DirectoryImageRoots(directory, find, owner=executor.owner)


def _layout(name: str, project: Path) -> Located:
    text = name.removeprefix("oci:")
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        head, tag = text, ""
    layout = OciLayout((project / head).resolve())
    return Located(key=f"{layout.path}:{tag}", reference=tag, open=lambda: nullcontext(layout))


def _near(name: str) -> Located:
    from aegis.adapters.registry_http import is_loopback  # noqa: PLC0415 - only remote images need it
    from aegis.bootstrap.image import client  # noqa: PLC0415 - as above

    found = images.read_reference(name)
    if not is_loopback(found.host):
        raise UserError(
            "image-source", f"a local run does not fetch from {found.host or 'docker.io'}",
            hint="name a layout (image: oci:PATH:TAG), or the server on this machine, which mirrors it",
        )  # fmt: skip

    @contextmanager
    def reached() -> Iterator[ImageSource]:
        with client(found.host, found.repository) as registry:
            yield registry

    opened: Callable[[], AbstractContextManager[ImageSource]] = reached
    return Located(key=name, reference=found.wanted, open=opened)


class _Repository:
    """A repository of this server as an `ImageSource`."""

    def __init__(self, handle: ImageRepository) -> None:
        self._handle = handle

    def manifest(self, reference: str) -> RawManifest:
        """See `ImageSource`."""
        found = self._handle.manifest(reference)
        return RawManifest(digest=sha256(found.body), media_type=found.media_type, body=found.body)

    def blob(self, digest: str) -> Iterator[bytes]:
        """See `ImageSource`."""
        return self._handle.read_blob(digest)
