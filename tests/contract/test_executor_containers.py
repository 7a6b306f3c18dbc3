"""The executors' contract with the real docker and the real podman; and what only containers do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis.bootstrap import engines
from aegis.bootstrap.job_images import local_images
from aegis.core.errors import AegisError, ExternalError, UserError
from aegis.core.plan import Image
from aegis.execution.containers import LABEL, ContainerPolicy
from aegis.execution.network import Network, NetworkPolicy
from aegis.execution.ports import ImageRoot, ServiceRequest
from aegis.execution.script import render
from aegis.execution.supervise.places import remove
from contract.test_executor import _PATH, Bench, Collected, ExecutorContract, _until, alive, run
from support.engines import dockerd, podman
from support.images import Entry, layer, layout, perl_layer, shell_layer

pytestmark = pytest.mark.real

_LISTENS = """use Socket; my $s;
socket($s, PF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
sleep($ENV{LATE}) if $ENV{LATE};
bind($s, sockaddr_in(8000, INADDR_ANY)); listen($s, 5); $| = 1; print "listening\\n";
while (accept(my $c, $s)) { print "asked\\n"; print $c "hello from $ENV{WHO} as ", $<, "\\n"; close $c; }
"""


class ContainerContract(ExecutorContract):
    """What both engines do."""

    environ: Mapping[str, str]

    def make(self, policy: ContainerPolicy | None = None) -> Any:
        return engines.executor(self.isolation, self.environ, policy or ContainerPolicy())

    isolation = ""

    def root(self, bench: Bench, *, service: bool = False, name: str = "tiny", **image: Any) -> ImageRoot:
        images = local_images(self.folder, bench.executor, self.environ)
        return images.get(Image(name=f"./{name}", **image), "shop/orders", service=service)

    folder: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def engine(cls) -> Iterator[None]:
        kind = cls.isolation
        folder = Path(tempfile.mkdtemp(prefix=f"aegis-{kind}-"))
        layout(folder / "tiny", shell_layer(), config={"Env": ["FROM_IMAGE=yes"]})
        start = Entry(name="usr/bin/start", data=b'#!/bin/sh\necho started with $1\nexec "$@"\n')
        layout(folder / "entry", shell_layer(), layer([start]), config={"Entrypoint": ["start"]})
        answers = Entry(name="serve.pl", data=_LISTENS.encode())
        layout(
            folder / "server", shell_layer(), perl_layer(), layer([answers]),
            config={"Cmd": ["/usr/bin/perl", "/serve.pl"], "ExposedPorts": {"8000/tcp": {}}, "Env": ["WHO=nobody"]},
        )  # fmt: skip
        cls.folder = folder
        with (dockerd if kind == "docker" else podman)(folder / "engine") as environ:
            cls.environ = environ
            yield
        shutil.rmtree(folder, ignore_errors=True)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        made = Bench(self.make(), tmp_path / "jobs")
        made.image = self.root(made)
        yield made
        asyncio.run(made.executor.close())
        remove(made.root)

    def left(self) -> tuple[list[Any], list[Any]]:
        """The containers and networks of this engine that bear a runner's label."""
        made = self.make()

        async def look() -> tuple[list[Any], list[Any]]:
            made.ready()
            filters = {"filters": json.dumps({"label": [LABEL]})}
            found = await made.engine.need("GET", "/containers/json", {"all": 1, **filters})
            networks = await made.engine.need("GET", "/networks", filters)
            await made.close()
            return found, networks

        return asyncio.run(look())

    def test_nothing_outlives_a_killed_runner(self, tmp_path: Path) -> None:
        mark = f"7{os.getpid()}"
        program = (
            "import asyncio, sys; from pathlib import Path; sys.path[:0] = sys.argv[3:]\n"
            "from aegis.bootstrap import engines\nfrom contract.test_executor_containers import *\n"
            "case = (TestDocker if sys.argv[1] == 'docker' else TestPodman)()\n"
            "case.environ, case.folder = dict(os.environ), Path(os.environ['FOLDER'])\n"
            "bench = Bench(case.make(), Path(sys.argv[2]))\n"
            "bench.image = case.root(bench)\n"
            f"asyncio.run(bench.step('echo up > up; sleep {mark} & setsid sleep {mark} & wait'))\n"
        )
        tests = Path(__file__).parents[1]
        runner = subprocess.Popen(
            [sys.executable, "-c", program, self.isolation, str(tmp_path / "jobs"), str(tests)],
            env={**self.environ, "FOLDER": str(self.folder)},
        )
        try:
            _until(lambda: len(alive(f"sleep\0{mark}")) == 2)
            runner.kill()
            runner.wait()
            _until(lambda: alive(f"sleep\0{mark}") == [])
            _until(lambda: self.left() == ([], []))
        finally:
            runner.kill()
            runner.wait()
            remove(tmp_path / "jobs")

    def test_a_job_has_no_privilege_and_a_name_of_its_own(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step(
                "id -un; hostname; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; cat /etc/os-release",
                "test ! -e /usr/bin/python3; test $FROM_IMAGE = yes", environment={"FROM_IMAGE": "yes"},
            )  # fmt: skip
            assert ended.code == 0, text
            assert "job\njob\n" in text
            for one in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "ID=tiny"):
                assert one in text, text

        run(work, bench.executor)

    def test_a_job_cannot_become_more_than_it_is(self, bench: Bench) -> None:
        async def work() -> None:
            for command in (
                "mount -o remount,rw /proc", "mount -t tmpfs none /mnt", "chroot / true", "mknod /tmp/d b 254 0",
                "echo x >> /etc/passwd", "rm -rf /builds", "cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern",
            ):  # fmt: skip
                ended, text = await bench.step(command)
                assert ended.code != 0, f"{command}: {text}"

        run(work, bench.executor)

    def test_what_a_job_changes_lasts_as_long_as_it_and_no_other_sees_it(self, bench: Bench) -> None:
        async def work() -> None:
            first, _ = await bench.sandbox()
            second, _ = await bench.sandbox()
            sink = Collected()
            assert (await first.run(render(["echo x > /var/tmp/x || mkdir -p /tmp/x"]), _PATH, sink)).code == 0, (
                sink.text
            )
            assert (await first.run(render(["test -e /tmp/x -o -e /var/tmp/x"]), _PATH, sink)).code == 0, sink.text
            assert (await second.run(render(["test ! -e /tmp/x -a ! -e /var/tmp/x"]), _PATH, sink)).code == 0, sink.text
            await first.cleanup()
            await second.cleanup()

        run(work, bench.executor)
        assert self.left() == ([], [])

    def test_the_environment_of_a_later_step_is_its_own(self, bench: Bench) -> None:
        async def work() -> None:
            sandbox, _ = await bench.sandbox()
            await sandbox.run(render(["true"]), {**_PATH, "ONE": "1", "TWO": "2"}, Collected())
            sink = Collected()
            ended = await sandbox.run(render(["env"]), {**_PATH, "TWO": "a 'b'\nc"}, sink)
            assert ended.code == 0
            assert "TWO=a 'b'\nc\n" in sink.text
            assert "ONE=" not in sink.text
            await sandbox.cleanup()

        run(work, bench.executor)

    def test_the_entry_point_starts_the_shell_unless_the_job_takes_it_away(self, bench: Bench) -> None:
        async def work() -> None:
            image = await asyncio.to_thread(self.root, bench, name="entry")
            ended, text = await bench.step("echo ran", image=image)
            assert (ended.code, "started with /bin/sh\n" in text, "\nran\n" in text) == (0, True, True), text
            ended, text = await bench.step("echo ran", image=image, entrypoint=("",))
            assert (ended.code, "started" in text, "\nran\n" in text) == (0, False, True), text
            ended, text = await bench.step("echo ran", image=image, entrypoint=("/no/such",))
            assert (ended.code, "cannot start /no/such" in text) == (127, True), text

        run(work, bench.executor)

    def test_read_only_and_writable_directories_are_shown(self, bench: Bench, tmp_path: Path) -> None:
        tools, cache = tmp_path / "tools", tmp_path / "cache"
        for path in (tools, cache):
            path.mkdir()
        (tools / "file").write_text("tool\n")
        if bench.executor.owner is not None:
            os.chown(cache, *bench.executor.owner)

        async def work() -> None:
            ended, text = await bench.step(
                f"cat {tools}/file", "echo kept > /cache/file", f"if touch {tools}/x; then exit 9; fi",
                read_only=(tools,), writable={"/cache": cache},
            )  # fmt: skip
            assert ended.code == 0, text
            assert "tool\n" in text
            assert (cache / "file").read_text() == "kept\n"

        run(work, bench.executor)

    def test_who_a_job_is_by_its_own_wish(self, tmp_path: Path) -> None:
        for policy, user, expected in (
            (ContainerPolicy(), "app", "app 33"), (ContainerPolicy(), "4711:12", "4711"),
            (ContainerPolicy(root=True), "root", "root 0"), (ContainerPolicy(), "0", None),
        ):  # fmt: skip
            bench = Bench(self.make(policy), tmp_path / f"jobs-{user}-{policy.root}")
            bench.image = self.root(bench)

            async def work(bench: Bench = bench, user: str = user, expected: str | None = expected) -> None:
                if expected is None:
                    with pytest.raises(ExternalError, match="does not allow it"):
                        await bench.sandbox(user=user)
                    return
                ended, text = await bench.step(
                    "echo $(id -un) $(id -u) > me; cat me; touch /home/job/x /tmp/y", user=user
                )
                assert ended.code == 0, text
                assert expected in text

            run(work, bench.executor)
            remove(bench.root)

    def test_memory_and_processes_are_bounded_for_the_whole_job(self, bench: Bench) -> None:
        from aegis.execution.ports import JobLimits

        async def work() -> None:
            ended, text = await bench.step(
                "i=0; while [ $i -lt 60 ]; do sleep 2 & i=$((i+1)); done; echo all of them",
                limits=JobLimits(processes=30),
            )
            assert "all of them\n" not in text.replace("echo all of them", ""), text
            assert ended.code != 0

        run(work, bench.executor)

    # -- services -------------------------------------------------------------------------------------------------

    def service(self, bench: Bench, **more: Any) -> ServiceRequest:
        image = self.root(bench, service=True, name="server")
        values = {
            "name": "shop/server:1",
            "aliases": ("shop__server", "shop-server", "db"),
            "image": image,
            "port": 8000,
        }
        return ServiceRequest(**{**values, **more})  # type: ignore[arg-type]

    def test_a_service_answers_under_each_of_its_names_and_goes_with_the_job(self, bench: Bench) -> None:
        service = self.service(bench, variables={"WHO": "the server", "LATE": "1"})
        ask = "exec 3<>/dev/tcp/{}/8000; cat <&3"
        log = Collected()

        async def work() -> None:
            ended, text = await bench.step(
                *(ask.format(name) for name in service.aliases), services=(service,), log=log, show_services=True
            )
            assert ended.code == 0, text + log.text
            assert text.count("hello from the server as 0\n") == 3

        run(work, bench.executor)
        assert "Starting the service shop/server:1 (shop__server, shop-server, db)" in log.text
        assert "[service:shop__server] listening\n" in log.text
        assert "WARNING" not in log.text
        assert self.left() == ([], [])

    def test_a_service_that_does_not_come_is_told_and_the_job_goes_on(self, bench: Bench) -> None:
        dead = self.service(
            bench, aliases=("dead",), entrypoint=("/bin/sh", "-c"), command=("echo no configuration; exit 3",)
        )
        mute = self.service(bench, aliases=("mute",), command=("/bin/sleep", "60"), wait_seconds=0.5, user="app")
        log = Collected()

        async def work() -> None:
            ended, text = await bench.step("echo goes on", services=(dead, mute), log=log)
            assert ended.code == 0, text

        run(work, bench.executor)
        assert "did not start properly (port 8000): it ended with exit code 3." in log.text
        assert "no configuration" in log.text
        assert "it was not ready within 0.5 s." in log.text
        assert self.left() == ([], [])

    def test_services_of_two_jobs_are_apart(self, bench: Bench) -> None:
        one = self.service(bench, aliases=("db",), variables={"WHO": "the first"})
        two = self.service(bench, aliases=("db",), variables={"WHO": "the second"})

        async def work() -> None:
            ask = "exec 3<>/dev/tcp/db/8000; cat <&3"
            both = await asyncio.gather(*(bench.step(ask, services=(service,)) for service in (one, two)))
            assert ["hello from the first" in both[0][1], "hello from the second" in both[1][1]] == [True, True]

        run(work, bench.executor)

    # -- network --------------------------------------------------------------------------------------------------

    def test_a_job_without_a_network_reaches_its_services_alone(self, bench: Bench) -> None:
        service = self.service(bench, aliases=("db",), variables={"WHO": "the server"})
        with socket.create_server(("0.0.0.0", 0)) as outside:  # noqa: S104 - to be reached in vain
            port = outside.getsockname()[1]
            gateways = (
                "for i in $(cat /proc/net/route | while read a b c d; do echo $c; done); do echo gateway $i; done"
            )

            async def work() -> None:
                ended, text = await bench.step(
                    f"! (exec 3<>/dev/tcp/127.0.0.1/{port})", network=Network(policy=NetworkPolicy.NONE)
                )
                assert ended.code == 0, text
                ended, text = await bench.step(
                    gateways, "exec 3<>/dev/tcp/db/8000; cat <&3", "own=$(while read a b; do case $b in *job*) echo $a;; esac; done </etc/hosts)",
                    "echo own $own", f"for n in 1 254; do ! (exec 3<>/dev/tcp/${{own%.*}}.$n/{port}) || exit 9; done",
                    services=(service,), network=Network(policy=NetworkPolicy.NONE),
                )  # fmt: skip
                assert ended.code == 0, text
                assert "hello from the server" in text

            run(work, bench.executor)

    def test_a_job_with_registries_has_one_way_out(self, bench: Bench) -> None:
        with socket.create_server(("127.0.0.1", 0)) as near, socket.create_server(("127.0.0.1", 0)) as other:

            def answer() -> None:
                asked, _ = near.accept()
                with asked:
                    asked.sendall(b"the registry\n")

            answering = threading.Thread(target=answer, daemon=True)
            answering.start()
            where, no = (f"127.0.0.1:{one.getsockname()[1]}" for one in (near, other))

            async def work() -> None:
                network = Network(policy=NetworkPolicy.REGISTRIES, places=(where,))
                sandbox, _ = await bench.sandbox(network=network)
                sink = Collected()
                ended = await sandbox.run(
                    render([f"exec 3<>/dev/tcp/{where.replace(':', '/')}; head -c 12 <&3"]), _PATH, sink
                )
                assert (ended.code, "the registry" in sink.text) == (0, True), sink.text
                ask = "exec 3<>/dev/tcp/127.0.0.1/61357; printf 'CONNECT example.org:443 HTTP/1.1\\r\\n\\r\\n' >&3; head -c 12 <&3"
                ended = await sandbox.run(render([f"! (exec 3<>/dev/tcp/{no.replace(':', '/')})", ask]), _PATH, sink)
                assert (ended.code, "HTTP/1.1 403" in sink.text) == (0, True), sink.text
                await sandbox.cleanup()

            run(work, bench.executor)

    # -- images ---------------------------------------------------------------------------------------------------

    def test_pull_policies(self, bench: Bench) -> None:
        images = local_images(self.folder, bench.executor, self.environ)
        assert images.get(Image(name="./tiny", pull_policy=("never",)), "x").digest.startswith("sha256:")
        layout(self.folder / "other", shell_layer(), config={"Env": ["OTHER=1"]})
        with pytest.raises(UserError, match="its pull policy is never"):
            images.get(Image(name="./other", pull_policy=("never",)), "x")
        found = images.get(Image(name="./other", pull_policy=("never", "if-not-present")), "x")
        assert found.environment["OTHER"] == "1"
        strict = self.make(ContainerPolicy(pull_policies=("if-not-present",)))
        with contextlib.closing(strict._keeper), pytest.raises(UserError, match="is not allowed here"):
            local_images(self.folder, strict, self.environ).get(Image(name="./tiny", pull_policy=("always",)), "x")

    def test_an_image_that_nobody_has_is_refused_with_the_mend(self, bench: Bench) -> None:
        images = local_images(self.folder, bench.executor, self.environ)
        with pytest.raises(AegisError, match="could not be pulled"):
            images.get(Image(name="127.0.0.1:9/no/such:1"), "x")


class TestDocker(ContainerContract):
    isolation = "docker"


class TestPodman(ContainerContract):
    isolation = "podman"
