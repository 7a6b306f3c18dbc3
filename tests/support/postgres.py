"""A PostgreSQL of a test session's own: Debian's, in a temporary directory, on loopback alone, as a user that is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "postgres"


def programs() -> Path:
    """Where PostgreSQL's own programs are; Debian keeps them apart from PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    assert other, "PostgreSQL is missing: python tools/components.py"
    return Path(other).parent


class Postgres:
    """A running server. `database` makes an empty database and answers its address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = programs()
        self._as_root = os.geteuid() == 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def _run(self, *arguments: str | Path) -> None:
        command = [str(one) for one in arguments]
        if self._as_root:
            user = pwd.getpwnam(USER)
            command = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", *command]
        done = subprocess.run(
            command, cwd=self._folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env={"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    @property
    def postmaster(self) -> int:
        """The process of the server itself."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def again(self) -> None:
        """Start it on what is there, after it was killed; it recovers by its log first."""
        log, data = self._folder / "log", self._folder / "data"
        self._run(self._bin / "pg_ctl", "-D", data, "-l", log, "-w", "-o", self._settings, "start")

    def copied(self, folder: Path) -> Postgres:
        """One of its own on a copy of this one's files; this one must be stopped."""
        subprocess.run(["cp", "-a", f"{self._folder}/.", str(folder)], check=True)
        return Postgres(folder)

    @property
    def _settings(self) -> str:
        return f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c shared_buffers=16MB"

    def start(self) -> None:
        """Make it and wait until it answers."""
        if self._as_root:
            user = pwd.getpwnam(USER)
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        data = self._folder / "data"
        self._run(
            self._bin / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        self.again()

    def stop(self, mode: str = "immediate") -> None:
        """End it."""
        self._run(self._bin / "pg_ctl", "-D", self._folder / "data", "-m", mode, "stop")

    def address(self, name: str = "postgres") -> str:
        """The address of a database."""
        return f"postgres://{USER}@127.0.0.1:{self.port}/{name}"

    def database(self) -> str:
        """A new, empty database."""
        name = f"ledger_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def drop_connections(self, address: str, program: str) -> int:
        """Cut the connections of a program to a database, as a broken network would; how many."""
        name = address.rsplit("/", 1)[1]
        with psycopg.connect(self.address(), autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
                (name, program),
            ).fetchall()
        return len(rows)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for as long as the context is open."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
