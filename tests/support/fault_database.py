"""The story of `fault_story` with its ledger in PostgreSQL, and what can happen to a database and to two servers.

| action | what happens at the crossing |
| --- | --- |
| `slay` | the database's first process is killed (-9) and started again a moment later |
| `slay-backend` | the process that serves the writer is killed, upon which the database throws everybody out and recovers |
| `kill` | the server is killed; a standby, which waited from the beginning, goes on |
| `stop` | the server is frozen, the database gives up its sessions, the standby goes on, the frozen one wakes up again |
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from support.fault_story import Case, Stories, end
from support.postgres import Postgres
from support.server import DECLARATION, TeamServer

MOMENT = 0.3
"""For how long the database is away, in seconds."""
WITH_STANDBY = ("kill", "stop", "partial")


@dataclass(kw_only=True)
class DatabaseStories(Stories):
    """Every story has a PostgreSQL of its own, made by copying the first one's files."""

    databases: dict[Path, Postgres] = field(default_factory=dict)

    def prepare(self) -> None:
        """A PostgreSQL that is stopped in order. The data directory begins anew each time: it belongs to its database."""
        self.root.chmod(0o755)
        folder = self.root / "postgres"
        folder.mkdir(mode=0o755)
        self.first = Postgres(folder)
        self.first.start()
        self.first.stop("fast")

    def server(self, name: str) -> TeamServer:
        """See `Stories`."""
        root, folder = self.root / name, self.root / "databases" / name
        root.mkdir()
        folder.mkdir(parents=True)
        database = self.first.copied(folder)
        database.again()
        self.databases[root] = database
        return TeamServer(root=root, declaration=f"{DECLARATION}\nledger: {{postgres: '{database.database()}'}}\n")

    def ended(self, root: Path) -> None:
        """See `Stories`."""
        self.databases.pop(root).stop()
        shutil.rmtree(self.root / "databases" / root.name, ignore_errors=True)

    def more(self, server: TeamServer, case: Case) -> dict[str, str]:
        """See `Stories`."""
        return {
            "action": "slay" if case.action.startswith("slay") else case.action,
            "victim": str(server.root / "victim"),
        }

    @contextmanager
    def meanwhile(self, server: TeamServer, case: Case, mark: Path) -> Iterator[Callable[[], TeamServer | None]]:
        """See `Stories`: the database comes back, or the standby takes over."""
        if case.action in WITH_STANDBY:
            with self._standby(server, case, mark) as after:
                yield after
            return
        over = threading.Event()
        watcher = threading.Thread(target=self._bring_back, args=(server, case, mark, over))
        watcher.start()
        try:
            yield lambda: None
        finally:
            over.set()
            watcher.join(60)

    def _bring_back(self, server: TeamServer, case: Case, mark: Path, over: threading.Event) -> None:
        victim, database = server.root / "victim", self.databases[server.root]
        if case.action == "slay":
            victim.write_text(str(database.postmaster))
        while not mark.exists():
            if case.action == "slay-backend" and server.process is not None:
                with suppress(psycopg.Error):
                    victim.write_text(str(_backend(database, address_of(server))))
            if over.wait(0.02):
                return None
        if case.action == "slay":
            over.wait(MOMENT)
            for _ in range(20):
                with suppress(AssertionError):  # those of the killed one may not have seen it yet
                    return database.again()
                time.sleep(0.2)
        return None

    @contextmanager
    def _standby(self, first: TeamServer, case: Case, mark: Path) -> Iterator[Callable[[], TeamServer | None]]:
        other = TeamServer(root=first.root / "other", declaration=first.declaration, people=first.people)
        other.root.mkdir()
        (other.root / "data").symlink_to(first.data, target_is_directory=True)
        waiting = threading.Thread(target=self._wait_to_start, args=(first, other, case, mark))
        waiting.start()

        def after() -> TeamServer | None:
            waiting.join(90)
            assert not waiting.is_alive(), f"the standby did not start: {other.log[-1000:]}"
            other.trees = first.trees
            for tree in other.trees.values():
                tree._remote = tree._remote.replace(first.url, other.url)
            return other

        try:
            yield after
        finally:
            if not mark.exists():
                mark.write_text("over")
                end(first)
            waiting.join(90)
            end(other)
            end(first)

    def _wait_to_start(self, first: TeamServer, other: TeamServer, case: Case, mark: Path) -> None:
        while not (first.data / "server.json").exists():
            if mark.exists():
                break
            time.sleep(0.02)
        starting = threading.Thread(target=lambda: suppressed(other.start))
        starting.start()
        while not mark.exists():
            time.sleep(0.01)
        if case.action == "stop" and first.process is not None and first.process.poll() is None:
            for program in ("aegis writer", "aegis queue"):
                self.databases[first.root].drop_connections(address_of(first), program)
        starting.join(80)
        if case.action == "stop" and first.process is not None and first.process.poll() is None:
            os.kill(first.process.pid, signal.SIGCONT)
            with suppress(Exception):
                first.process.wait(30)


def _backend(database: Postgres, address: str) -> int:
    """The process that serves the writer's session."""
    with psycopg.connect(database.address(), autocommit=True) as connection:
        name = address.rsplit("/", 1)[1]
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'aegis writer'"
        row = connection.execute(asked, (name,)).fetchone()
    return int(row[0]) if row else 2**22


def address_of(server: TeamServer) -> str:
    """Where a story's database is."""
    return server.declaration.rsplit("'", 2)[1]


def suppressed(start: Callable[[], object]) -> None:
    """A standby of a story that ended otherwise does not start, and that is no error."""
    with suppress(AssertionError):
        start()
