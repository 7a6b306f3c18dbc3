"""Services beside a job, in namespaces: found by their names, waited for, ended with the job, and no way past its network."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available
from aegis.adapters.image_roots import DirectoryImageRoots, Located
from aegis.adapters.layout_directory import OciLayout
from aegis.core.plan import Image
from aegis.execution.network import Network, NetworkPolicy
from aegis.execution.ports import ImageRoot, ServiceRequest
from aegis.execution.script import render
from aegis.execution.supervise.places import remove
from contract.test_executor import Bench, Collected, alive, run
from support.images import Entry, layer, layout, shell_layer

pytestmark = pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
NONE = Network(policy=NetworkPolicy.NONE)
_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

SERVER = """
import os, socket, sys
word, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind((os.environ.get("AEGIS_SERVICE_ADDRESS", "") if address == "own" else address, port))
one.listen()
print("listening", word, os.getuid(), flush=True)
open("/tmp/mark", "w").close()
while True:
    peer, _ = one.accept()
    with open("/etc/hosts") as hosts:
        names = "other" in hosts.read()
    peer.sendall(f"{word} {os.environ.get('GIVEN', '')} {os.getpid()} {names}\\n".encode())
    peer.close()
"""


@functools.cache
def python_layer() -> bytes:
    """The interpreter of the tests, with the few modules that a server needs."""
    program = os.path.realpath(sys.executable)
    told = subprocess.run(
        [program, "-I", "-S", "-c", "import socket, sys; print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    libraries = {
        path
        for one in (program, *[one for one in told if one.endswith(".so")])
        for path in re.findall(
            r"(/\S+) \(0x", subprocess.run(["ldd", one], capture_output=True, text=True, check=False).stdout
        )
    }
    files = {program, *told, *libraries}
    entries = [Entry(name=one.lstrip("/"), data=Path(one).resolve().read_bytes()) for one in sorted(files)]
    return layer([*entries, Entry(name="server.py", data=SERVER.encode())])


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[int, int] | None], ImageRoot]:
    """The image as the root of services of an owner; unpacked once for each."""
    folder = tmp_path_factory.mktemp("image")
    layout(folder / "layout", shell_layer(), python_layer())
    located = Located(key="tiny", reference="1", open=lambda: contextlib.nullcontext(OciLayout(folder / "layout")))

    @functools.cache
    def root(owner: tuple[int, int] | None) -> ImageRoot:
        roots = DirectoryImageRoots(folder / f"roots-{owner}", lambda *_: located, owner=owner)
        return roots.get(Image(name="tiny"), "shop/orders", service=True)

    return root


class Served(Bench):
    def service(self, word: str, *aliases: str, address: str = "", port: int = 80, **more: Any) -> ServiceRequest:
        assert self.image is not None
        return ServiceRequest(
            name=f"{word}:1", aliases=aliases, image=self.image, port=port,
            command=(os.path.realpath(sys.executable), "-I", "-S", "/server.py", word, address, str(port)), **more,
        )  # fmt: skip


@pytest.fixture(params=["root", "user"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, unpacked: Callable[[tuple[int, int] | None], ImageRoot]
) -> Iterator[Served]:
    made = Served(NamespaceExecutor(grace=0.2, mode="user" if request.param == "user" else ""), tmp_path / "jobs")
    made.image = unpacked(made.executor.owner)
    yield made
    remove(made.root)


def ask(name: str, port: int = 80) -> str:
    return f"exec 3<>/dev/tcp/{name}/{port}; cat <&3"


def job(bench: Served) -> ImageRoot | None:
    """The job itself runs with the machine's programs."""
    image, bench.image = bench.image, None
    return image


def test_services_are_found_by_their_names_and_end_with_the_job(bench: Served) -> None:
    services = (
        bench.service("web", "web", "web-1", address="own", variables={"GIVEN": "a-value"}),
        bench.service("other", "other", address="own"),
    )
    job(bench)
    mark = "/server.py\0web"

    async def work() -> None:
        log = Collected()
        sandbox, _ = await bench.sandbox(services=services, network=NONE, log=log)
        sink = Collected()
        ended = await sandbox.run(
            render([ask("web"), ask("web-1"), ask("other"), "ls /proc | grep -c '^[0-9]'"]), _PATH, sink
        )
        assert ended.code == 0, sink.text
        assert sink.text.count("web a-value 2 True\n") == 2
        assert "other  2 True\n" in sink.text
        assert log.text == ""
        # A later step finds them again: nothing was started anew.
        assert (await sandbox.run(render([ask("web")]), _PATH, Collected())).code == 0
        assert len(alive(mark)) == 1
        await sandbox.cleanup()
        assert alive(mark) == []
        await sandbox.cleanup()

    run(work, bench.executor)


def test_a_service_that_does_not_become_ready_is_said_with_its_words_and_the_job_goes_on(bench: Served) -> None:
    late = bench.service("late", "late", address="own", port=8080, wait_seconds=0.3)
    services = (
        # It listens, but elsewhere.
        ServiceRequest(
            name="late:1", aliases=("late",), image=late.image, port=1, command=late.command, wait_seconds=4
        ),
        bench.service("broken", "broken", address="no-such-address"),
    )
    job(bench)

    async def work() -> None:
        log, sink = Collected(), Collected()
        sandbox, _ = await bench.sandbox(services=services, network=NONE, log=log)
        assert (await sandbox.run(render(["echo goes on"]), _PATH, sink)).code == 0
        await sandbox.cleanup()
        assert "WARNING: the service late:1 did not accept on port 1 within 4 s" in log.text
        assert "listening late" in log.text
        assert "WARNING: the service broken:1 has ended before it was ready; lately it said:" in log.text
        assert "gaierror" in log.text

    run(work, bench.executor)


def test_what_services_say_is_shown_where_the_job_wants_it(bench: Served) -> None:
    services = (bench.service("web", "web", address="own"),)
    job(bench)

    async def work() -> None:
        log = Collected()
        sandbox, _ = await bench.sandbox(services=services, network=NONE, log=log, show_services=True)
        await log.until(b"listening web 1000\n")
        await sandbox.cleanup()
        assert "[web] listening web 1000\n" in log.text

    run(work, bench.executor)


def test_with_every_network_allowed_the_way_out_is_the_relay(bench: Served) -> None:
    services = (bench.service("web", "web", address="own"),)
    job(bench)

    async def work() -> None:
        sandbox, _ = await bench.sandbox(services=services, log=Collected())
        sink = Collected()
        await sandbox.run(render([ask("web"), "echo $https_proxy $NO_PROXY"]), _PATH, sink)
        await sandbox.cleanup()
        assert "http://127.0.0.1:61357 localhost,127.0.0.1,::1,web\n" in sink.text

    run(work, bench.executor)


def test_a_service_without_a_command_is_refused_and_nothing_is_left(bench: Served) -> None:
    services = (
        bench.service("web", "web", address="own"),
        ServiceRequest(name="none:1", aliases=(), image=bench.service("x").image),
    )
    job(bench)

    async def work() -> None:
        with pytest.raises(Exception, match="has no command"):
            await bench.sandbox(services=services, network=NONE, log=Collected())
        assert alive("/server.py\0web") == []

    run(work, bench.executor)
