"""The root of a step: named directories of the machine, or an image, and nothing else.

Everything that is not named stays outside. Links of an image are never followed while its mounts are made.
"""

from __future__ import annotations

import ctypes
import os

from aegis.adapters.executor_init.system import (
    INNER_ID,
    MACHINE,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    SYS_PIVOT_ROOT,
    StageError,
    bind,
    call,
    libc,
    mount,
    restrict,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt")
HIDDEN = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def system_directories(root: str) -> list[str]:
    """Show the machine's programs, read-only; the directories that are shown."""
    shown = []
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            bind(path, root, path)
            shown.append(path)
    return shown


def covered(path: str, shown: list[str]) -> bool:
    """Whether `path` lies in what is shown already."""
    return any(path == one or path.startswith(one + "/") for one in shown)


def devices(root: str) -> None:
    """A small /dev, but for what every step has of its own."""
    mount("tmpfs", root + "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            os.close(os.open(f"{root}/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
            mount(f"/dev/{name}", f"{root}/dev/{name}", "", MS_BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{root}/dev/{name}")
    os.symlink("pts/ptmx", root + "/dev/ptmx")
    for name in ("shm", "pts"):
        os.mkdir(f"{root}/dev/{name}")


def own(root: str) -> None:
    """What no two steps share: memory with names, terminals, processes."""
    mount("tmpfs", root + "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m")  # noqa: S108 - the job's own
    try:
        mount("devpts", root + "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    except StageError as error:
        # Some containers forbid it; a job without terminals is complete enough.
        if error.args[2] not in {"EPERM", "EACCES", "ENODEV"}:
            raise
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def others(path: str, ours: str) -> bytes:
    """The accounts of an image whose names are not ours; at most a mebibyte of them."""
    taken = {line.partition(":")[0].encode() for line in ours.splitlines()}
    with open(path, "rb") as file:
        lines = file.read(1 << 20).splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0] not in taken and line.endswith(b"\n"))


def identity_files(root: str, *, machine: bool) -> None:
    """Names for the job's ids, and nothing of the machine's accounts; an image keeps its own beside them."""
    files = {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\njob:x:{INNER_ID}:{INNER_ID}:job:/home/job:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\njob:x:{INNER_ID}:\nnogroup:x:65534:\n",
    }
    os.makedirs(root + "/run/identity", 0o755, exist_ok=True)
    for name, text in files.items():
        path = f"{root}/run/identity/{name}"
        with open(path, "wb") as file:
            file.write(text.encode() + (b"" if machine else others(f"{root}/etc/{name}", text)))
        os.chmod(path, 0o644)
        if os.path.exists(f"{root}/etc/{name}"):
            mount(path, f"{root}/etc/{name}", "", MS_BIND)
            restrict(f"{root}/etc/{name}")
    for path in HIDDEN if machine else ():
        if os.path.lexists(root + path) and not os.path.islink(root + path):
            mount("/dev/null", root + path, "", MS_BIND)


def clear_way(root: str, target: str, *, directory: bool = True) -> None:
    """Make `target` below an image's root something to mount on: a link of the image there would be followed outside."""
    path, parts = root, target.strip("/").split("/")
    for number, name in enumerate(parts, 1):
        path += "/" + name
        wanted = 0o040000 if directory or number < len(parts) else 0o100000
        try:
            if os.lstat(path).st_mode & 0o170000 == wanted:
                continue
            os.unlink(path)
        except FileNotFoundError:
            pass  # made below
        except IsADirectoryError as error:
            raise StageError(f"mount on {target}", "the image has a directory there", "EISDIR") from error
        if wanted == 0o040000:
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def image_root(root: str, layers: str, *, service: bool) -> None:
    """The image as the new root: what the job changes is kept beside it, the image itself is never written.

    A service finds its `/run` and `/home` as the image has them, and may write to the usual places.
    """
    mount("overlay", root, "overlay", MS_NOSUID | MS_NODEV, layers)
    for name in ("dev", "proc", "tmp", "run", "var/tmp", "home", "builds", "etc"):
        clear_way(root, name)
    if service:
        clear_way(root, "run/identity")
        for name in ("run", "tmp", "var/tmp"):
            os.chmod(f"{root}/{name}", 0o1777)  # noqa: S103 - the service's own
    for name in ("run/identity",) if service else ("run", "home", "builds"):
        mount("tmpfs", f"{root}/{name}", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
    for name in ("passwd", "group"):
        clear_way(root, f"etc/{name}", directory=False)


def machine_root(root: str) -> list[str]:
    """The machine as the new root; the directories of it that are shown."""
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
    for name in ("dev", "proc", "tmp", "run", "var/tmp", "home", "builds"):
        os.makedirs(f"{root}/{name}", 0o755)
    return system_directories(root)


def tools(read_only: list[str]) -> list[tuple[str, str]]:
    """What is shown beside the machine's programs: where, and what."""
    resolver = os.path.realpath("/etc/resolv.conf")
    return [(path, path) for path in {*read_only, resolver} if os.path.exists(path)]


def by_depth(target: tuple[str, str]) -> tuple[int, str]:
    """Outer directories before what lies in them, whichever kind they are."""
    return target[0].count("/"), target[0]


def enter(root: str) -> None:
    """Leave everything that is not the new root."""
    os.chdir(root)
    here = ctypes.c_char_p(b".")
    call("pivot_root", libc.syscall(SYS_PIVOT_ROOT[MACHINE], here, here))
    call("leave the old root", libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def seal() -> None:
    """Nothing is written into the root itself."""
    mount("", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def world(request: dict[str, Any]) -> None:
    """Build the new root and move into it. Everything that is not named stays outside."""
    root, image = request["root"], request.get("image")
    mount("", "/", "", MS_REC | MS_PRIVATE)
    shown: list[str] = []
    if image:
        image_root(root, image, service=request.get("service", False))
        paths = (*request["read_only"], "/etc/resolv.conf", "/etc/hosts")
        wanted = [(path, path) for path in paths if os.path.exists(path)]
    else:
        shown = machine_root(root)
        wanted = tools(request["read_only"])
    identity_files(root, machine=not image)
    writable = {target for target, _ in request["writable"]}
    given = dict(request.get("given", ()))
    wanted = [(target, given.get(target, source)) for target, source in (*wanted, *request["writable"])]
    for target, source in given.items() if not image else ():
        # The machine's directory is shown already; this file of it is another one for the job.
        bind(source, root, target)
    for target, source in sorted(wanted, key=by_depth):
        if target in writable or not covered(target, shown):
            if image:
                clear_way(root, target, directory=os.path.isdir(source))
            bind(source, root, target, writable=target in writable)
            if target not in writable:
                shown.append(target)
    devices(root)
    own(root)
    enter(root)
    if not image:
        seal()
    libc.sethostname(b"job", 3)
