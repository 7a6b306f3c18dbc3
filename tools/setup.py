"""Make the virtual environment from `requirements.lock`: hashes checked, nothing else installed.

Runs with the system's Python alone (3.11 or newer), says what it does, and is safe to repeat.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"setup: {text}\n")
    sys.stderr.flush()


def uv_requirement() -> str:
    """The lines of the lock that pin uv, which then installs the rest quickly."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("uv=="))
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1
    return "\n".join(lines[start:end]) + "\n"


def compile_once(python: pathlib.Path) -> None:
    """Compile what the server and its jobs load, once.

    Jobs may not write here, and where PYTHONDONTWRITEBYTECODE is set (as in many containers) nobody would: then every
    process of every job would compile it all again.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    loads = "import aegis.daemon.serve, aegis.cli.demo, aegis.bootstrap.demo, yaml.cyaml, uvloop, httptools, coverage"
    steps = (["-m", "compileall", "-q", "-j", "0", ROOT / "src"], ["-c", loads])
    for step in steps:
        if subprocess.run([python, *step], check=False, env=environment, cwd=ROOT).returncode:
            say("not everything could be compiled ahead; starts take longer")


def install(target: pathlib.Path, python: pathlib.Path) -> bool:
    """Install what the lock pins, and this project; whether that went well.

    uv trusts its own list of authorities. Behind a proxy with one of its own the system's list is the right one.
    """
    uv = [target / "bin" / "uv", "pip", "install", "-q", "--python", python]
    locked = ["--require-hashes", "-r", ROOT / "requirements.lock"]
    for more in ([], ["--system-certs"]):
        if subprocess.run([*uv, *more, *locked], check=False).returncode == 0:
            itself = ["--no-deps", "--no-build-isolation", "-e", ROOT]
            return subprocess.run([*uv, *more, *itself], check=False).returncode == 0
        if not more:
            say("that failed; trying once more with the authorities that this system trusts")
    return False


def main() -> int:
    """Set up the environment named on the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before anything checks the version
        say(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make setup PYTHON=python3.12")
        return 2
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")
    started = time.monotonic()
    python = target / "bin" / "python"
    if not python.exists():
        say(f"creating {target}")
        try:
            venv.create(target, with_pip=True, symlinks=True)
        except (subprocess.CalledProcessError, OSError) as error:
            say(f"cannot create a virtual environment ({error}); on Debian: apt-get install python3-venv")
            return 2
    if not (target / "bin" / "uv").exists():
        say("installing uv (pinned by hash)")
        pinned = target / "uv.lock.txt"
        pinned.write_text(uv_requirement())
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", pinned]
        if subprocess.run(pip, check=False).returncode:
            say("uv could not be installed; above stands why. Is the package index reachable from here?")
            return 2
    say("installing what requirements.lock pins")
    if not install(target, python):
        say("the packages could not be installed; above stands why. Is the package index reachable from here?")
        say("a proxy is taken from HTTPS_PROXY, an index from UV_DEFAULT_INDEX, authorities from SSL_CERT_FILE")
        return 2
    compile_once(python)
    (target / ".aegis-ready").touch()
    say(f"ready in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
