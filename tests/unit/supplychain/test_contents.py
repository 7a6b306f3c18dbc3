"""What lies in layers: Python's and Debian's packages, as an overlay shows them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

import pytest

from aegis.core.errors import ExternalError
from aegis.supplychain.contents import LayerContents, copyright_licences, packages, read_layer

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
Description: the library
 more of it

Package: gone
Status: deinstall ok config-files
Version: 1

Package: epoch
Architecture: all
Version: 1:2~rc1-3
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-2+
 the text

License: Expat
 another text
"""


def layer(files: Mapping[str, str], media_type: str = GZIP) -> LayerContents:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for path, text in files.items():
            about = tarfile.TarInfo(path)
            about.size = len(text.encode())
            archive.addfile(about, io.BytesIO(text.encode()))
    return read_layer(iter([gzip.compress(held.getvalue())]), media_type)


def metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"


def test_python_and_debian_packages_are_found_with_their_licences() -> None:
    found = packages(
        [
            layer(
                {
                    "./var/lib/dpkg/status.d/base": STATUS,
                    "./var/lib/dpkg/status.d/base.md5sums": "0 usr/bin/x\n",
                    "usr/share/doc/libc6/copyright": COPYRIGHT,
                    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
                }
            ),
            layer(
                {"app/lib/tiny-1.0.dist-info/METADATA": metadata("Tiny", "1.0"), "x/old.egg-info": metadata("old", "2")}
            ),
        ]
    )
    assert [one.reference for one in found] == [
        "pkg:deb/debian/epoch@1:2~rc1-3?arch=all&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12",
        "pkg:pypi/old@2",
        "pkg:pypi/tiny@1.0",
    ]
    assert found[1].licences == ("Expat", "GPL-2+")
    assert found[3].licences == ("MIT",)


def test_what_a_later_layer_removed_or_replaced_is_not_counted() -> None:
    below = layer({f"app/lib/{name}-1.0.dist-info/METADATA": metadata(name, "1.0") for name in ("a", "b", "c")})
    above = layer(
        {
            "app/lib/.wh.a-1.0.dist-info": "",
            "app/lib/b-1.0.dist-info/METADATA": metadata("b", "1.1"),
        }
    )
    assert [f"{one.name} {one.version}" for one in packages([below, above])] == ["b 1.1", "c 1.0"]
    assert packages([below, layer({"app/.wh..wh..opq": ""})]) == ()


def test_a_copyright_file_that_is_not_machine_readable_says_nothing() -> None:
    assert copyright_licences(b"This is under the GPL, see /usr/share/common-licenses.\n") == ()


def test_a_broken_layer_is_an_error_and_no_empty_list() -> None:
    with pytest.raises(ExternalError):
        read_layer(iter([b"\x1f\x8b broken"]), GZIP)
    with pytest.raises(ExternalError):
        read_layer(iter([gzip.compress(b"no tar at all" * 100)]), GZIP)
