"""Puts together what `aegis image join` needs: layouts of one build, and the registry that gets them as one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import client, destination, read_reference
from aegis.build.base import manifest_digests
from aegis.build.platforms import joined
from aegis.core.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """What `aegis image join` did: the index, where it lies, and its images by digest."""

    digest: str
    repository: str
    tags: tuple[str, ...]
    images: tuple[str, ...]
    sent: int


def join_images(folders: tuple[Path, ...], repository: str, tags: tuple[str, ...], *, dry_run: bool) -> JoinReport:
    """Push the image of each layout by digest, then their index under `tags` (none: those of the first)."""
    layouts = [OciLayout(one) for one in folders]
    raws = [one.manifest((one.tags() or ("",))[0]) for one in layouts]
    configs = [b"".join(one.blob(manifest_digests(raw)[0])) for one, raw in zip(layouts, raws, strict=True)]
    index = joined(tuple(zip(raws, configs, strict=True)))
    where = destination(repository)
    names = tags or layouts[0].tags()
    if not names:
        raise UserError("no-tag", "it is not said under which tag", hint="give --tag NAME")
    sent = 0
    if not dry_run:
        reference = read_reference(where)
        with client(reference.host, reference.repository) as registry:
            sent = sum(len(registry.push(one).sent) for one in layouts)
            for name in names:
                registry.put({}, index, name)
    return JoinReport(
        digest=index.digest, repository=where, tags=names, images=tuple(one.digest for one in raws), sent=sent
    )  # fmt: skip
