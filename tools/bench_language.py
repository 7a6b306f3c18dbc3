"""The compiler: 10 to 10,000 generated jobs, against gitlab-ci-local in the same run.

    python tools/bench.py --only language

Files are generated: half of the jobs with `extends`, chains and fans of `needs`, rules, variables. What counts is the CPU time of
whole processes (user and system), the median of several. The peer comes from npm into a cache directory (AEGIS_BENCH_CACHE, else
`~/.cache/aegis/bench`), with a Node of its own, since it needs 22 or later; where it cannot be installed the figure says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from figures import AEGIS, Figure, figure

PEER: Final = "gitlab-ci-local@4.75.1"
NODE: Final = "node@22"
_BASE: Final = """\
stages: [build, test, deploy]
variables: {GLOBAL: one, NESTED: $GLOBAL-two}
.base:
  image: python:3.11
  before_script: [echo before]
  variables: {BASE: base}
  rules:
    - if: $CI_COMMIT_BRANCH == "main"
    - when: on_success
.deep:
  extends: .base
  retry: 1
"""


def generated(count: int) -> str:
    """The file: about 220 bytes for each job."""
    out = [_BASE]
    for n in range(count):
        lines = [f"job-{n}:", f"  stage: {('build', 'test', 'deploy')[n * 3 // count]}"]
        if n % 2:
            lines.append(f"  extends: {'.deep' if n % 4 == 1 else '.base'}")
        else:
            lines += [
                "  image: alpine:3.19",
                "  rules:",
                '    - if: $CI_PIPELINE_SOURCE == "push"',
                "      when: on_success",
                "    - if: $CI_COMMIT_TAG =~ /^v\\d+/",
            ]
        lines += ["  variables:", f'    NUMBER: "{n}"', "  script:", f'    - echo "job {n}"', f"    - make target-{n}"]
        if n % 10:
            lines += ["  needs:", f"    - job-{n - 1}"]
        elif n >= 10:
            lines.append("  needs:")
            for back in range(1, 6):
                lines += [f"    - job: job-{n - back}", "      artifacts: false"]
        out.append("\n".join(lines) + "\n")
    return "".join(out)


def spent(arguments: Sequence[str], at: Path, times: int) -> tuple[list[float], float]:
    """CPU seconds of whole processes, and the most memory that one of them had, in MB."""
    found, memory = [], 0.0
    for _ in range(times):
        process = subprocess.Popen(arguments, cwd=at, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments[:3])} left with {process.returncode}")
        found.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / 1024)
    return found, memory


def peer() -> list[str]:
    """The peer's command line; `RuntimeError` where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("gitlab-ci-local cannot be installed: there is no npm here")
    base = Path(os.environ.get("AEGIS_BENCH_CACHE") or Path.home() / ".cache" / "aegis" / "bench") / "gitlab-ci-local"
    command = base / "node_modules" / ".bin" / "gitlab-ci-local"
    node = base / "node_modules" / ".bin" / "node"
    if not (command.exists() and node.exists()):
        base.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--prefix", str(base), "--no-audit", "--no-fund", "--loglevel=error", PEER, NODE]
        done = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"gitlab-ci-local cannot be installed: {done.stderr.strip()[-300:]}")
    return [str(node), str(command)]


def repository(folder: Path, count: int) -> Path:
    """A directory with a generated file, as a Git repository, which the peer asks for."""
    folder.mkdir()
    (folder / ".gitlab-ci.yml").write_text(generated(count))
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "jobs"], check=True)
    return folder


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Own figures, then the peer's."""
    times = 3 if getattr(options, "quick", False) else 5
    with tempfile.TemporaryDirectory() as name:
        made = {count: repository(Path(name) / str(count), count) for count in (10, 1000, 10_000)}
        listing = [*AEGIS, "preview", "--json"]
        how = "CPU of whole processes, `aegis preview --json`"
        small, _ = spent(listing, made[10], times + 2)
        yield figure("listing 10 jobs", "ms", [one * 1000 for one in small], how, target=120, scaled=False)
        lint, _ = spent([*AEGIS, "lint"], made[10], times + 2)
        yield figure(
            "lint of 10 jobs",
            "ms",
            [one * 1000 for one in lint],
            "CPU of whole processes, `aegis lint`",
            target=120,
            scaled=False,
        )
        middle, _ = spent(listing, made[1000], times)
        yield figure("listing 1,000 jobs", "s", middle, how, scaled=False)
        large, memory = spent(listing, made[10_000], times)
        size = (made[10_000] / ".gitlab-ci.yml").stat().st_size / 1e6
        yield figure("listing 10,000 jobs", "s", large, f"{how}; {size:.1f} MB", target=1.5, scaled=False)
        yield figure(
            "memory for 10,000 jobs", "MB", [memory], "largest resident size of the process", target=300, scaled=False
        )
        ratio = statistics.median(large) / statistics.median(middle)
        yield figure("ten times the jobs", "× CPU", [ratio], "10,000 against 1,000 jobs", target=12, scaled=False)
        theirs, _ = spent([*peer(), "--list"], made[1000], times)
        yield figure(
            "the peer: listing 1,000 jobs", "s", theirs, f"CPU of whole processes, {PEER} --list", scaled=False
        )
        times_less = [statistics.median(theirs) / one for one in middle]
        yield figure(
            "less CPU than the peer, 1,000 jobs", "×", times_less, "in this run", target=20, at_least=True, scaled=False
        )
