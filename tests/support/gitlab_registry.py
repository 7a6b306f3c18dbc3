"""The registries of a GitLab instance as its REST documentation describes them. Imports nothing from the project.

Rules and their pages: "Container registry API" (api/container_registry): repositories of a project, tags by name only, a
tag's details with digest and created_at, deletion of one tag; "Packages API" (api/packages): packages, their files with
file_sha256, 204 after deletion, 403 where a package may not be deleted; "REST API" (api/rest, pagination): `page` and `per_page` of at
most 100; "Authentication": PRIVATE-TOKEN, 401 without one that is valid, and 404 for a project that is not to be seen.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, Any]


@dataclass
class Registry:
    """One project's registries. Tags: name → (digest, created_at); packages: id → its entry; files: id → SHA-256 digests."""

    project: str
    token: str
    repositories: dict[int, str] = field(default_factory=dict)
    tags: dict[int, dict[str, tuple[str, str | None]]] = field(default_factory=dict)
    packages: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[int, list[str]] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    """Tags and packages (`#id`) that may not be deleted (protection rules, answered with 403)."""
    before: Callable[[str, str], None] = lambda _method, _path: None
    failing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def repository(self, path: str, **tags: tuple[str, str | None]) -> int:
        """Add a container repository."""
        number = len(self.repositories) + 1
        self.repositories[number], self.tags[number] = path, dict(tags)
        return number

    def package(self, name: str, version: str, created_at: str, *files: str, status: str = "default") -> int:
        """Add a package."""
        number = len(self.packages) + 100
        self.packages[number] = {
            "id": number, "name": name, "version": version, "package_type": "pypi", "status": status,
            "created_at": created_at,
        }  # fmt: skip
        self.files[number] = list(files)
        return number

    def answer(self, method: str, path: str, query: dict[str, list[str]], token: str) -> Answer:
        """Status and document."""
        if token != self.token:
            return 401, {"message": "401 Unauthorized"}
        parts = [unquote(part) for part in path.removeprefix("/api/v4/").split("/")]
        if parts[:2] != ["projects", self.project]:
            return 404, {"message": "404 Project Not Found"}
        rest = parts[2:]
        if rest[:2] == ["registry", "repositories"]:
            return self._registry(method, rest[2:], query)
        return self._packages(method, rest[1:], query) if rest[0] == "packages" else (404, {})

    def _registry(self, method: str, rest: list[str], query: dict[str, list[str]]) -> Answer:
        if not rest:
            return 200, _page([{"id": one, "path": path} for one, path in self.repositories.items()], query)
        tags = self.tags.get(int(rest[0]))
        if tags is None or rest[1] != "tags":
            return 404, {"message": "404 Not Found"}
        if len(rest) == 2:
            return 200, _page([{"name": name} for name in sorted(tags)], query)
        name = rest[2]
        if name not in tags:
            return 404, {"message": "404 Tag Not Found"}
        if method == "DELETE":
            if name in self.protected:
                return 403, {"message": "403 Forbidden"}
            del tags[name]
            return 200, None
        return 200, {"name": name, "digest": tags[name][0], "created_at": tags[name][1]}

    def _packages(self, method: str, rest: list[str], query: dict[str, list[str]]) -> Answer:
        if not rest:
            return 200, _page(list(self.packages.values()), query)
        number = int(rest[0])
        if number not in self.packages:
            return 404, {"message": "404 Package Not Found"}
        if rest[1:] == ["package_files"]:
            return 200, _page([{"id": 1, "file_sha256": one} for one in self.files[number]], query)
        if method == "DELETE":
            if f"#{number}" in self.protected:
                return 403, {"message": "403 Forbidden - Package is deletion protected."}
            del self.packages[number]
            return 204, None
        return 200, self.packages[number]


def _page(rows: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    size, page = min(100, int(query.get("per_page", ["20"])[0])), int(query.get("page", ["1"])[0])
    return rows[(page - 1) * size : page * size]


@contextmanager
def gitlab_registry(registry: Registry) -> Iterator[Registry]:
    """The instance on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            parts = urlsplit(self.path)
            registry.before(self.command, parts.path)
            registry.asked.append((self.command, parts.path))
            token = self.headers.get("PRIVATE-TOKEN", "")
            status, document = registry.answer(self.command, parts.path, parse_qs(parts.query), token)
            if any(one in parts.path for one in registry.failing):
                status, document = 502, None
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = do  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    registry.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
