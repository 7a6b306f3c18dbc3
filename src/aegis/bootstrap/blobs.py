"""Where a server keeps its blobs: a folder of its data directory, or an S3-compatible store that the environment names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.shelf_directory import DirectoryShelf
from aegis.core.errors import UserError
from aegis.core.ports import Blobs
from aegis.execution.ports import Shelf

BLOBS_DIRECTORY: Final = "blobs"
SHELF_DIRECTORY: Final = "caches"
STORE_VARIABLE: Final = "AEGIS_BLOBS"
_HINT: Final = "write s3://BUCKET/PREFIX, and the store's address into AEGIS_BLOBS_ENDPOINT"


def blobs_of(data: Path, environ: Mapping[str, str]) -> Blobs:
    """The store in `AEGIS_BLOBS`, else the folder of the data directory. `UserError` for what is half configured."""
    return stores_of(data, environ)[0]


def stores_of(data: Path, environ: Mapping[str, str]) -> tuple[Blobs, Shelf]:
    """That store, and the shelf of what is noted about caches: beside the blobs, so that servers in turn share it."""
    address = environ.get(STORE_VARIABLE, "")
    if not address:
        return DirectoryBlobs(data / BLOBS_DIRECTORY), DirectoryShelf(data / SHELF_DIRECTORY)
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise UserError("blobs-address", f"{STORE_VARIABLE}={address!r} is no address of an object store", hint=_HINT)
    endpoint = environ.get("AEGIS_BLOBS_ENDPOINT", "")
    if urlsplit(endpoint).scheme not in ("https", "http"):
        raise UserError("blobs-address", "the object store has no address", hint=_HINT)
    access, secret = (environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if not access or not secret:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise UserError("blobs-credentials", "the object store needs credentials", hint=hint)
    from aegis.adapters.aws_signature import Credentials  # noqa: PLC0415 - few servers need it
    from aegis.adapters.blobs_s3 import S3Blobs  # noqa: PLC0415
    from aegis.adapters.s3_objects import S3Objects  # noqa: PLC0415
    from aegis.adapters.shelf_s3 import S3Shelf  # noqa: PLC0415

    region = environ.get("AEGIS_BLOBS_REGION") or "us-east-1"
    credentials = Credentials(access_key=access, secret_key=secret, region=region)
    objects = S3Objects(endpoint, parts.netloc, credentials, ca_file=environ.get("AEGIS_BLOBS_CA") or None)
    return (
        S3Blobs(objects, spool=data / "spool", prefix=parts.path),
        S3Shelf(objects, f"{parts.path.strip('/')}/{SHELF_DIRECTORY}".strip("/")),
    )
