"""How test files are shared out among the parallel instances of a job, by how long they took. Pure.

Longest first, each to the instance with the least to do (Graham's LPT rule): no instance has more than 4/3 of the best possible, but for
one part of the last file. The same files and durations give the same shares, so every file is worked exactly once. A file without a
duration is taken for one of middling length. It neither finds files nor runs them.

Source: R. L. Graham, Bounds on Multiprocessing Timing Anomalies, SIAM J. Appl. Math. 17 (1969).
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aegis.core.errors import UserError
from aegis.core.ports import Blobs
from aegis.core.types import JobRun
from aegis.core.values import dataclass

FILE_VARIABLE: Final = "AEGIS_TEST_DURATIONS"
"""Names the file in which a job finds them: a JSON mapping of files or classes to seconds."""
MOST: Final = 20_000
"""Durations that are kept of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test of a report: where it is (its file, else its class), its name, its seconds."""

    __test__ = False

    place: str
    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one instance works: files in the order of their names, and how long they are thought to take."""

    files: tuple[str, ...]
    seconds: float


def tests_of(report: bytes) -> tuple[Test, ...]:
    """The tests of a JUnit report with their durations; none where it cannot be read."""
    from defusedxml.common import DefusedXmlException  # noqa: PLC0415 - only who reads reports needs it
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415

    try:
        root = fromstring(report)
    except (ParseError, DefusedXmlException, ValueError):
        return ()
    found: list[Test] = []
    for node in root.iter():
        if node.tag.rpartition("}")[2] == "testcase":
            try:
                seconds = float((node.get("time") or "0").replace(",", ""))
            except ValueError:
                continue
            place = node.get("file") or node.get("classname") or ""
            if place and 0 <= seconds < float("inf"):
                found.append(Test(place=place.replace("\\", "/"), name=node.get("name") or "", seconds=seconds))
    return tuple(found)


def slowest(blobs: Blobs, jobs: Iterable[JobRun], count: int) -> tuple[tuple[str, Test], ...]:
    """The tests that took longest, with the names of their jobs, longest first; of reused jobs none."""
    found = [
        (job.name, test)
        for job in jobs
        for file in job.files
        if file.kind == "junit" and not job.reused_from
        for test in tests_of(blobs.get(file.digest))
    ]
    return tuple(heapq.nlargest(count, found, key=lambda one: one[1].seconds))


def durations(tests: Iterable[Test]) -> dict[str, float]:
    """Seconds by file or class."""
    found: dict[str, float] = {}
    for test in tests:
        found[test.place] = found.get(test.place, 0.0) + test.seconds
    return found


def weights(files: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    """Seconds by file, from what is known by file or by dotted class; what is not known has the median."""
    by_module = {_module(file): file for file in files}
    found: dict[str, float] = {}
    for place, seconds in known.items():
        file = place.removeprefix("./") if place.removeprefix("./") in by_module.values() else _owner(place, by_module)
        if file is not None:
            found[file] = found.get(file, 0.0) + seconds
    middle = statistics.median(found.values()) if found else 1.0
    return {file: found.get(file, middle) for file in files}


def _module(file: str) -> str:
    return file.rpartition(".")[0].replace("/", ".")


def _owner(place: str, by_module: Mapping[str, str]) -> str | None:
    """The file whose module a dotted name is in: the longest that fits."""
    while place:
        if place in by_module:
            return by_module[place]
        place = place.rpartition(".")[0]
    return None


def shares(weighed: Mapping[str, float], total: int) -> tuple[Share, ...]:
    """The files of each of `total` instances."""
    heap = [(0.0, index) for index in range(total)]
    files: list[list[str]] = [[] for _ in range(total)]
    for file in sorted(weighed, key=lambda one: (-weighed[one], one)):
        load, index = heapq.heappop(heap)
        files[index].append(file)
        # Files that take no time are still shared out: each counts for a moment.
        heapq.heappush(heap, (load + max(weighed[file], 0.001), index))
    return tuple(Share(files=tuple(sorted(mine)), seconds=sum(weighed[one] for one in mine)) for mine in files)


def shard(text: str) -> tuple[int, int]:
    """Index (from 1) and number of instances of `1/3`; `UserError`."""
    index, _, total = text.partition("/")
    if not (index.isdigit() and total.isdigit() and 1 <= int(index) <= int(total)):
        raise UserError(
            "no-such-shard", f"{text!r} is no shard", hint="write --shard 1/3, or let `parallel: 3` set CI_NODE_INDEX"
        )
    return int(index), int(total)
