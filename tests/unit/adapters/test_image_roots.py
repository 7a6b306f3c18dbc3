"""Images become directories: layers over one another, nothing outside, nothing of the machine's."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters import image_unpack
from aegis.adapters.image_roots import DirectoryImageRoots, Located
from aegis.adapters.image_unpack import Tree, inside
from aegis.adapters.layout_directory import OciLayout
from aegis.build.ports import ImageSource
from aegis.core.errors import ExternalError, UserError
from aegis.core.plan import Image
from support.images import GZIP, Entry, layer, layout, shell_layer

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def unpacked(root: Path, *layers: list[Entry]) -> Path:
    """The layers in a directory."""
    root.mkdir()
    tree = Tree(root)
    for one in layers:
        tree.add(io.BytesIO(layer(one)), GZIP)
    return root


def listing(root: Path) -> list[str]:
    """Everything below, by name."""
    return sorted(one.relative_to(root).as_posix() for one in root.rglob("*"))


def test_later_layers_lie_over_earlier_ones_and_take_away(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path / "root",
        [
            Entry(name="./a/", kind=DIR), Entry(name="a/old", data=b"1"), Entry(name="a/both", data=b"1"),
            Entry(name="gone", data=b"x"), Entry(name="tree/deep/file", data=b"x"), Entry(name="opaque/low", data=b"x"),
            Entry(name="opaque/kept/low", data=b"x"), Entry(name="name", kind=LINK, link="/a/old"),
        ],
        [
            Entry(name="a/both", data=b"2"), Entry(name=".wh.gone"), Entry(name="tree/.wh.deep"),
            Entry(name="opaque/new", data=b"y"), Entry(name="opaque/kept/new", data=b"y"), Entry(name="opaque/.wh..wh..opq"),
            Entry(name="fresh", data=b"y"), Entry(name=".wh.fresh"), Entry(name="again", kind=HARD, link="a/both"),
        ],
    )  # fmt: skip
    assert listing(root) == [
        "a", "a/both", "a/old", "again", "fresh", "name", "opaque", "opaque/kept", "opaque/kept/new", "opaque/new", "tree",
    ]  # fmt: skip
    assert (root / "a/both").read_bytes() == b"2"
    assert (root / "again").stat().st_ino == (root / "a/both").stat().st_ino


def test_links_mean_what_they_mean_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = unpacked(
        tmp_path / "root",
        [
            Entry(name="bin", kind=LINK, link="usr/bin"), Entry(name="usr/bin", kind=DIR),
            Entry(name="away", kind=LINK, link=str(outside)), Entry(name="up", kind=LINK, link="../../../.."),
        ],
        [
            Entry(name="bin/tool", data=b"t"), Entry(name="away/file", data=b"f"), Entry(name="up/top", data=b"u"),
            Entry(name="away2", kind=LINK, link="/away/file"),
        ],
    )  # fmt: skip
    assert (root / "usr/bin/tool").read_bytes() == b"t"
    assert list(outside.iterdir()) == []
    assert (root / "top").read_bytes() == b"u"
    assert inside(root, "/away2") == root / str(outside).lstrip("/") / "file"
    assert inside(root, "/up/../bin/tool") == root / "usr/bin/tool"
    assert inside(root, "/nothing") is None


@pytest.mark.parametrize(
    "entries",
    [
        [Entry(name="../escape", data=b"x")],
        [Entry(name="a/../../escape", data=b"x")],
        [Entry(name="hard", kind=HARD, link="../outside/secret")],
        [Entry(name="l", kind=LINK, link="../outside"), Entry(name="hard", kind=HARD, link="l/secret")],
        [Entry(name="hard", kind=HARD, link="/etc")],
        [Entry(name="disk", kind=tarfile.BLKTYPE, more={"devmajor": 8})],
        [Entry(name="null", kind=tarfile.CHRTYPE, more={"devmajor": 1, "devminor": 3})],
        [Entry(name="pipe", kind=tarfile.FIFOTYPE)],
        [Entry(name="circle", kind=LINK, link="circle"), Entry(name="circle/x", data=b"x")],
        [Entry(name="file", data=b"x"), Entry(name="file/x", data=b"x")],
        [Entry(name=".wh...", data=b"")],
        [Entry(name="x" * (2 << 20), data=b"x")],
    ],
)
def test_what_leads_out_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    with pytest.raises(ExternalError):
        unpacked(tmp_path / "root", entries)
    assert listing(outside) == ["secret"]
    assert not (tmp_path / "escape").exists()


def test_a_directory_that_became_a_link_changes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b").chmod(0o700)
    unpacked(
        tmp_path / "root",
        [Entry(name="a/b", kind=DIR, mode=0o755), Entry(name="a", kind=LINK, link=str(outside))],
        [Entry(name="a/.wh.b"), Entry(name="a/.wh..wh..opq")],
    )
    assert stat.S_IMODE((outside / "b").stat().st_mode) == 0o700


def test_set_user_id_and_devices_of_dev_stay_behind(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path / "root",
        [
            Entry(name="su", data=b"x", mode=0o6777), Entry(name="dev/console", kind=tarfile.CHRTYPE),
            Entry(name="d", kind=DIR, mode=0o7000), Entry(name="t", data=b"x", mode=0o400, more={"mtime": 1_000_000}),
        ],
    )  # fmt: skip
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700
    assert (root / "t").stat().st_mtime == 1_000_000
    assert not (root / "dev/console").exists()


def test_what_unpacks_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_unpack, "MOST_BYTES", 1000)
    with pytest.raises(ExternalError, match="unpacks to more than"):
        unpacked(tmp_path / "root", [Entry(name="a", data=bytes(600)), Entry(name="b", data=bytes(600))])


class Roots:
    """A cache of roots over one layout, counting how often the source was opened."""

    def __init__(self, path: Path) -> None:
        self.layout = path / "layout"
        self.cache = path / "cache"
        self.opened = 0
        self.roots = DirectoryImageRoots(self.cache, self.find)

    def find(self, name: str, project: str) -> Located:
        if project == "other/project":
            raise UserError("image-source", "not yours")

        @contextlib.contextmanager
        def opened() -> Iterator[ImageSource]:
            self.opened += 1
            yield OciLayout(self.layout)

        return Located(key=name, reference=name.partition("@")[2] or name.partition(":")[2], open=opened)

    def get(self, name: str = "tiny:1", policy: tuple[str, ...] = (), project: str = "shop/orders") -> str:
        return self.roots.get(Image(name=name, pull_policy=policy), project).digest


def test_an_image_is_unpacked_once_and_pulled_as_its_policy_says(tmp_path: Path) -> None:
    made = Roots(tmp_path)
    digest = layout(
        made.layout, shell_layer(), config={"Env": ["PATH=/opt/bin:/bin", "A=b=c"], "Entrypoint": ["/init"]}
    )
    with pytest.raises(UserError, match="is not kept here"):
        made.get(policy=("never",))
    assert made.opened == 0
    found = made.roots.get(Image(name="tiny:1"), "shop/orders")
    assert (found.digest, found.shell_path, found.entrypoint) == (digest, "/bin/bash", ("/init",))
    assert found.environment == {"PATH": "/opt/bin:/bin", "A": "b=c"}
    assert [made.get(policy=("never",)), made.get(policy=("if-not-present",)), made.get(f"tiny@{digest}")] == [
        digest
    ] * 3
    assert made.opened == 1
    newer = layout(made.layout, shell_layer(), layer([Entry(name="new", data=b"x")]))
    assert made.get(policy=("if-not-present",)) == digest
    assert made.get(policy=("always",)) == newer
    assert made.opened == 2
    with pytest.raises(UserError, match="not yours"):
        made.get(policy=("never",), project="other/project")
    made.layout.rename(tmp_path / "away")
    assert made.get(policy=("always", "if-not-present")) == newer
    with pytest.raises(UserError, match="is not a pull policy"):
        made.get(policy=("sometimes",))
    kept = [one.name for one in (made.cache / "own").iterdir()]
    assert sorted(kept) == sorted([digest.replace(":", "-"), newer.replace(":", "-")])


def test_what_is_not_what_its_digest_says_leaves_nothing(tmp_path: Path) -> None:
    made = Roots(tmp_path)
    content = shell_layer()
    layout(made.layout, content)
    blob = OciLayout(made.layout).blob_path(f"sha256:{hashlib.sha256(content).hexdigest()}")
    blob.write_bytes(layer([Entry(name="bin/sh", data=b"evil")]).ljust(len(content), b"\0"))
    with pytest.raises(ExternalError, match="damaged"):
        made.get()
    assert list((made.cache / "own").iterdir()) == []


def test_images_for_other_machines_and_without_a_shell_are_refused(tmp_path: Path) -> None:
    made = Roots(tmp_path)
    layout(made.layout, layer([Entry(name="app", data=b"x")]))
    with pytest.raises(UserError, match="has no shell"):
        made.get()
    layout(made.layout, shell_layer(), architecture="s390x")
    with pytest.raises(UserError, match="is for linux/s390x"):
        made.get()


def test_roots_that_nobody_asked_for_in_a_month_go(tmp_path: Path) -> None:
    made = Roots(tmp_path)
    digest = layout(made.layout, shell_layer())
    made.get()
    os.utime(made.cache / "own" / digest.replace(":", "-") / "settings.json", (0, 0))
    newer = layout(made.layout, shell_layer(), layer([Entry(name="new", data=b"x")]))
    made.get()
    assert [one.name for one in (made.cache / "own").iterdir()] == [newer.replace(":", "-")]
