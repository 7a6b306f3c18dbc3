"""What keeping and fetching artifacts costs: noise and sources, a cache that changes a little, 100 reused jobs.

python tools/bench.py --only artifacts
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from figures import AEGIS, Figure, figure

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.execution import parcel, stored
from aegis.execution.archive import choose

GIB: Final = 1024**3
MB: Final = 1e6
ROUNDS: Final = 3
JOBS: Final = 100


def figures(options: argparse.Namespace) -> Iterator[Figure]:  # noqa: ARG001 - the form of every part
    """1 GiB of noise up and down beside a copy of the file, this environment's packages, dedupe, reuse."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as name:
        folder = Path(name)
        yield from noise(folder / "noise")
        yield from packages(folder / "packages")
        yield from reused(folder / "reused")


def noise(folder: Path) -> Iterator[Figure]:
    """A file that cannot be compressed. Each round in a process of its own; the copy beside it flushes what it wrote, too."""
    (folder / "in").mkdir(parents=True)
    with (folder / "in" / "noise").open("wb") as file:
        for _ in range(GIB // (4 * 1024 * 1024)):
            file.write(os.urandom(4 * 1024 * 1024))
    told: dict[str, list[dict[str, float]]] = {"copy": [], "up": [], "down": [], "zip": []}
    for _ in range(ROUNDS):
        for way, all_of_it in told.items():
            for left in ("copied", "out") if way != "up" else ("blobs",):
                shutil.rmtree(folder / left, ignore_errors=True)
            done = subprocess.run(
                [sys.executable, __file__, way, str(folder)], capture_output=True, check=True, text=True
            )
            all_of_it.append(json.loads(done.stdout))
    for way, text in {"copy": "a copy with fsync, for comparison", "up": "up: packed into the store", "down": "down: unpacked",
                      "zip": "down: as GitLab's zip"}.items():  # fmt: skip
        wall = [GIB / MB / one["seconds"] for one in told[way]]
        target = None if way == "copy" else 300.0
        yield figure(
            f"1 GiB of noise {text}", "MB/s", wall, "wall; the best counts under load", target=target, at_least=True
        )
        yield figure(f"the same, processor time ({way})", "s", [one["cpu"] for one in told[way]], "user+sys")
    grown = [one["grown"] for way in ("up", "down", "zip") for one in told[way]]
    yield figure("memory that up and down add", "MB", [max(grown)], "largest of all rounds", target=32.0)


def packages(folder: Path) -> Iterator[Figure]:
    """The packages of this environment: how small, how fast, and what one changed file in a hundred costs."""
    source = folder / "in"
    shutil.copytree(Path(sys.prefix) / "lib", source, symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    files = choose(source, ["**"]).files
    size = sum((source / one).stat().st_size for one in files)
    blobs = DirectoryBlobs(folder / "blobs")
    took, (digest, _) = timed(lambda: parcel.pack(source, files, blobs))
    kept = stored.blobs_of(blobs, digest)
    held = sum(blobs.size(one) or 0 for one in kept)
    yield figure(
        f"{len(files)} files, {size / MB:.0f} MB of packages up", "MB/s", [size / MB / took], "wall, first time"
    )
    yield figure("the same, stored", "% of size", [100 * held / size], "zstd, all segments and the manifest")
    again, _ = timed(lambda: parcel.pack(source, files, blobs))
    yield figure("the same again, nothing changed", "MB/s", [size / MB / again], "wall")
    rng = random.Random(1)  # noqa: S311 - the same files every time
    for name in rng.sample(files, max(1, len(files) // 100)):
        with (source / name).open("ab") as file:
            file.write(b"# changed\n")
    changed, _ = parcel.pack(source, files, blobs)
    fresh = sum(blobs.size(one) or 0 for one in stored.blobs_of(blobs, changed) - kept)
    yield figure(
        "one file in a hundred changed: written anew", "% of stored", [100 * fresh / held], "bytes of new segments"
    )
    one, _ = timed(lambda: stored.unpack(blobs, changed, folder / "out"))
    yield figure("the same down", "MB/s", [size / MB / one], "wall")


def reused(folder: Path) -> Iterator[Figure]:
    """A hundred jobs that have passed, once worked and then taken over."""
    folder.mkdir(parents=True)
    jobs = {f"j{n}": {"variables": {"AEGIS_REUSE": "true"}, "script": ["echo made > out"], "artifacts": {"paths": ["out"]}}
            for n in range(JOBS)}  # fmt: skip
    (folder / ".gitlab-ci.yml").write_text(json.dumps(jobs))
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "feat: begin"]):
        subprocess.run(["git", *command], cwd=folder, check=True, env=environment)

    def run() -> list[str]:
        done = subprocess.run([*AEGIS, "run", "--json"], cwd=folder, capture_output=True, check=True, text=True)
        return [one["reused"] for one in json.loads(done.stdout)["jobs"]]

    first, _ = timed(run)
    yield figure(f"{JOBS} jobs, worked", "s", [first], "wall of `aegis run`")
    later = [timed(run) for _ in range(ROUNDS)]
    if not all(all(one) for _, one in later):
        raise SystemExit("a job was worked that was proven")
    yield figure(f"{JOBS} jobs, all reused", "s", [one for one, _ in later], "wall of `aegis run`, its start included")


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it answered."""
    begun = time.perf_counter()
    answer = act()
    return time.perf_counter() - begun, answer


def _child(way: str, folder: Path) -> None:
    """One round, in a process of its own, so that its memory is its own."""
    import zstandard  # noqa: F401, PLC0415 - loaded before the memory is looked at

    blobs = DirectoryBlobs(folder / "blobs")
    digest = next((one for one, _ in blobs.digests("sha512:")), "")
    before, cpu, begun = _peak(), time.process_time(), time.perf_counter()
    if way == "up":
        parcel.pack(folder / "in", ["noise"], blobs)
    elif way == "down":
        stored.unpack(blobs, digest, folder / "out")
    elif way == "zip":
        size, chunks = stored.as_zip(blobs, digest)
        if sum(map(len, chunks)) != size:
            raise SystemExit("the zip has another size than was said")
    else:
        with (folder / "in" / "noise").open("rb") as source, (folder / "copied").open("wb") as target:
            shutil.copyfileobj(source, target, 4 * 1024 * 1024)
            target.flush()
            os.fsync(target.fileno())
    told = {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "grown": (_peak() - before) / 1000,
    }
    sys.stdout.write(json.dumps(told))


def _peak() -> float:
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))
