"""Record the logs of the failures in tests/golden/failures: run each script as a job would, keep what it printed.

`python tools/record_failures.py [NAME…]` records the named cases, or all that have no log yet. The programs that the
scripts call have to be on PATH; a script whose commands succeed, or whose program is missing, is refused. Paths and
addresses of this machine are replaced, so that a log says nothing about where it was made.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from record_failures_server import Registry

from aegis.execution.script import render

ROOT = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "failures"
PROJECT = "/builds/shop/orders"
MARK = "#---\n"
GREEN, RED, RESET = "\x1b[32;1m", "\x1b[31;1m", "\x1b[0;m"
SECONDS = 120


def heads(text: str) -> dict[str, str]:
    """The `# name: value` lines at the head of a script."""
    return dict(re.findall(r"^# (\w+): (.*)$", text.partition(MARK)[0], re.MULTILINE))


def record(case: pathlib.Path, registry: Registry) -> str:
    """The log of one case, as a job's trace would hold it."""
    text = case.read_text(encoding="utf-8")
    known = heads(text)
    setup, _, script = text.partition(MARK)
    with tempfile.TemporaryDirectory(prefix="case-") as folder:
        work = pathlib.Path(folder, "builds", "shop", "orders")
        work.mkdir(parents=True)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": folder, "CI": "true", "CI_PROJECT_DIR": str(work), "REGISTRY": registry.url, "TLS": registry.tls_url,
            "PORT": str(registry.port), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "UV_CACHE_DIR": f"{folder}/uv", "GIT_AUTHOR_NAME": "Ana", "GIT_AUTHOR_EMAIL": "ana@shop.example",
            "GIT_COMMITTER_NAME": "Ana", "GIT_COMMITTER_EMAIL": "ana@shop.example", "NO_UPDATE_NOTIFIER": "1",
        }  # fmt: skip
        subprocess.run(["bash", "-e", "-c", setup], cwd=work, env=environment, check=True, capture_output=True)
        log, code = run(
            render([script.rstrip("\n")] if "whole" in known else script.splitlines()), work, environment, known
        )
    if code == 0:
        sys.exit(f"{case.name}: the script succeeded")
    head = "Running with aegis on runner-1 (namespaces)\nChecked out 4f2a9c1d as main.\n"
    end = f"{RED}ERROR: Job failed: exit code {code}{RESET}\n"
    if known.get("reason") == "job_execution_timeout":
        end = f"{RED}ERROR: Job failed (job_execution_timeout): the job ran longer than its timeout{RESET}\n"
    return head + cleaned(log, folder, registry) + end


def run(script: bytes, work: pathlib.Path, environment: dict[str, str], known: dict[str, str]) -> tuple[str, int]:
    """What a job's script printed, and its code; 143 where it was stopped at its time."""
    file = work.parent / ".step"
    file.write_bytes(script)
    process = subprocess.Popen(
        ["bash", str(file)], cwd=work, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        out, _ = process.communicate(timeout=float(known.get("timeout", SECONDS)))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        out, _ = process.communicate()
        return out.decode("utf-8", "replace"), 143
    code = process.returncode
    return out.decode("utf-8", "replace"), code if code >= 0 else 128 - code


def cleaned(log: str, folder: str, registry: Registry) -> str:
    """Without this machine's paths and addresses."""
    log = log.replace(f"{folder}/builds/shop/.step", "/builds/shop/orders.tmp/.step-1")
    log = log.replace(f"{folder}/builds/shop/orders", PROJECT).replace(folder, "/home/dev")
    for path in os.environ["PATH"].split(os.pathsep):
        if not path.startswith(("/usr", "/bin", "/sbin")):
            log = log.replace(path, "/usr/local/bin").replace(str(pathlib.Path(path).parent), "/usr/local")
    log = log.replace(registry.url, "https://index.shop.example").replace(registry.tls_url, "https://tls.shop.example")
    return log.replace(f"127.0.0.1:{registry.port}", "index.shop.example").replace(
        f"127.0.0.1', port={registry.port}", "index.shop.example', port=443"
    )


def main() -> int:
    """Record what was asked for."""
    wanted = set(sys.argv[1:])
    with Registry() as registry:
        for case in sorted(ROOT.glob("*/*.sh")):
            log = case.with_suffix(".log")
            if (wanted and case.stem not in wanted) or (not wanted and log.exists()):
                continue
            if shutil.which("bash") is None:
                sys.exit("bash is needed")
            try:
                text = record(case, registry)
            except (subprocess.CalledProcessError, SystemExit) as error:
                sys.stderr.write(f"NOT RECORDED {case.stem}: {error} {getattr(error, 'stderr', b'')!r}\n")
                continue
            log.write_text(text, encoding="utf-8")
            sys.stderr.write(f"{case.parent.name}/{case.stem}: {len(text)} characters\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
