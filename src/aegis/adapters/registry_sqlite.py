"""`ImageStore` and `IndexStore` in one SQLite file: who refers to which content.

Every call is one transaction with `synchronous=FULL`. One connection per thread; writers wait for one another
inside SQLite. The file can be rebuilt from nothing: it is a store of record, and belongs into backups.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aegis.core.errors import Conflict, ExternalError
from aegis.registry.ports import KeptPage, ListedImage, ManifestRecord, PackageFile, TaggedImage

_BUSY_SECONDS: Final = 10.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blobs (
  repository TEXT, digest TEXT, size INTEGER NOT NULL, linked_at REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_by_digest ON blobs (digest);
CREATE TABLE IF NOT EXISTS manifests (
  id INTEGER PRIMARY KEY, repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
  size INTEGER NOT NULL, subject TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL,
  refs TEXT NOT NULL, pushed_at REAL NOT NULL DEFAULT 0, UNIQUE (repository, digest));
CREATE INDEX IF NOT EXISTS manifests_by_type ON manifests (artifact_type) WHERE artifact_type != '';
CREATE INDEX IF NOT EXISTS manifests_by_subject ON manifests (repository, subject) WHERE subject != '';
CREATE INDEX IF NOT EXISTS manifests_by_digest ON manifests (digest);
CREATE TABLE IF NOT EXISTS tags (
  repository TEXT, tag TEXT, digest TEXT NOT NULL, PRIMARY KEY (repository, tag)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository, digest);
CREATE TABLE IF NOT EXISTS files (
  id INTEGER PRIMARY KEY, index_name TEXT NOT NULL, project TEXT NOT NULL, version TEXT NOT NULL,
  filename TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, metadata_digest TEXT NOT NULL,
  requires_python TEXT NOT NULL, uploaded_at TEXT NOT NULL, uploaded_by TEXT NOT NULL, yanked TEXT,
  removed INTEGER NOT NULL DEFAULT 0, provenance_digest TEXT NOT NULL DEFAULT '', UNIQUE (index_name, filename));
CREATE INDEX IF NOT EXISTS files_by_project ON files (index_name, project);
CREATE INDEX IF NOT EXISTS files_by_name ON files (project);
CREATE INDEX IF NOT EXISTS files_by_digest ON files (digest);
CREATE INDEX IF NOT EXISTS files_by_metadata ON files (metadata_digest);
CREATE INDEX IF NOT EXISTS files_by_provenance ON files (provenance_digest);
CREATE TABLE IF NOT EXISTS loose (digest TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pages (
  index_name TEXT, project TEXT, etag TEXT NOT NULL, media_type TEXT NOT NULL, body BLOB NOT NULL,
  fetched_at TEXT NOT NULL, PRIMARY KEY (index_name, project)) WITHOUT ROWID;
"""
_ADDED: Final = {
    "blobs": ("linked_at", "REAL NOT NULL DEFAULT 0"),
    "manifests": ("pushed_at", "REAL NOT NULL DEFAULT 0"),
    "files": ("provenance_digest", "TEXT NOT NULL DEFAULT ''"),
}
"""Columns that an older file lacks; SQLite adds them without touching a row."""
_MANIFEST: Final = "SELECT digest, media_type, size, subject, artifact_type, annotations, refs FROM manifests"
_FILE: Final = (
    "SELECT project, version, filename, digest, size, metadata_digest, requires_python, uploaded_at, uploaded_by,"
    " yanked, provenance_digest FROM files"
)


class _Database:
    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.now = now
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.transaction() as connection:
            for table, (column, form) in _ADDED.items():
                present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                if present and column not in present:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {form}")
            connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close every thread's connection; nobody may use the store afterwards."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _failed(error) from error

    def rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _failed(error) from error

    def change(self, statement: str, values: tuple[Any, ...]) -> bool:
        with self.transaction() as connection:
            return connection.execute(statement, values).rowcount > 0

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
            with self._guard:
                self._open.append(connection)
        return connection


class _Store:
    """What both stores share: a file, and what was let go of."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._database = _Database(path, now)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def loose(self, before: datetime) -> tuple[str, ...]:
        """Digests that were let go of before then."""
        rows = self._database.rows("SELECT digest FROM loose WHERE since < ?", (before.timestamp(),))
        return tuple(row[0] for row in rows)

    def tighten(self, digest: str) -> None:
        """It is not loose any more."""
        self._database.change("DELETE FROM loose WHERE digest = ?", (digest,))

    def _let_go(self, connection: sqlite3.Connection, digests: Iterable[str]) -> None:
        now = self._database.now()
        connection.executemany("INSERT OR REPLACE INTO loose VALUES (?, ?)", [(one, now) for one in digests if one])


class SqliteImages(_Store):
    """`ImageStore` in the SQLite file at `path`."""

    def link_blob(self, repository: str, digest: str, size: int) -> None:
        """The repository has that blob from now on; no error when it had it."""
        if self.blob_size(repository, digest) != size:
            values = (repository, digest, size, self._database.now())
            self._database.change("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?)", values)

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a blob that the repository has, else None."""
        rows = self._database.rows("SELECT size FROM blobs WHERE repository = ? AND digest = ?", (repository, digest))
        return rows[0][0] if rows else None

    def unlink_blob(self, repository: str, digest: str) -> bool:
        """The repository has it no longer; whether it had."""
        with self._database.transaction() as connection:
            sql = "DELETE FROM blobs WHERE repository = ? AND digest = ?"
            gone = connection.execute(sql, (repository, digest)).rowcount > 0
            if gone:
                self._let_go(connection, [digest])
            return gone

    def unlink_unreferenced(self, repository: str, before: datetime) -> int:
        """Let go of blobs that came before then and that no manifest of the repository needs; how many."""
        sql = (
            "DELETE FROM blobs WHERE repository = ? AND linked_at < ? AND digest NOT IN"
            " (SELECT value FROM manifests, json_each(manifests.refs) WHERE repository = ?) RETURNING digest"
        )
        with self._database.transaction() as connection:
            rows = connection.execute(sql, (repository, before.timestamp(), repository)).fetchall()
            self._let_go(connection, [row[0] for row in rows])
            return len(rows)

    def put_manifest(self, repository: str, record: ManifestRecord, *, tag: str | None, fixed: bool = False) -> None:
        """Keep a manifest and, in the same step, point `tag` at it; a fixed tag that points elsewhere: `Conflict`."""
        with self._database.transaction() as connection:
            if tag is not None and fixed:
                sql = "SELECT digest FROM tags WHERE repository = ? AND tag = ?"
                present = connection.execute(sql, (repository, tag)).fetchone()
                if present is not None and present[0] != record.digest:
                    raise Conflict("tag-fixed", f"{repository}:{tag} points at {present[0]}")
            connection.execute(
                "INSERT INTO manifests"
                " (repository, digest, media_type, size, subject, artifact_type, annotations, refs, pushed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (repository, digest) DO UPDATE SET pushed_at = excluded.pushed_at",
                (
                    repository, record.digest, record.media_type, record.size, record.subject, record.artifact_type,
                    json.dumps(dict(record.annotations)), json.dumps(record.references), self._database.now(),
                ),
            )  # fmt: skip
            if tag is not None:
                connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (repository, tag, record.digest))

    def manifest(self, repository: str, digest: str) -> ManifestRecord | None:
        """The manifest with that digest in the repository."""
        rows = self._database.rows(f"{_MANIFEST} WHERE repository = ? AND digest = ?", (repository, digest))
        return _record(rows[0]) if rows else None

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest a tag points at."""
        rows = self._database.rows("SELECT digest FROM tags WHERE repository = ? AND tag = ?", (repository, tag))
        return rows[0][0] if rows else None

    def tags(self, repository: str, *, after: str = "", limit: int = 0) -> tuple[str, ...] | None:
        """Tags beyond `after`, letters without regard to case, at most `limit` (0: all); None: no such repository."""
        rows = self._database.rows(
            "SELECT tag FROM tags WHERE repository = ? AND (lower(tag), tag) > (lower(?), ?)"
            " ORDER BY lower(tag), tag LIMIT ?",
            (repository, after, after, limit or -1),
        )
        if not rows and not self._database.rows("SELECT 1 FROM manifests WHERE repository = ? LIMIT 1", (repository,)):
            return None
        return tuple(row[0] for row in rows)

    def tags_of(self, repository: str, digest: str) -> tuple[str, ...]:
        """The tags that point at a digest."""
        sql = "SELECT tag FROM tags WHERE repository = ? AND digest = ? ORDER BY lower(tag), tag"
        return tuple(row[0] for row in self._database.rows(sql, (repository, digest)))

    def untag(self, repository: str, tag: str) -> bool:
        """Forget a tag; whether it was there."""
        return self._database.change("DELETE FROM tags WHERE repository = ? AND tag = ?", (repository, tag))

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Forget a manifest and the tags that point at it; whether it was there."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", (repository, digest))
            sql = "DELETE FROM manifests WHERE repository = ? AND digest = ?"
            gone = connection.execute(sql, (repository, digest)).rowcount > 0
            if gone:
                self._let_go(connection, [digest])
            return gone

    def listing(self, repository: str) -> tuple[ListedImage, ...]:
        """All manifests of a repository, in the order in which they were first pushed."""
        tags: dict[str, list[str]] = {}
        sql = "SELECT tag, digest FROM tags WHERE repository = ? ORDER BY lower(tag), tag"
        for tag, digest in self._database.rows(sql, (repository,)):
            tags.setdefault(digest, []).append(tag)
        columns = _MANIFEST.replace(" FROM", ", pushed_at FROM")
        rows = self._database.rows(f"{columns} WHERE repository = ? ORDER BY id", (repository,))
        return tuple(
            ListedImage(
                record=_record(row[:-1]),
                tags=tuple(tags.get(row[0], ())),
                pushed_at=datetime.fromtimestamp(row[-1], UTC),
            )
            for row in rows
        )

    def typed(self, artifact_type: str) -> tuple[TaggedImage, ...]:
        """All tags of manifests of that artifact type, by repository and tag."""
        sql = (
            "SELECT t.repository, t.tag, t.digest FROM manifests m JOIN tags t"
            " ON t.repository = m.repository AND t.digest = m.digest WHERE m.artifact_type = ? AND m.artifact_type != ''"
            " ORDER BY t.repository, t.tag"
        )
        rows = self._database.rows(sql, (artifact_type,))
        return tuple(TaggedImage(repository=row[0], tag=row[1], digest=row[2]) for row in rows)

    def referrers(self, repository: str, subject: str) -> tuple[ManifestRecord, ...]:
        """Manifests whose subject is that digest, oldest first."""
        rows = self._database.rows(
            f"{_MANIFEST} WHERE repository = ? AND subject = ? ORDER BY id", (repository, subject)
        )
        return tuple(_record(row) for row in rows)

    def repositories(self, *, after: str = "", limit: int = 0) -> tuple[str, ...]:
        """Repositories that have a manifest, in the order of their names."""
        sql = "SELECT DISTINCT repository FROM manifests WHERE repository > ? ORDER BY repository LIMIT ?"
        return tuple(row[0] for row in self._database.rows(sql, (after, limit or -1)))

    def in_use(self, digest: str) -> bool:
        """Whether any repository has that blob or manifest."""
        sql = "SELECT 1 FROM blobs WHERE digest = ? UNION SELECT 1 FROM manifests WHERE digest = ? LIMIT 1"
        return bool(self._database.rows(sql, (digest, digest)))


class SqliteIndexes(_Store):
    """`IndexStore` in the SQLite file at `path` (which may be that of the images)."""

    def in_use(self, digest: str) -> bool:
        """Whether any index has a file with that content, metadata or provenance."""
        sql = (
            "SELECT 1 FROM files WHERE removed = 0"
            " AND (digest = ? OR metadata_digest = ? OR provenance_digest = ?) LIMIT 1"
        )
        return bool(self._database.rows(sql, (digest, digest, digest)))

    def add(self, index: str, file: PackageFile) -> None:
        """Add a file; `Conflict` when the index has, or ever had, one of that name with another digest."""
        with self._database.transaction() as connection:
            sql = "SELECT digest, removed FROM files WHERE index_name = ? AND filename = ?"
            present = connection.execute(sql, (index, file.filename)).fetchone()
            if present is not None and present[0] != file.digest:
                raise Conflict("file-exists", f"{index} has had another {file.filename}")
            if present is not None:
                sql = "UPDATE files SET removed = 0 WHERE index_name = ? AND filename = ?"
                connection.execute(sql, (index, file.filename))
                return
            connection.execute(
                "INSERT INTO files (index_name, project, version, filename, digest, size, metadata_digest,"
                " requires_python, uploaded_at, uploaded_by, yanked, provenance_digest)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    index, file.project, file.version, file.filename, file.digest, file.size, file.metadata_digest,
                    file.requires_python, file.uploaded_at.astimezone(UTC).isoformat(), file.uploaded_by, file.yanked,
                    file.provenance_digest,
                ),
            )  # fmt: skip

    def files(self, index: str, project: str) -> tuple[PackageFile, ...]:
        """Files of a project by normalised name, in order of upload; empty where there is no such project."""
        sql = f"{_FILE} WHERE index_name = ? AND project = ? AND removed = 0 ORDER BY id"
        return tuple(_file(row) for row in self._database.rows(sql, (index, project)))

    def file(self, index: str, filename: str) -> PackageFile | None:
        """One file."""
        rows = self._database.rows(f"{_FILE} WHERE index_name = ? AND filename = ? AND removed = 0", (index, filename))
        return _file(rows[0]) if rows else None

    def knows(self, project: str) -> bool:
        """Whether any index has, or ever had, a file of that project."""
        return bool(self._database.rows("SELECT 1 FROM files WHERE project = ? LIMIT 1", (project,)))

    def had(self, index: str, project: str) -> bool:
        """Whether one index has, or ever had, a file of that project."""
        sql = "SELECT 1 FROM files WHERE index_name = ? AND project = ? LIMIT 1"
        return bool(self._database.rows(sql, (index, project)))

    def page(self, index: str, project: str) -> KeptPage | None:
        """The page of a mirrored project that was kept."""
        sql = "SELECT etag, media_type, body, fetched_at FROM pages WHERE index_name = ? AND project = ?"
        rows = self._database.rows(sql, (index, project))
        if not rows:
            return None
        etag, media_type, body, at = rows[0]
        return KeptPage(etag=etag, media_type=media_type, body=body, fetched_at=datetime.fromisoformat(at))

    def keep_page(self, index: str, project: str, page: KeptPage) -> None:
        """Keep a page of a mirrored project in place of the one before."""
        values = (index, project, page.etag, page.media_type, page.body, page.fetched_at.astimezone(UTC).isoformat())
        self._database.change("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?)", values)

    def projects(self, index: str) -> tuple[str, ...]:
        """The normalised names of all projects, sorted."""
        sql = "SELECT DISTINCT project FROM files WHERE index_name = ? AND removed = 0 ORDER BY project"
        return tuple(row[0] for row in self._database.rows(sql, (index,)))

    def yank(self, index: str, filename: str, reason: str | None) -> bool:
        """Yank with a reason, or None to take it back; whether the file was there."""
        sql = "UPDATE files SET yanked = ? WHERE index_name = ? AND filename = ? AND removed = 0"
        return self._database.change(sql, (reason, index, filename))

    def remove(self, index: str, filename: str) -> bool:
        """Forget a file but not its name; whether it was there."""
        sql = (
            "UPDATE files SET removed = 1 WHERE index_name = ? AND filename = ? AND removed = 0"
            " RETURNING digest, metadata_digest, provenance_digest"
        )
        with self._database.transaction() as connection:
            rows = connection.execute(sql, (index, filename)).fetchall()
            self._let_go(connection, [digest for row in rows for digest in row])
            return bool(rows)


def _record(row: tuple[Any, ...]) -> ManifestRecord:
    digest, media_type, size, subject, artifact_type, annotations, references = row
    return ManifestRecord(
        digest=digest, media_type=media_type, size=size, subject=subject, artifact_type=artifact_type,
        annotations=json.loads(annotations), references=tuple(json.loads(references)),
    )  # fmt: skip


def _file(row: tuple[Any, ...]) -> PackageFile:
    project, version, filename, digest, size, metadata, requires, at, by, yanked, provenance = row
    return PackageFile(
        project=project, version=version, filename=filename, digest=digest, size=size, metadata_digest=metadata,
        requires_python=requires, uploaded_at=datetime.fromisoformat(at), uploaded_by=by, yanked=yanked,
        provenance_digest=provenance,
    )  # fmt: skip


def _failed(error: sqlite3.Error) -> ExternalError:
    return ExternalError("registry-store", f"the registry's database failed: {error}", retryable=True)
