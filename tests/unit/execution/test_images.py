"""What an image says, which one fits, and which repository serves a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis.core.errors import ExternalError, UserError
from aegis.execution import images
from aegis.execution.images import LayerBlob

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


def dumped(**document: Any) -> bytes:
    return json.dumps(document).encode()


def test_an_index_names_the_image_for_this_machine() -> None:
    arm = {"digest": ONE, "platform": {"os": "linux", "architecture": "arm64"}}
    intel = {"digest": TWO, "platform": {"os": "linux", "architecture": "amd64"}}
    odd = {"digest": ONE, "platform": {"os": "unknown", "architecture": "unknown"}}
    assert images.fitting(dumped(manifests=[odd, arm, intel]), "x", "x86_64") == TWO
    assert images.fitting(dumped(manifests=[arm]), "x", "aarch64") == ONE
    assert images.fitting(dumped(config={}, layers=[]), "x", "x86_64") is None
    with pytest.raises(UserError, match="only for linux/arm64"):
        images.fitting(dumped(manifests=[arm]), "x", "x86_64")


def test_a_manifest_is_read() -> None:
    body = dumped(config={"digest": ONE}, layers=[{"digest": TWO, "size": 7, "mediaType": TAR}])
    found = images.read_manifest(body, "x")
    assert (found.config, found.layers) == (ONE, (LayerBlob(digest=TWO, size=7, media_type=TAR),))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"[" * 100_000, dumped(config=[], layers=[]), dumped(config={"digest": "x"}, layers=[]),
        dumped(config={"digest": ONE}, layers=[1]), dumped(config={"digest": ONE}, layers=[{}] * 600),
        dumped(config={"digest": ONE}, layers=[{"digest": "../x", "size": 1, "mediaType": TAR}]),
        dumped(config={"digest": ONE}, layers=[{"digest": TWO, "size": 1 << 60, "mediaType": TAR}]),
        dumped(config={"digest": ONE}, layers=[{"digest": TWO, "size": 1, "mediaType": "application/vnd.helm.chart"}]),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(body: bytes) -> None:
    with pytest.raises(ExternalError, match="not an image that can be read"):
        images.read_manifest(body, "x")


def test_settings_are_variables_and_the_entry_point() -> None:
    config = {"Env": ["PATH=/a:/b", "EMPTY=", "X=a=b"], "Entrypoint": ["/init"], "Cmd": ["ignored"], "User": "7"}
    found = images.read_settings(dumped(os="linux", architecture="amd64", config=config), "x", "x86_64")
    assert found.environment == {"PATH": "/a:/b", "EMPTY": "", "X": "a=b"}
    assert found.entrypoint == ("/init",)
    assert images.read_settings(dumped(config=None), "x", "x86_64").environment == {}
    with pytest.raises(UserError, match="is for windows/amd64"):
        images.read_settings(dumped(os="windows", architecture="amd64"), "x", "x86_64")


def test_the_entry_point_comes_before_the_shell() -> None:
    assert images.command(["/init", "-x"], None, "/bin/sh", ["script"]) == ["/init", "-x", "/bin/sh", "script"]
    assert images.command(["/init"], [""], "/bin/sh", ["script"]) == ["/bin/sh", "script"]
    assert images.command([], ["other"], "/bin/sh", []) == ["other", "/bin/sh"]


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("here:5000/shop/tools:2", ("shop/tools", "2")),
        (f"here:5000/quarantine/shop/tools:2@{ONE}", ("quarantine/shop/tools", ONE)),
        ("here:5000/mirror/hub/library/python", ("mirror/hub/library/python", "latest")),
        ("python:3.12", ("mirror/hub/library/python", "3.12")),
        ("docker.io/bitnami/redis", ("mirror/hub/bitnami/redis", "latest")),
        ("bitnami/redis:7", ("mirror/hub/bitnami/redis", "7")),
        ("ghcr.example:8443/a/b/c:1", ("mirror/other/a/b/c", "1")),
    ],
)
def test_names_are_served_by_the_own_registry_and_declared_mirrors(name: str, served: tuple[str, str]) -> None:
    mirrors = {"other": "ghcr.example:8443", "hub": "registry-1.docker.io"}
    assert images.served(name, "here:5000", mirrors) == served


@pytest.mark.parametrize("name", ["elsewhere.example/a/b", "python:3.12", "localhost:1/x"])
def test_what_nobody_declared_is_refused_with_the_mend(name: str) -> None:
    with pytest.raises(UserError, match="no declared registry") as refused:
        images.served(name, "here:5000", {"other": "ghcr.example"})
    assert "registries: {mirrors" in refused.value.hint


@pytest.mark.parametrize("name", ["", ":tag", "a@sha256:short", "host.example/", "a//b"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="not an image's name"):
        images.read_reference(name)


def test_what_counts_for_a_service() -> None:
    check = {"Test": ["CMD-SHELL", "pg_isready"], "Interval": 2_000_000_000}
    config = {
        "Cmd": ["postgres"], "User": "70", "WorkingDir": "/data", "Healthcheck": check,
        "ExposedPorts": {"9000/tcp": {}, "53/udp": {}, "5432": {}, "x/tcp": {}},
    }  # fmt: skip
    found = images.settings_of(config)
    assert (found.command, found.user, found.directory, found.ports) == (("postgres",), "70", "/data", (5432, 9000))
    assert found.health is not None
    assert (found.health.argv, found.health.interval, found.health.timeout) == (
        ("/bin/sh", "-c", "pg_isready"), 2.0, 30.0
    )  # fmt: skip
    assert images.settings_of({"Healthcheck": {"Test": ["NONE"]}}).health is None
