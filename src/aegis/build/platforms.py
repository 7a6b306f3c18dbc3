"""Joins images of one build for several platforms into an index. Pure.

What is joined must be the same thing: name, version and commit are compared, since whoever pulls the index gets one of its
images without knowing which. Whether an image can be made for a platform is decided where its wheels are chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aegis.build.image import as_json, digest_of
from aegis.build.ports import RawManifest
from aegis.core.errors import UserError

INDEX: Final = "application/vnd.oci.image.index.v1+json"
_SAME: Final = tuple(f"org.opencontainers.image.{one}" for one in ("title", "version", "revision"))


def joined(images: Sequence[tuple[RawManifest, bytes]]) -> RawManifest:
    """The index of images, each given as manifest and configuration; `UserError` where they are not one build."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    common: dict[str, str] = {}
    for raw, config in images:
        document = json.loads(config)
        platform = (str(document.get("os", "linux")), str(document.get("architecture", "")))
        if platform in entries:
            raise UserError(
                "platforms", f"two of the images are for {'/'.join(platform)}",
                hint="build each with its own --arch and --output",
            )  # fmt: skip
        labels = (document.get("config") or {}).get("Labels") or {}
        said = {key: str(labels.get(key, "")) for key in _SAME}
        if common and said != common:
            name = next(key for key in _SAME if said[key] != common[key])
            raise UserError(
                "platforms", f"the images are not one build: {name} is {common[name]!r} and {said[name]!r}",
                hint="build them from the same commit",
            )  # fmt: skip
        common = said
        entries[platform] = {
            "mediaType": raw.media_type, "digest": raw.digest, "size": len(raw.body),
            "platform": {"architecture": platform[1], "os": platform[0]},
        }  # fmt: skip
    body = as_json(
        {
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [entries[key] for key in sorted(entries)],
            "annotations": {key: value for key, value in common.items() if value},
        }
    )  # fmt: skip
    return RawManifest(digest=digest_of(body), media_type=INDEX, body=body)


def image_for(index: Mapping[str, Any], architecture: str) -> str:
    """The digest of the index's image for Linux on an architecture; `UserError` where it has none."""
    platforms = {}
    for one in index["manifests"]:
        platform = one.get("platform") or {}
        platforms[f"{platform.get('os')}/{platform.get('architecture')}"] = str(one["digest"])
    if f"linux/{architecture}" not in platforms:
        raise UserError("platforms", f"the image is there for {', '.join(platforms)}, and not for linux/{architecture}")
    return platforms[f"linux/{architecture}"]
