"""Puts a built image onto another base: its own layers stay the same bytes, only manifest and configuration are new. Pure.

Which layers are the image's own says its label: the uppermost ones. An image whose bytecode or
wheels are for one Python is not put onto a base that says it holds another.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aegis.build.base import Base
from aegis.build.image import BASE_LABEL, BYTECODE_LABEL, MANIFEST, OWN_LABEL, as_json, digest_of
from aegis.build.ports import RawManifest
from aegis.core.errors import UserError

_BASE: Final = ("org.opencontainers.image.base.name", "org.opencontainers.image.base.digest")


def rebased(raw: RawManifest, config: bytes, base: Base) -> tuple[RawManifest, bytes, tuple[str, ...]]:
    """Manifest, configuration and the digests of the image's own layers; `UserError` where that cannot be done."""
    manifest, document = json.loads(raw.body), json.loads(config)
    history = [one for one in document.get("history") or [] if not one.get("empty_layer")]
    said = str(((document.get("config") or {}).get("Labels") or {}).get(OWN_LABEL, ""))
    own = int(said) if said.isdigit() else 0
    if not 0 < own <= len(history) == len(manifest["layers"]):
        raise UserError("rebase-foreign", "this image was not built by aegis, so its own layers are not known")
    _same_python(document, base)
    inner: dict[str, Any] = document["config"]
    below = base.config.get("config") or {}
    labels = {key: value for key, value in (inner.get("Labels") or {}).items() if key not in _BASE}
    labels |= {key: value for key, value in zip(_BASE, (base.name, base.digest), strict=True) if value}
    labels[BASE_LABEL] = base.digest or "none"
    given = dict(one.partition("=")[::2] for one in below.get("Env") or [])
    merged = given | dict(one.partition("=")[::2] for one in inner.get("Env") or [])
    if "PATH" in given:
        merged["PATH"] = given["PATH"]
    layers = manifest["layers"][-own:]
    document |= {
        "config": inner | {"Labels": labels, "Env": [f"{key}={value}" for key, value in merged.items()]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [*(one.diff_id for one in base.layers), *document["rootfs"]["diff_ids"][-own:]],
        },
        "history": [*(base.config.get("history") or []), *history[-own:]],
    }
    body = as_json(document)
    described = [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in base.layers]
    whole = as_json(
        manifest
        | {
            "config": manifest["config"] | {"digest": digest_of(body), "size": len(body)},
            "layers": [*described, *layers],
            "annotations": {key: value for key, value in labels.items() if key.startswith("org.opencontainers.")},
        }
    )
    made = RawManifest(digest=digest_of(whole), media_type=MANIFEST, body=whole)
    return made, body, tuple(one["digest"] for one in layers)


def _same_python(document: dict[str, Any], base: Base) -> None:
    labels = (document.get("config") or {}).get("Labels") or {}
    built = labels.get(BYTECODE_LABEL, "").partition("/")[2].rpartition(".")[0]
    environment = dict(one.partition("=")[::2] for one in (base.config.get("config") or {}).get("Env") or [])
    stands = ".".join(environment.get("PYTHON_VERSION", "").split(".")[:2])
    if built and stands and built != stands:
        raise UserError(
            "rebase-python", f"the image is for Python {built}, the base {base.name} holds {stands}",
            hint=f"build it anew: [tool.aegis] python = {stands!r}",
        )  # fmt: skip
