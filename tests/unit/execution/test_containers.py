"""What a container engine is asked for."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aegis.core.errors import ExternalError, UserError
from aegis.core.types import JobUsage
from aegis.execution import containers
from aegis.execution.containers import ContainerPolicy, Surroundings
from aegis.execution.ports import ImageRoot, JobLimits, Place, SandboxRequest, ServiceRequest

IMAGE = ImageRoot(
    name="python:3",
    digest="sha256:1",
    path=Path(),
    shell_path="/bin/sh",
    environment={"FROM": "1"},
    entrypoint=("start",),
)
AROUND = Surroundings(labels={"aegis.runner": "1"}, user="61357:61357", network="net", hosts=("db:10.0.0.2",))


def request(root: Path = Path("/jobs/1"), **more: Any) -> SandboxRequest:
    paths = {name: root / name for name in ("work", "tmp", "home", "files")}
    inner = {f"inner_{name}": str(path) for name, path in paths.items()}
    place = Place(root=root, **paths, **inner)  # type: ignore[arg-type]
    return SandboxRequest(job_id="1", place=place, **{"image": IMAGE, **more})


def test_a_job_has_no_privilege_and_only_its_own_files() -> None:
    wish = request(read_only=(Path("/ca.pem"),), limits=JobLimits(memory=1 << 30, processes=50))
    found = containers.job_document(wish, AROUND, ContainerPolicy(), {"A": "b"})
    host = found["HostConfig"]
    assert (found["Image"], found["User"], found["Env"]) == ("sha256:1", "61357:61357", ["A=b"])
    assert (host["Privileged"], host["CapDrop"], host["CapAdd"], host["SecurityOpt"]) == (
        False, ["ALL"], [], ["no-new-privileges"]
    )  # fmt: skip
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["NetworkMode"]) == (1 << 30, 1 << 30, 50, "net")
    assert host["ExtraHosts"] == ["db:10.0.0.2"]
    shown = {one["Target"]: (one["Source"], one["ReadOnly"]) for one in host["Mounts"]}
    assert shown["/ca.pem"] == ("/ca.pem", True)
    assert sorted(source for source, _ in shown.values()) == [
        "/ca.pem", "/jobs/1/files", "/jobs/1/home", "/jobs/1/tmp", "/jobs/1/work"
    ]  # fmt: skip


def test_the_entry_point_comes_first_or_not_at_all() -> None:
    with_it = containers.job_document(request(), AROUND, ContainerPolicy(), {})
    assert with_it["Entrypoint"] == ["start"]
    assert with_it["Cmd"][0] == "/bin/sh"
    without = containers.job_document(request(entrypoint=("",)), AROUND, ContainerPolicy(), {})
    assert without["Entrypoint"] == ["/bin/sh"]


def test_privilege_is_for_declared_images_alone() -> None:
    policy = ContainerPolicy(privileged=("docker:*-dind",))
    dind = replace(IMAGE, name="docker:24-dind")
    for image, expected in ((dind, True), (IMAGE, False), (replace(IMAGE, name="evil/docker:24-dind"), False)):
        service = ServiceRequest(name=image.name, aliases=("docker",), image=image)
        host = containers.service_document(service, AROUND, policy, request().place)["HostConfig"]
        assert host["Privileged"] is expected
        assert [one["Source"] for one in host["Mounts"]] == (["/jobs/1/work"] if expected else [])
        assert ("no-new-privileges" in host["SecurityOpt"]) is not expected
        assert containers.job_document(request(image=image), AROUND, policy, {})["HostConfig"]["Privileged"] is expected


def test_a_root_job_gets_what_installing_packages_takes() -> None:
    host = containers.job_document(request(), replace(AROUND, user="0:0"), ContainerPolicy(root=True), {})["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert "SETUID" in host["CapAdd"]
    assert not {"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "MKNOD"} & set(host["CapAdd"])


def test_a_service_is_its_image_unless_the_job_says_otherwise() -> None:
    plain = ServiceRequest(name="a", aliases=("a", "b"), image=IMAGE, variables={"X": "1"})
    found = containers.service_document(plain, AROUND, ContainerPolicy(), request().place)
    assert {"Entrypoint", "Cmd", "User"} & found.keys() == set()
    assert found["NetworkingConfig"]["EndpointsConfig"]["net"]["Aliases"] == ["a", "b"]
    other = replace(plain, entrypoint=("",), command=("serve",), user="70")
    found = containers.service_document(other, AROUND, ContainerPolicy(), request().place)
    assert (found["Entrypoint"], found["Cmd"], found["User"]) == ([], ["serve"], "70")


def test_without_an_image_there_is_no_container() -> None:
    with pytest.raises(ExternalError, match="needs an image"):
        containers.job_document(request(image=None), AROUND, ContainerPolicy(), {})


def test_pull_policies() -> None:
    policy = ContainerPolicy(pull_policies=("if-not-present", "never"))
    assert policy.pulls(()) == ("if-not-present",)
    assert policy.pulls(("always", "never")) == ("never",)
    with pytest.raises(UserError, match="always is not allowed here"):
        policy.pulls(("always",))
    with pytest.raises(UserError, match="not a pull policy"):
        policy.pulls(("sometimes",))


def test_the_first_process_of_a_step_sets_the_environment_and_keeps_the_exit_code(tmp_path: Path) -> None:
    wish = request(tmp_path, limits=JobLimits(files=64))
    for path in (wish.place.work, wish.place.files):
        path.mkdir()
    (wish.place.files / ".script").write_bytes(
        b'printf "%s|%s|%s|%s\\n" "$A" "${OLD-}" "${FROM-}" "$PWD"; ulimit -n; exit 9\n'
    )
    script = containers.step(wish, {"A": "old", "OLD": "1"}, {"A": "it's\nnew"})
    done = subprocess.run(
        ["/bin/sh", "-c", script, "step", "/bin/sh"],
        env={"A": "old", "OLD": "1", "FROM": "1", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"it's\nnew|||{wish.place.work}\n64\n"
    assert done.returncode == 9, done.stderr
    assert (wish.place.files / ".used").exists()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (b"ns 2500000000\npeak 77\nblk 8:0 Read 5\nblk 8:0 Write 7\nblk Total 12\n", (2.5, 77, 5, 7)),
        (b"usage_usec 1500000\nuser_usec 1\npeak 9\nio 8:0 rbytes=3 wbytes=4 rios=1\n", (1.5, 9, 3, 4)),
        (b"usage_usec 0\n", (0.0, 0, 0, 0)),
        (b"peak 9\n", None),
        (b"ns -5\nns x\n\xff\xfe", None),
    ],
)
def test_what_a_step_used(told: bytes, expected: tuple[float, int, int, int] | None) -> None:
    wanted = expected and JobUsage(
        cpu_seconds=expected[0], peak_memory=expected[1], read_bytes=expected[2], written_bytes=expected[3]
    )
    assert containers.used(told) == wanted


def test_the_accounts_of_an_image_with_the_jobs_own() -> None:
    passwd, group = containers.accounts(b"root:x:0:0::/:\njob:x:5:5::/:\nx:x:7:7::/:\n", b"root:x:0:\nx:x:8:\n", (7, 8))
    assert passwd.decode().splitlines() == ["root:x:0:0::/:", "job:x:7:8:job:/home/job:/bin/sh"]
    assert group.decode().splitlines() == ["root:x:0:", "job:x:8:"]


def test_who_a_job_asks_to_be() -> None:
    passwd = b"root:x:0:0::/:\napp:x:33:44::/:\n"
    assert containers.identity("app", passwd) == (33, 44)
    assert containers.identity("33", passwd) == (33, 44)
    assert containers.identity("app:5", passwd) == (33, 5)
    assert containers.identity("1000", passwd) == (1000, 1000)
    with pytest.raises(UserError, match="no user 'nobody-here'"):
        containers.identity("nobody-here", passwd)


def test_who_listens_for_others() -> None:
    head = "  sl  local_address rem_address   st\n"
    assert containers.listening(head + "   0: 00000000:1F40 00000000:0000 0A x\n", 8000)
    assert not containers.listening(head + "   0: 0100007F:1F40 00000000:0000 0A x\n", 8000)
    assert not containers.listening(head + "   0: 00000000:1F40 00000000:0000 01 x\n", 8000)
    assert containers.listening(head + "   0: " + "0" * 32 + ":1F40 " + "0" * 32 + ":0000 0A x\n", 8000)
    assert not containers.listening("", 8000)
