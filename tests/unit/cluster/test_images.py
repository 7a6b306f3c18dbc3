"""Images as directories: verified, joined, and never outside of their root."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.adapters.cluster_local.images import Images, command_line
from aegis.adapters.cluster_local.model import Program
from aegis.core.errors import ExternalError
from aegis.gitops.ports import ImageLayer, PulledImage
from support.workloads import Registry, image, layer, packed


def _get(tmp_path: Path, one: PulledImage) -> Path:
    registry = Registry()
    digest = registry.push(one)
    return Images(tmp_path / "store", registry.pull, python=sys.executable).get("r", digest).root


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> ImageLayer:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed(raw.getvalue())


def _member(name: str, *, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def test_layers_are_laid_over_one_another_and_compiled(tmp_path: Path):
    root = _get(
        tmp_path,
        image(
            layer({"app/start.py": b"one = 1\n", "app/lib/old.py": b"", "app/etc/a": b"a", "app/etc/b": b"b"}),
            layer(
                {"app/start.py": b"two = 2\n", "app/lib/.wh.old.py": b"", "app/etc/.wh..wh..opq": b"", "app/etc/c": b""}
            ),
        ),
    )
    assert (root / "app/start.py").read_bytes() == b"two = 2\n"
    assert not (root / "app/lib/old.py").exists()
    assert sorted(one.name for one in (root / "app/etc").iterdir()) == ["c"]
    assert list((root / "app/__pycache__").glob("start.*.pyc"))
    assert not list(root.rglob(".wh.*"))


def test_a_layer_is_unpacked_once_for_all_images_that_share_it(tmp_path: Path):
    shared = layer({"app/lib/dependency.py": b"x = 1\n"})
    reads = []

    def counted() -> object:
        reads.append(1)
        return shared.read()

    base = replace(shared, read=counted)  # type: ignore[arg-type]
    registry = Registry()
    images = Images(tmp_path / "store", registry.pull, python=sys.executable)
    for text in (b"1", b"2"):
        digest = registry.push(image(base, layer({"app/start.py": text})))
        assert images.get("r", digest).root.is_dir()
    assert len(reads) == 1


def test_a_layer_whose_bytes_are_not_its_digest_is_refused(tmp_path: Path):
    wrong = replace(layer({"app/start.py": b""}), digest="sha256:" + "0" * 64)
    with pytest.raises(ExternalError) as caught:
        _get(tmp_path, image(wrong))
    assert caught.value.code == "layer-digest"
    assert not list((tmp_path / "store" / "images").iterdir())


@pytest.mark.parametrize(
    "evil",
    [
        [(_member("../outside"), b"x")],
        [(_member("/absolute/../../outside"), b"x")],
        [(_member("app/link", kind=tarfile.SYMTYPE, to="../../.."), b"")],
        [(_member("app/link", kind=tarfile.SYMTYPE, to="/etc"), b"")],
        [(_member("app/hard", kind=tarfile.LNKTYPE, to="../../secret"), b"")],
        [(_member("app/null", kind=tarfile.CHRTYPE), b"")],
        [(_member("app/pipe", kind=tarfile.FIFOTYPE), b"")],
        [(_member("../.wh.secret"), b"")],
    ],
    ids=["parent", "absolute", "link-out", "link-absolute", "hard-link-out", "device", "pipe", "whiteout-out"],
)
def test_nothing_leaves_the_root(tmp_path: Path, evil: list[tuple[tarfile.TarInfo, bytes]]):
    (tmp_path / "secret").write_text("kept")
    with pytest.raises(ExternalError):
        _get(tmp_path, image(_tar(*evil)))
    assert (tmp_path / "secret").read_text() == "kept"
    assert not list(tmp_path.rglob("outside"))


def test_a_layer_that_is_cut_short_is_an_error(tmp_path: Path):
    data = gzip.compress(b"no archive" * 1000)[:-20]
    cut = ImageLayer(
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}", media_type="x+gzip", read=lambda: iter([data])
    )
    with pytest.raises(ExternalError):
        _get(tmp_path, image(cut))


def test_an_image_with_an_operating_system_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(ExternalError, match="operating system") as caught:
        _get(tmp_path, image(layer({"usr/bin/python": b"", "app/start.py": b""})))
    assert "Kubernetes" in caught.value.hint


PROGRAM = Program(repository="r", digest="d", command=None, arguments=None, environment={})


def test_paths_of_the_image_become_paths_here_and_nothing_else_does(tmp_path: Path):
    registry = Registry()
    digest = registry.push(image(layer({"app/start.py": b"", "app/src/a.py": b""})))
    unpacked = Images(tmp_path / "store", registry.pull, python=sys.executable).get("r", digest)
    values = {"A": "/app/src:/app/lib", "B": "http://host/app/src", "C": "/application", "D": "x=/app", "E": "/usr/app"}
    line = command_line(unpacked, replace(PROGRAM, environment=values), python="/usr/bin/python3")
    root = str(unpacked.root)
    assert line.argv == ("/usr/bin/python3", f"{root}/app/start.py")
    assert line.directory == f"{root}/app"
    assert line.environment["A"] == f"{root}/app/src:{root}/app/lib"
    assert line.environment["B"] == "http://host/app/src"
    assert line.environment["C"] == "/application"
    assert line.environment["D"] == f"x={root}/app"
    assert line.environment["E"] == "/usr/app"
    assert line.environment["PYTHONPATH"] == f"{root}/app/lib:{root}/app/src"


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (None, None, ["python", "/app/start.py", "--from-image"]),
        (None, ("x",), ["python", "/app/start.py", "x"]),
        (("python", "-m", "a"), None, ["python", "-m", "a"]),
        (("python", "-m", "a"), ("x",), ["python", "-m", "a", "x"]),
    ],
)
def test_command_and_arguments_override_as_in_kubernetes(
    tmp_path: Path, command: tuple[str, ...] | None, arguments: tuple[str, ...] | None, expected: list[str]
):
    one = image(layer({"app/start.py": b""}))
    config = json.loads(one.config)
    config["config"]["Cmd"] = ["--from-image"]
    registry = Registry()
    digest = registry.push(PulledImage(config=json.dumps(config).encode(), layers=one.layers))
    unpacked = Images(tmp_path / "store", registry.pull, python=sys.executable).get("r", digest)
    line = command_line(unpacked, replace(PROGRAM, command=command, arguments=arguments), python="python")
    assert [part.replace(str(unpacked.root), "") for part in line.argv] == expected


def test_programs_of_the_machine_are_not_the_images(tmp_path: Path):
    registry = Registry()
    digest = registry.push(image())
    unpacked = Images(tmp_path / "store", registry.pull, python=sys.executable).get("r", digest)
    for command in (("/bin/sh", "-c", "true"), ("sh",)):
        with pytest.raises(ExternalError, match="neither python nor a program in the image"):
            command_line(unpacked, replace(PROGRAM, command=command), python="python")
