"""Local runs beside gitlab-ci-local, a thousand jobs, and what one trivial job and a large graph cost."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from figures import Figure, figure

from aegis.core.plan import JobSpec, Need, Plan
from aegis.core.types import State
from aegis.execution.schedule import depths
from aegis.execution.status import Board

PEER: Final = "gitlab-ci-local@4.75.1"
FILES: Final = 2000


def figures(options: argparse.Namespace) -> Iterator[Figure]:  # noqa: ARG001 - the form of every part
    """100 and 1,000 `true` jobs over 2,000 files, the peer in the same run, and the scheduling of 10,000 jobs."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as name:
        folder = Path(name)
        hundred, thousand = project(folder / "hundred", 100), project(folder / "thousand", 1000)
        ours = [run(hundred, [*AEGIS, "run", "--plain"]) for _ in range(3)]
        alone = [run(hundred, [*AEGIS, "run", "--plain", "--parallel", "1"]) for _ in range(2)]
        yield figure("100 jobs, 2,000 files: `aegis run`", "s", [one[0] for one in ours], "wall")
        yield figure("the same, CPU of all processes", "s", [one[1] for one in ours], "user+sys")
        each = [wall / 100 * 1000 for wall, _ in alone]
        yield figure(
            "per trivial job, one at a time", "ms", each, "wall of 100 jobs / 100, start-up included", target=60.0
        )
        # Before the peer, whose copies of the tree the machine goes on writing and forgetting for a while.
        many = [run(thousand, [*AEGIS, "run", "--plain"])[0] for _ in range(3)]
        yield figure("1,000 jobs: `aegis run`", "s", many, "wall", target=10.0)
        yield from beside(hundred, min(one[0] for one in ours))
    yield figure(
        "scheduling a 10,000-job graph",
        "CPU s",
        [scheduled() for _ in range(3)],
        "status machine and order",
        target=2.0,
    )


AEGIS: Final = (sys.executable, "-m", "aegis")


def project(folder: Path, jobs: int) -> Path:
    """A repository with files and a pipeline of trivial jobs."""
    for number in range(FILES):
        file = folder / f"src/part{number // 50}/file{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"VALUE = {number}\n" * 20)
    text = "".join(f"job{number}: {{script: ['true']}}\n" for number in range(jobs))
    (folder / ".gitlab-ci.yml").write_text(text)
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.invalid"]
    git = shutil.which("git") or "git"
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "begin"]):
        subprocess.run([git, *arguments], cwd=folder, check=True)
    return folder


def run(folder: Path, command: list[str], more: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Wall and CPU seconds of a command that must succeed."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ, **(more or {})}, capture_output=True, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(
            f"{command[0]} ended with {done.returncode}: {done.stderr[-500:].decode('utf-8', 'replace')}"
        )
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside(folder: Path, ours: float) -> Iterator[Figure]:
    """The peer on the same repository: as it comes (jobs share one tree), and with a tree for each job as here."""
    names = {"its jobs share one tree": [], "with a tree for each job": ["--shell-isolation"]}
    trouble = ""
    try:
        programs = peer()
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        trouble = f"the peer could not be had: {error}"
    for name, options in names.items():
        title = f"times faster than {PEER} ({name})"
        if trouble:
            yield Figure(name=title, unit="×", values=(), how="wall", target=5.0, at_least=True, failed=trouble)
            continue
        command = [str(programs / "node"), str((programs / "gitlab-ci-local").resolve()), *options]
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        try:
            theirs = run(folder, command, {"PATH": path})[0]
        except RuntimeError as error:
            yield Figure(name=title, unit="×", values=(), how="wall", target=5.0, at_least=True, failed=str(error))
        else:
            how = f"wall: {theirs:.1f} s of theirs"
            yield figure(title, "×", [theirs / ours], how, target=5.0, at_least=True, scaled=False)
        shutil.rmtree(folder / ".gitlab-ci-local", ignore_errors=True)


def peer() -> Path:
    """The directory of the peer's programs, installed from npm once into the user's cache, with a Node of its own."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aegis-bench"
    programs = home / "node_modules" / ".bin"
    if not (programs / "gitlab-ci-local").exists():
        npm, rsync = shutil.which("npm"), shutil.which("rsync")
        if npm is None or rsync is None:
            raise RuntimeError(f"it needs {'npm' if npm is None else 'rsync'}")
        home.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), "node@22", PEER]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    return programs


def scheduled() -> float:
    """CPU seconds to order and walk through 10,000 jobs in chains and fans."""
    jobs = []
    for number in range(10_000):
        needs = tuple(Need(job=f"job{one}") for one in {number - 1, number // 2} if one >= 0 and number % 10)
        jobs.append(JobSpec(name=f"job{number}", stage="test", script=("true",), needs=needs))
    plan = Plan(
        id="", project="a/b", commit="0" * 40, ref="main", source="push", stages=("test",), jobs=tuple(jobs)
    )  # fmt: skip
    begun = time.process_time()
    order = depths(plan)
    board = Board.of(plan)
    waiting = [one.name for one in board.begin()]
    done = 0
    while waiting:
        name = max(waiting[-50:], key=order.__getitem__)
        waiting.remove(name)
        done += 1
        for state in (State.RUNNING, State.SUCCESS):
            waiting.extend(step.name for step in board.change(name, state) if step.state is State.PENDING)
    if done != len(jobs):
        raise RuntimeError(f"only {done} jobs were walked through")
    return time.process_time() - begun
