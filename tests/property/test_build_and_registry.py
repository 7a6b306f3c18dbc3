"""Whatever comes: layers keep every byte and depend on content alone; uploads do not mind how they are cut; readers
of other people's files answer or refuse, and never break."""

from __future__ import annotations

import io
import itertools
import json
import random
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.registry_sqlite import SqliteImages
from aegis.adapters.turns_memory import MemoryPins
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.build.layers import Entry, write_layer
from aegis.build.locks import read_lock
from aegis.build.target import Target
from aegis.build.wheel import with_version
from aegis.core.errors import AegisError, UserError
from aegis.core.ids import sha256
from aegis.registry.distribution import read_distribution
from aegis.registry.manifest import read_manifest
from aegis.registry.oci import OciRegistry
from aegis.registry.simple import negotiate

PARTS = st.text("abcä .-_", min_size=1, max_size=6).filter(lambda text: text not in {".", ".."})
FILES = st.dictionaries(st.lists(PARTS, min_size=1, max_size=4).map(tuple), st.binary(max_size=200), max_size=12)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schemaVersion", "config", "layers", "digest", "size", "mediaType", "subject", "manifests"]), inner
    ),
)  # fmt: skip


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that a call ends with; '' when it ends well. Anything but an AegisError is a bug."""
    try:
        call()
    except AegisError as error:
        return error.code
    return ""


@given(files=FILES, seed=st.integers())
def test_a_layer_keeps_every_byte_and_depends_on_content_alone(files: dict[tuple[str, ...], bytes], seed: int) -> None:
    folders = {path[:depth] for path in files for depth in range(1, len(path))}
    kept = {"/".join(path): data for path, data in files.items() if path not in folders}

    def packed(order: list[str]) -> bytes:
        held = io.BytesIO()
        entries = [Entry(path=f"app/{path}", read=lambda path=path: kept[path]) for path in order]  # type: ignore[misc]
        write_layer(entries, held, epoch=1, comment="")
        return held.getvalue()

    names = sorted(kept)
    shuffled = random.Random(seed).sample(names, len(names))
    data = packed(names)
    assert data == packed(shuffled)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]
    assert found == {f"app/{path}": content for path, content in kept.items()}


@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_an_upload_is_the_same_blob_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images, blobs = SqliteImages(Path(folder) / "registry.db"), DirectoryBlobs(Path(folder) / "blobs")
        uploads = DirectoryUploads(Path(folder) / "up", blobs)
        registry = OciRegistry(blobs=blobs, images=images, uploads=uploads, pins=MemoryPins())
        repository = registry.repository("a/b", actor="test")
        upload = repository.start_upload()
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in itertools.pairwise(edges):
            upload = repository.append(upload.name, [data[start:end]], offset=start)
        assert upload.size == len(data)
        assert repository.finish(upload.name, sha256(data)) == len(data)
        assert b"".join(repository.read_blob(sha256(data))) == data
        images.close()


@given(value=JSONISH)
def test_a_manifest_of_any_shape_is_read_or_refused(value: object) -> None:
    body = json.dumps(value).encode()
    code = refusal(lambda: read_manifest(body, "application/vnd.oci.image.manifest.v1+json"))
    assert code in {"", "oci-manifest-invalid"}


LOCKISH = st.dictionaries(
    st.sampled_from(["package", "packages", "metadata"]),
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "version", "source", "files", "groups", "dependencies", "wheels", "marker", "markers"]),
            st.text("ab1 =<'\"", max_size=6) | st.lists(st.text("ab", max_size=3), max_size=2)
            | st.dictionaries(st.sampled_from(["editable", "git", "type"]), st.text("a.", max_size=2), max_size=2),
            max_size=5,
        ),
        max_size=3,
    ),
    max_size=2,
)  # fmt: skip


@given(value=LOCKISH, name=st.sampled_from(["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"]))
def test_a_lock_of_any_shape_is_read_or_refused(value: dict[str, object], name: str) -> None:
    with patch("aegis.core.locks.tomllib.loads", return_value=value):
        code = refusal(lambda: read_lock(name, b"", target=Target("3.12"), roots=("a",), project="x"))
    assert code in {"", "lock-unreadable", "lock-marker"}


@given(text=st.text(max_size=200), name=st.sampled_from(["requirements.txt", "uv.lock"]))
def test_a_lock_of_any_text_is_read_or_refused(text: str, name: str) -> None:
    code = refusal(lambda: read_lock(name, text.encode("utf-8", "surrogatepass"), target=Target("3.12")))
    assert code == "" or code.startswith("lock-")


@given(
    data=st.binary(max_size=300), name=st.sampled_from(["tiny-1.0.tar.gz", "tiny-1.0-py3-none-any.whl", "tiny-1.0.zip"])
)
def test_a_distribution_of_any_bytes_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(UserError):
        read_distribution(name, io.BytesIO(data))


@given(text=st.text("[project]vrsion=1\"'\n dynamic,#", max_size=80))
def test_a_version_is_written_in_or_the_file_is_refused(text: str) -> None:
    try:
        after = tomllib.loads(with_version(text.encode(), "9.9").decode())
    except UserError:
        return
    assert (after.get("project") or after["tool"]["poetry"])["version"] == "9.9"


@given(accept=st.text(max_size=80))
def test_any_accept_header_gets_a_form_that_exists(accept: str) -> None:
    assert negotiate(accept) in {
        "text/html",
        "application/vnd.pypi.simple.v1+json",
        "application/vnd.pypi.simple.v1+html",
    }
