"""Coverage-guided fuzzing of the compiler: any bytes have an answer, in bounded time and memory, and both readers agree.

    python tools/soak_language.py [--seconds 120]

Atheris (libFuzzer for Python) is installed from PyPI into a cache directory, since only this needs it; where it cannot be had the
run says so and leaves with 1. The corpus is `tests/fuzz/pipeline`: what the golden folders do not reach. A finding is written to
`crash-…` beside it, and becomes a test of `tests/fuzz` once it is understood.
"""

# ruff: noqa: PLC0415 - what is fuzzed is imported under instrumentation
from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CORPUS: Final = ROOT / "tests" / "fuzz" / "pipeline"
ATHERIS: Final = "atheris==3.0.0"
MEMORY: Final = 2 * 1024**3


def installed() -> Path:
    """Where Atheris lies; `SystemExit` where it cannot be had."""
    folder = Path(os.environ.get("AEGIS_BENCH_CACHE") or Path.home() / ".cache" / "aegis" / "bench") / "atheris"
    if not (folder / "atheris").is_dir():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") or "uv"
        done = subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder), ATHERIS],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"atheris cannot be installed: {done.stderr.strip()[-300:]}")
    return folder


def one(data: bytes) -> None:
    """One input: the compiler answers, and where the line reader answers it says what libyaml says."""
    from aegis.pipeline import events, lines
    from aegis.pipeline.compile import check_pipeline, compile_pipeline
    from aegis.pipeline.diagnostics import Report
    from aegis.pipeline.document import Limits
    from aegis.pipeline.request import CompileRequest, MemoryFiles

    files = MemoryFiles({".gitlab-ci.yml": data, "b.yml": data, "a/b.txt": b""})
    request = CompileRequest(files=files, changed=("a/b.txt",))
    found = compile_pipeline(request)
    if (found.plan is None) == (not found.errors and not found.skipped):
        raise AssertionError("neither a plan nor a reason")
    check_pipeline(request)
    try:
        text = data.decode()
        mine = lines.read(text, "f", Report(), Limits())
    except (UnicodeDecodeError, lines.NotPlain):
        return
    if repr(mine) != repr(events.read(text, "f", Report(), Limits())):  # as text: `.nan` differs from itself
        raise AssertionError("the two readers differ")


def fuzz(seconds: int) -> None:
    """Runs within this process until the time is over or something is found."""
    sys.path.insert(0, str(installed()))
    import atheris

    with atheris.instrument_imports(include=["aegis.pipeline"]):
        import aegis.pipeline.compile
        import aegis.pipeline.events  # noqa: F401 - instrumented on the way

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY * 2, MEMORY * 2))
    grown = Path(os.environ.get("AEGIS_FUZZ_CORPUS") or ROOT / ".aegis" / "fuzz")
    grown.mkdir(parents=True, exist_ok=True)
    golden = grown / "golden"
    golden.mkdir(exist_ok=True)
    for file in (ROOT / "tests" / "golden" / "pipeline").glob("*/.gitlab-ci.yml"):
        shutil.copyfile(file, golden / file.parent.name[:100])
    arguments = [
        sys.argv[0], str(grown), str(CORPUS), str(golden), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20",
        f"-artifact_prefix={grown}/crash-", "-print_final_stats=1", f"-rss_limit_mb={MEMORY // 1024**2}",
    ]  # fmt: skip
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120)
    fuzz(parser.parse_args().seconds)
