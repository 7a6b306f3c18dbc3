"""What the roots of all steps have in common, made once by the keeper: a step then mounts only what is its own.

A ground is a mount namespace that holds the machine's programs, the tools and empty places, all of it read-only, and nothing
else. A step enters a copy of it, so that no step sees another's mounts. Where the system cannot do this (before Linux 5.12),
there is no ground, and every step builds its root by itself. Images are never part of a ground.
"""

from __future__ import annotations

import marshal
import os

from aegis.adapters.executor_init.root import (
    by_depth,
    covered,
    devices,
    enter,
    identity_files,
    machine_root,
    own,
    seal,
    tools,
)
from aegis.adapters.executor_init.system import (
    CLONE_NEWNS,
    MS_PRIVATE,
    MS_REC,
    StageError,
    bind,
    call,
    foothold,
    libc,
    lifted,
    mount,
    settle,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEPT = 16
"""How many grounds a keeper remembers; the one that was used longest ago goes first."""


class Grounds:
    """The grounds of a keeper by what they are made of."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], int] = {}

    def get(self, wish: bytes) -> int:
        """The descriptor of a ground's namespace; -1 where there is none. `wish` is a marshalled mapping."""
        if not wish:
            return -1
        wanted = marshal.loads(wish)  # noqa: S302 - written by the runner that started this
        # What was replaced since has the same name and is another thing.
        paths = [*wanted["read_only"], os.path.realpath("/etc/resolv.conf"), "/etc"]
        key = (wish, *(present(path) for path in paths))
        found = self._known.pop(key, None)
        if found is None:
            found = begun(wanted)
            while len(self._known) >= KEPT:
                oldest = next(iter(self._known))
                release(self._known.pop(oldest))
        self._known[key] = found
        return found


def release(ground: int) -> None:
    """Forget one."""
    if ground >= 0:
        os.close(ground)


def present(path: str) -> tuple[int, int]:
    """Which file or directory is at `path` now."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def begun(wanted: dict[str, Any]) -> int:
    """Make a ground in a process of its own, which ends when its namespace is held here; -1 where that fails."""
    done, told = os.pipe()
    end, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        try:
            build(wanted)
            os.write(told, b"k")
            os.read(end, 1)
        except (OSError, StageError):
            os._exit(1)  # the step that builds its root by itself says why
        os._exit(0)
    os.close(told)
    os.close(end)
    ground = -1
    if os.read(done, 1):
        ground = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    os.close(done)
    os.close(go)
    return ground


def build(wanted: dict[str, Any]) -> None:
    """The ground, in a namespace that holds nothing else."""
    root = wanted["root"]
    call("namespaces", libc.unshare(CLONE_NEWNS))
    mount("", "/", "", MS_REC | MS_PRIVATE)
    os.close(lifted(root))  # whether steps will be able to
    shown = machine_root(root)
    identity_files(root, machine=True)
    targets = wanted["targets"]
    known = [one for one in tools(wanted["read_only"]) if not covered(one[0], targets)]
    for target, source in sorted([*known, *((one, "") for one in targets)], key=by_depth):
        if not source:
            os.makedirs(root + target, 0o755, exist_ok=True)
        elif not covered(target, shown):
            bind(source, root, target)
            shown.append(target)
    devices(root)
    enter(root)
    seal()


def step_onto(ground: int, request: dict[str, Any]) -> None:
    """Move into a copy of the ground, and put there what is the step's own, or lies in what is its own."""
    places = dict(request["writable"])
    roots = [*places]
    # Few of the tools lie there; what is done here is done for every step.
    inside = [(path, path) for path in request["read_only"] if covered(path, roots) and os.path.exists(path)]
    taken = [
        (target, lifted(source, writable=target in places), os.path.isdir(source))
        for target, source in sorted([*inside, *places.items()], key=by_depth)
    ]
    made = {target for target in places if not covered(os.path.dirname(target), roots)}
    call("enter the ground", libc.setns(ground, CLONE_NEWNS))
    call("namespaces", libc.unshare(CLONE_NEWNS))
    os.close(ground)
    for target, tree, directory in taken:
        if target not in made:
            foothold(target, directory=directory)
        settle(tree, target)
    own("")
    libc.sethostname(b"job", 3)
