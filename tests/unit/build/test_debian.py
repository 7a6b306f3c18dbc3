"""Bases of Debian packages: solved, locked, unpacked without root, the same bytes each time, read by scanners."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image_base import BaseReport, From, build_base, lock_base
from aegis.bootstrap.image_reading import inspect_image, sbom_of
from aegis.build.debian.lock import read_lock
from aegis.build.debian.package import read_package
from aegis.build.debian.solve import Offered, solve
from aegis.build.debian.versions import Relation, compare, relations
from aegis.core.errors import ExternalError, UserError
from support.debian_repository import Repository, deb


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(root=tmp_path / "mirror")
    made.add(
        "base-files", "12", files={"usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n', "usr/share/man/x": "dropped"}
    )
    link = tarfile.TarInfo("./usr/bin/python3")
    link.type, link.linkname = tarfile.SYMTYPE, "python3.11"
    made.add("python3", "3.11.2-1", depends="python3.11-minimal (>= 3.11), debconf", members=[(link, b"")])
    program = tarfile.TarInfo("./bin/python3.11")
    program.mode = 0o4755
    made.add(
        "python3.11-minimal",
        "3.11.2-6+deb12u5",
        depends="libc6 (>= 2.36) | other, c-provider",
        members=[(program, b"#!python")],
    )
    made.add("libc6", "2.35-1")
    made.add("libc6", "2.36-9", files={"lib/x86_64-linux-gnu/libc.so.6": "c", "usr/share/doc/libc6/copyright": "GPL"})
    made.add("provides-it", "2:1.0", provides="c-provider", kind="gz")
    made.add("ca-certificates", "2023", files={f"usr/share/ca-certificates/mozilla/{n}.crt": f"PEM {n}" for n in "ba"})
    made.add("unwanted", "1")
    return made.write()


@pytest.fixture
def mirror(repository: Repository) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(repository.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


WANTED = ("base-files", "python3", "ca-certificates")


def source(mirror: str, **more: object) -> From:
    return From(mirror=mirror, suites=("stable",), trusted=True, **more)  # type: ignore[arg-type]


def made(mirror: str, tmp_path: Path, name: str = "base") -> BaseReport:
    lock = tmp_path / "base.lock"
    if not lock.exists():
        lock_base(WANTED, source=source(mirror), with_=(), without=(), architecture="amd64", file=lock)
    return build_base(lock, source=source(mirror), output=tmp_path / name)


def unpacked(layout: Path) -> dict[str, tarfile.TarInfo]:
    found = {}
    for layer in json.loads(OciLayout(layout).manifest("").body)["layers"]:
        with tarfile.open(OciLayout(layout).blob_path(layer["digest"])) as archive:
            found.update({one.name: one for one in archive.getmembers()})
            archive.extractall(layout.parent / "root", filter="tar")
    return found


def test_a_base_is_solved_locked_and_the_same_bytes_each_time(mirror: str, tmp_path: Path, cache: Path) -> None:
    first = made(mirror, tmp_path)
    lock = read_lock("base.lock", (tmp_path / "base.lock").read_bytes())
    names = {one.name: one.version for one in lock.packages}
    assert names["libc6"] == "2.36-9"
    assert set(names) == {"base-files", "python3", "python3.11-minimal", "libc6", "provides-it", "ca-certificates"}
    assert mirror not in (tmp_path / "base.lock").read_text()
    shutil.rmtree(cache)
    assert made(mirror, tmp_path, "again").digest == first.digest
    assert (first.packages, first.python) == (6, "3.11.2")


def test_what_a_service_needs_is_there_and_nothing_runs_as_somebody_else(mirror: str, tmp_path: Path) -> None:
    made(mirror, tmp_path)
    found = unpacked(tmp_path / "base")
    assert found["usr/lib/x86_64-linux-gnu/libc.so.6"].isfile()
    assert (found["bin"].issym(), found["bin"].linkname) == (True, "usr/bin")
    assert found["usr/bin/python3.11"].mode == 0o755
    assert found["usr/bin/python"].linkname == "python3"
    assert found["tmp"].mode == 0o1777
    assert "usr/share/man/x" not in found
    assert "usr/share/doc/libc6/copyright" in found
    root = tmp_path / "root"
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text() == "PEM a\nPEM b\n"
    assert "nonroot:x:65532" in (root / "etc/passwd").read_text()
    assert (root / "var/lib/dpkg/status.d/libc6").read_text().startswith("Package: libc6\n")
    assert inspect_image(str(tmp_path / "base")).created == "2023-11-14T22:13:20Z"


def test_scanners_see_every_package_of_the_base(mirror: str, tmp_path: Path) -> None:
    made(mirror, tmp_path)
    document = json.loads(sbom_of(str(tmp_path / "base")))
    purls = {one["purl"] for one in document["components"]}
    assert "pkg:deb/debian/provides-it@2:1.0?arch=all&distro=debian-12" in purls
    assert len(purls) == 6


def test_a_mirror_that_lost_or_changed_a_package_is_told(mirror: str, repository: Repository, tmp_path: Path) -> None:
    lock = tmp_path / "base.lock"
    lock_base(WANTED, source=source(mirror), with_=(), without=(), architecture="amd64", file=lock)
    place = repository.root / "pool" / "libc6_2.36-9_all.deb"
    data = place.read_bytes()
    place.write_bytes(deb("libc6", "2.36-9", files={"evil": "x"}))
    with pytest.raises(ExternalError) as caught:
        build_base(lock, source=source(mirror), output=tmp_path / "base")
    assert caught.value.code == "deb-digest"
    place.unlink()
    with pytest.raises(ExternalError, match="answered 404") as caught:
        build_base(lock, source=source(mirror), output=tmp_path / "base")
    assert caught.value.code == "base-mirror"
    assert not (tmp_path / "base").exists()
    place.write_bytes(data)
    build_base(lock, source=source(mirror), output=tmp_path / "base")


def test_lists_that_are_not_what_the_release_says_are_refused(
    mirror: str, repository: Repository, tmp_path: Path
) -> None:
    file = repository.root / "dists/stable/main/binary-amd64/Packages.xz"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ExternalError, match="not what its release file says"):
        lock_base(WANTED, source=source(mirror), with_=(), without=(), architecture="amd64", file=tmp_path / "lock")


def test_without_a_signature_nothing_is_believed_unless_it_is_said(
    mirror: str, repository: Repository, tmp_path: Path
) -> None:
    (repository.root / "dists/stable/InRelease").write_bytes((repository.root / "dists/stable/Release").read_bytes())
    asked = {"with_": (), "without": (), "architecture": "amd64", "file": tmp_path / "lock"}
    with pytest.raises(ExternalError) as caught:
        lock_base(WANTED, source=From(mirror=mirror, suites=("stable",)), **asked)  # type: ignore[arg-type]
    assert caught.value.code == "base-unsigned"
    keyring = tmp_path / "keys.gpg"
    keyring.write_bytes(b"")
    if shutil.which("gpgv"):
        with pytest.raises(ExternalError) as caught:
            lock_base(WANTED, source=From(mirror=mirror, suites=("stable",), keyring=keyring), **asked)  # type: ignore[arg-type]
        assert caught.value.code == "base-signature"


def test_a_signed_archive_is_believed_with_its_key(mirror: str, repository: Repository, tmp_path: Path) -> None:
    gpg = shutil.which("gpg")
    if gpg is None or shutil.which("gpgv") is None:
        pytest.fail("gpg and gpgv are needed: apt-get install gnupg gpgv")
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)

    def run(*argv: str) -> bytes:
        quiet = ["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        return subprocess.run([gpg, "--homedir", str(home), *quiet, *argv], capture_output=True, check=True).stdout

    suite = repository.root / "dists" / "stable"
    try:
        run("--quick-generate-key", "test@example.org", "ed25519", "sign")
        run("--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))
        (tmp_path / "keys.gpg").write_bytes(run("--export"))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], capture_output=True, check=False)
    where = From(mirror=mirror, suites=("stable",), keyring=tmp_path / "keys.gpg")
    report = lock_base(WANTED, source=where, with_=(), without=(), architecture="amd64", file=tmp_path / "lock")
    assert report.packages == 6


def one(name: str, version: str = "1", **more: str) -> Offered:
    return Offered(name=name, version=version, architecture="all", path=f"{name}.deb", sha256="0" * 64, size=1, **more)


def test_what_cannot_be_satisfied_is_named_with_who_needs_it() -> None:
    with pytest.raises(UserError, match=r"a needs b >= 2, which"):
        solve(["a"], [one("a", depends="b (>= 2)"), one("b", "1")], without=frozenset())
    with pytest.raises(UserError, match="the base needs nothing-like-it"):
        solve(["nothing-like-it"], [], without=frozenset())
    assert [x.name for x in solve(["a"], [one("a", depends="b")], without=frozenset({"b"}))] == ["a"]


def test_versions_compare_as_dpkg_does() -> None:
    rising = ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-10", "1.0a-1", "1.0+dfsg-1", "1.1-1", "1:0.1-1"]
    for first, second in itertools.pairwise(rising):
        assert compare(first, second) < 0, (first, second)
        assert compare(second, first) > 0
    assert compare("0:1.0-1", "1.0-1") == 0
    assert relations("a (>= 1) | b:any, c [amd64]") == ((Relation("a", ">=", "1"), Relation("b")), (Relation("c"),))


def test_a_malicious_package_is_refused() -> None:
    def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
        about = tarfile.TarInfo(name)
        about.type, about.linkname = kind, link
        return about, b""

    for bad in (
        member("../../etc/evil"), member("/../evil"), member("./dev/sda", tarfile.BLKTYPE),
        member("./x", tarfile.LNKTYPE, "./not-there"),
    ):  # fmt: skip
        with pytest.raises(ExternalError) as caught:
            read_package("evil.deb", deb("evil", members=[bad]))
        assert caught.value.code == "deb-malformed"
    for data in (b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, deb("cut")[:-40]):
        with pytest.raises(ExternalError):
            read_package("broken.deb", data)


@pytest.mark.parametrize("text", ["", "version = 2\n", "version = 1\narchitecture = 'amd64'\n", "[["])
def test_what_is_no_lock_is_told(text: str) -> None:
    with pytest.raises(UserError) as caught:
        read_lock("x.lock", text.encode())
    assert caught.value.code == "base-lock"
