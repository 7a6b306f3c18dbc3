"""What every `ServiceHost` does: against an engine that tests bring, and against podman where programs can be had."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.services_containers import ContainerServices, find_engine
from aegis.core.errors import ExternalError
from aegis.projects.ports import ServiceWish
from support import fake_engine
from support.engines import podman
from support.images import layout, perl_layer, shell_layer

_DB = "localhost/db:1"
_LISTENS = (
    "use Socket; die qq(it says why\\n) if $ENV{BROKEN}; my $s; socket($s, PF_INET, SOCK_STREAM, 0); "
    "bind($s, sockaddr_in(5432, INADDR_ANY)); listen($s, 5); while (accept(my $c, $s)) { close $c; }"
)


class ServiceHostContract:
    """The port's docstring, as tests."""

    def wish(self, alias: str = "db", image: str = _DB, **variables: str) -> ServiceWish:
        return ServiceWish(alias=alias, image=image, variables=variables)

    def test_a_service_is_reached_on_loopback_found_by_its_key_and_removed(self, host: ContainerServices) -> None:
        made = host.start("one", self.wish(), "mark")
        assert (made.alias, made.specification, made.running, made.host) == ("db", "mark", True, "127.0.0.1")
        assert list(made.ports) == [5432]
        with socket.create_connection((made.host, made.ports[5432]), timeout=10):
            pass
        assert host.services("one") == (made,)
        assert host.services("other") == ()
        for _ in range(2):
            host.remove(made, image=False)
            assert host.services("one") == ()
        with pytest.raises(OSError, match=r".+"):
            socket.create_connection((made.host, made.ports[5432]), timeout=1)

    def test_one_of_the_same_alias_is_replaced(self, host: ContainerServices) -> None:
        first = host.start("one", self.wish(), "1")
        second = host.start("one", self.wish(), "2")
        assert [one.specification for one in host.services("one")] == ["2"]
        assert first.id != second.id
        host.remove(second, image=False)

    def test_one_that_ends_says_why_and_an_image_that_is_not_to_be_had_too(self, host: ContainerServices) -> None:
        with pytest.raises(ExternalError, match="it says why") as caught:
            host.start("one", self.wish(BROKEN="yes"), "1")
        assert caught.value.code == "service-failed"
        for left in host.services("one"):
            assert not left.running
            host.remove(left, image=False)
        with pytest.raises(ExternalError) as caught:
            host.start("one", self.wish(image="localhost/never:1"), "1")
        assert caught.value.code == "image-pull"
        assert host.services("one") == ()


class TestEngineOfTests(ServiceHostContract):
    """An engine of a few lines."""

    @pytest.fixture
    def host(self, tmp_path: Path) -> ContainerServices:
        fake_engine.install(tmp_path / "bin", {_DB: [5432]})
        return find_engine(("docker",), str(tmp_path / "bin"), dict(os.environ))


@pytest.mark.real
class TestPodman(ServiceHostContract):
    """The real one."""

    @pytest.fixture(scope="class")
    @classmethod
    def host(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerServices]:
        folder = tmp_path_factory.mktemp("engine")
        config = {"Cmd": ["/usr/bin/perl", "-e", _LISTENS], "ExposedPorts": {"5432/tcp": {}}}
        layout(folder / "db", shell_layer(), perl_layer(), config=config)
        with podman(folder / "podman") as environment:
            command = ["podman", "pull", "--quiet", f"oci:{folder / 'db'}:1"]
            pulled = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
            subprocess.run(["podman", "tag", pulled.stdout.strip(), _DB], env=dict(environment), check=True)
            yield find_engine(("podman",), environment["PATH"], environment)
            subprocess.run(["podman", "rm", "--all", "--force"], env=dict(environment), check=True)
