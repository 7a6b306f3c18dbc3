"""Jobs that mean harm, carried out by the real engine in real namespaces: each ends as what it is, and nothing of it stays.

What they leave (archives, names, trees) and what others made of it (archives from a remote runner) is never trusted.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor
from aegis.adapters.traces_directory import DirectoryTraces
from aegis.core.errors import ExternalError, UserError
from aegis.core.plan import ArtifactSpec, CacheSpec
from aegis.core.types import Run, State
from aegis.execution import stored
from aegis.execution.archive import ENTRIES_LIMIT, unpack
from aegis.execution.ports import JobLimits
from aegis.execution.supervise.places import remove
from support.execution import Engine, Working, by_name, job

ESCAPE = "\x1b[2J"


def kept(*paths: str, name: str = "") -> ArtifactSpec:
    return ArtifactSpec(paths=paths, name=name or None)


def cached(*keys: str, path: str = "out") -> tuple[CacheSpec, ...]:
    return tuple(CacheSpec(key=key, paths=(path,)) for key in keys)


DEEP = 'python3 -c \'import os\nfor _ in range(1100): os.mkdir("d"); os.chdir("d")\''
FORKS = """python3 - <<'X'
import os, time
made = 0
try:
    while made < 2000:
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError as error:
    print("stopped after", made)
X"""
KEYS = (
    "../../../etc/passwd", "/etc/passwd", "a\nb", "k" * 4096, "\u00e9", "e\u0301", ".", "..", "a/../../b", "a\0b", "",
    "--option", "$(touch x)", "`touch x`", "a;touch x",
)  # fmt: skip
JOBS = (
    job("bytes", "mkdir out; touch \"out/$(printf '\\377\\376').txt\" out/ok", artifacts=kept("out/")),
    job("lines", "mkdir out; touch \"out/a$(printf '\\nb\\033[2J')\"; mkfifo \"out/p$(printf '\\033[2J')\"", artifacts=kept("out/")),
    job("deep", DEEP, cache=cached("k", path="d")),
    job("long", "n=$(printf 'n%.0s' $(seq 200)); for i in $(seq 30); do mkdir $n; cd $n; done; touch f", artifacts=kept("n*/")),
    job("locked", "mkdir -p l/m; touch l/m/f; chmod 000 l/m; chmod 000 l", artifacts=kept("l/")),
    job("holes", "truncate -s 40G big", cache=cached("big", path="big")),
    job("hole-key", "truncate -s 30G lock; touch ok", cache=(CacheSpec(key_files=("lock",), paths=("ok",), policy="push"),)),
    job("name", "mkdir out; touch out/x", artifacts=kept("out/", name=f'../../../../etc/"x"\n{ESCAPE}' + "n" * 4000)),
    job("keys", "mkdir out; touch out/x", cache=cached(*KEYS)),
    job("nul", "true", values={"A": "a\0b"}),
    job("equals", "true", values={"A=B": "c"}),
    job("much", "echo ok", values={"A": "x" * 3_000_000}),
    job(
        "preload", 'mkdir -p bin; printf "#!/bin/sh\\ntouch /tmp/hit; exec /usr/bin/git" > bin/git; chmod +x bin/git; mkdir out; touch out/x',
        artifacts=kept("out/"),
        values={
            "LD_PRELOAD": "/builds/shop/orders/evil.so", "BASH_ENV": "/builds/shop/orders/evil.sh", "ENV": "evil",
            "GIT_DIR": "/etc", "GIT_SSH_COMMAND": "evil", "PYTHONPATH": "/builds/shop/orders", "PYTHONINSPECT": "1",
            "PATH": "/builds/shop/orders/bin:/usr/bin:/bin", "IFS": "x", "HOME": "/etc", "TMPDIR": "/nowhere",
        },
    ),
    job("links", "mkdir out; ln -s /dev/zero out/z; ln -s ../../../../etc/shadow out/s; ln / out/h || true; touch out/ok", artifacts=kept("out/")),
    job("swapped", "rm -rf .git; ln -s / .git; mkdir out; ln -s / out/r; touch out/ok", artifacts=ArtifactSpec(paths=("out/",), untracked=True)),
    job("nothing", "rm -rf /builds/shop/orders/* /builds/shop/orders/.git", artifacts=kept("../orders", "/etc", "out")),
    job("daemons", "(setsid sh -c 'trap \"\" TERM HUP INT; exec >/dev/null 2>&1 </dev/null; sleep 3600' &); nohup setsid sleep 3601 >/dev/null 2>&1 &"),
    job("forks", FORKS),
    job("killer", "kill -9 1; kill -9 $PPID; true"),
    job("x" * 4000, "true"),
    job("../../../x\ny" + ESCAPE, "true"),
)  # fmt: skip


class Carried:
    """The jobs above, carried out once."""

    def __init__(self, root: Path) -> None:
        self.engine = Engine(root, executor=NamespaceExecutor(grace=0.2))
        self.before = sleepers()
        bounded = {"limits": JobLimits(processes=200)}
        self.run: Run = self.engine.run(*JOBS, seconds=100, supervisor=bounded)
        self.jobs = by_name(self.run)
        self.left = [path.name for path in (root / "jobs").iterdir()]

    def names(self, name: str) -> list[str]:
        """The files in a job's archive."""
        one = next(file for file in self.jobs[name].files if file.kind == "archive")
        return list(stored.names(self.engine.blobs, one.digest))

    def log(self, name: str) -> str:
        return self.engine.log(self.jobs[name])


def sleepers() -> set[str]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes() in (b"sleep\x003600\0", b"sleep\x003601\0"):
                    found.add(entry.name)
            except OSError:
                continue
    return found


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    made = Carried(tmp_path_factory.mktemp("hostile"))
    yield made
    made.engine.close()


def test_each_ends_as_what_it_is_and_nothing_of_it_stays(carried: Carried) -> None:
    assert len(carried.run.jobs) == len(JOBS)
    again = {one.name for one in carried.run.jobs if one.attempt > 1}
    assert again == {"nul", "equals", "long"}, "what the runner could not do is tried once more"
    failed = {one.name for one in carried.run.jobs if one.state is not State.SUCCESS}
    assert failed == {"nul", "equals", "much", "long"}
    assert carried.left == []
    assert sleepers() <= carried.before


def test_processes_are_bounded(carried: Carried) -> None:
    assert "stopped after 1" in carried.log("forks"), "fewer than 200"


def test_names_that_are_no_text_are_left_out_and_written_out(carried: Carried) -> None:
    assert carried.names("bytes") == ["out/ok"]
    assert "out/\\udcff\\udcfe.txt: left out, since its name is not UTF-8" in carried.log("bytes")
    assert len(carried.names("lines")) == 1
    assert ESCAPE not in carried.log("lines").partition("upload_artifacts")[2]


def test_a_path_beyond_every_length_is_said(carried: Carried) -> None:
    assert "cannot be looked through" in carried.jobs["long"].message


def test_a_file_of_holes_is_no_cache_and_no_key(carried: Carried) -> None:
    assert "the cache big was not kept" in carried.log("holes")
    assert "bytes" in carried.log("hole-key")


def test_a_name_of_an_archive_is_one_name(carried: Carried) -> None:
    (file,) = carried.jobs["name"].files
    assert len(file.name) < 200
    assert file.name.isprintable()
    assert not set(file.name) & set('/\\"')


def test_cache_keys_stay_in_the_index_of_caches(carried: Carried) -> None:
    log = carried.log("keys")
    assert log.count("Kept cache ") >= len(KEYS) - 1
    folder = carried.engine.root / "data" / "caches"
    assert all(path.suffix == ".json" for path in folder.rglob("*") if path.is_file())
    assert "not kept" not in log


def test_what_a_variable_cannot_be_is_said(carried: Carried) -> None:
    assert "NUL byte" in carried.jobs["nul"].message
    assert "cannot be the name" in carried.jobs["equals"].message
    assert "Argument list too long" in carried.log("much")


def test_variables_of_a_job_move_nothing_but_the_job(carried: Carried) -> None:
    assert carried.names("preload") == ["out/x"]
    assert not Path("/tmp/hit").exists()


def test_links_that_lead_outside_bring_nothing_in(carried: Carried) -> None:
    assert carried.names("links") == ["out/ok"]
    assert "out/ok" in carried.names("swapped")
    assert not [name for name in carried.names("swapped") if name.startswith(("out/r", ".git"))]
    assert "refused, since it leads outside" in carried.log("nothing")


def test_a_bug_of_the_runner_ends_the_job_at_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError

    engine = Engine(tmp_path)
    monkeypatch.setattr("aegis.execution.transfer.restore", broken)
    run_id = engine.submit(job("one", "true", cache=cached("k")))
    with Working(engine) as supervisor:
        one = engine.wait(run_id).jobs[0]
        engine.until(lambda: len(supervisor.faults) == 2)
        faults = set(supervisor.faults)
        supervisor.faults.clear()
    engine.close()
    assert (one.failure_reason, one.message) == ("runner_system_failure", "the runner has a bug: ZeroDivisionError: ")
    assert faults == {"job one: ZeroDivisionError: "}


# -- archives that others made ------------------------------------------------------------------------------


def packed(*entries: tuple[str, bytes, int]) -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return data


def altered(data: io.BytesIO, at: int, value: bytes, *, directory: bool = True) -> io.BytesIO:
    """An archive with bytes of its first entry's record replaced."""
    raw = bytearray(data.getvalue())
    start = raw.index(b"PK\x01\x02") if directory else 0
    raw[start + at : start + at + len(value)] = value
    return io.BytesIO(bytes(raw))


FILE, LINK = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
SOUND = packed(("a/b", b"x" * 5000, FILE))
BROKEN = {
    "encrypted": altered(altered(SOUND, 8, b"\1\0"), 6, b"\1\0", directory=False),
    "method": altered(altered(SOUND, 10, b"\x63\0"), 8, b"\x63\0", directory=False),
    "content": altered(SOUND, 40, b"\xff" * 8, directory=False),
    "cut": io.BytesIO(SOUND.getvalue()[:-30]),
    "size": altered(SOUND, 24, struct.pack("<I", 1)),
    "offset": altered(SOUND, 42, struct.pack("<I", 0x7FFFFFFF)),
    "link": packed(("l", b"\0" * (1 << 20), LINK)),
    "null-link": packed(("l", b"a\0b", LINK)),
    "file-as-folder": packed(("a", b"x", FILE), ("a/b", b"x", FILE)),
    "folder-as-file": packed(("a/b", b"x", FILE), ("a", b"x", FILE)),
    "long": packed(("n" * 300, b"x", FILE)),
    "longer": packed(("/".join(["n" * 200] * 30), b"x", FILE)),
    "loop": packed(("l", b"l", LINK), ("l/x", b"x", FILE)),
    "entries": io.BytesIO(SOUND.getvalue()[:-10] + struct.pack("<IIH", ENTRIES_LIMIT * 100, 0, 0)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_archive_that_is_wrong_is_the_archives_fault(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        unpack(BROKEN[kind], tmp_path)


def test_a_trace_on_a_disk_that_takes_a_part_says_so(tmp_path: Path) -> None:
    class Nearly:
        """A file on a disk with seven bytes."""

        left = 7

        def __init__(self, real: object) -> None:
            self._real = real

        def write(self, data: memoryview) -> int:
            taken = data[: self.left]
            self.left -= len(taken)
            if not taken:
                raise OSError(28, "No space left on device")
            return int(self._real.write(taken))  # type: ignore[attr-defined]

        def close(self) -> None:
            self._real.close()  # type: ignore[attr-defined]

    traces = DirectoryTraces(tmp_path)
    traces.append("job", 0, b"ab")
    handle, end = traces._open["job"]
    traces._open["job"] = (Nearly(handle), end)  # type: ignore[assignment]
    with pytest.raises(ExternalError):
        traces.append("job", 2, b"c" * 10)
    assert traces.size("job") == 9
    assert traces.append("job", 2, b"c" * 10) == 12
    assert traces.read("job", 0, 100) == b"ab" + b"c" * 10
    traces.release()


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    root, at = tmp_path / "tree", tmp_path / "tree"
    root.mkdir()
    handle = os.open(at, os.O_RDONLY)
    for number in range(1050):
        for name in ("d" * 100, "1.gone", "e"):
            os.mkdir(name, dir_fd=handle)
        os.symlink("/etc", "link", dir_fd=handle)
        below = os.open("d" * 100 if number % 2 else "1.gone", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    remove(root)
    assert not root.exists()
    assert Path("/etc/passwd").exists()
