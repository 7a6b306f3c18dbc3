"""A small instance on loopback that answers as GitLab's REST interface does for files, commits, releases and templates.

Rules and their sources (GitLab's REST documentation): a commit by any ref (`repository/commits/:sha`), a raw file
(`repository/files/:path/raw`, 404 where it is not), the tree in pages of at most 100 (`repository/tree`), releases, templates
(`templates/gitlab_ci_ymls/:key`), 404 for a private project without its token.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Instance:
    """What the instance holds. `projects`: path → ref → files; `tokens`: project → the token that it needs."""

    projects: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    releases: dict[str, list[str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    """Token → user name (`GET /user`, 401 without a valid token)."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def commit(self, project: str, ref: str) -> str | None:
        """A made-up commit id that depends on the ref alone."""
        refs = self.projects.get(project, {})
        if ref == "HEAD":
            ref = "main"
        if ref in refs:
            return ref.encode().hex().ljust(40, "0")[:40]
        return ref if any(self.commit(project, one) == ref for one in refs if len(ref) == 40 and one != ref) else None

    def at(self, project: str, commit: str) -> dict[str, bytes]:
        """The files of a commit."""
        return next((files for ref, files in self.projects[project].items() if self.commit(project, ref) == commit), {})

    def answer(self, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        if path in self.pages:
            return 200, self.pages[path]
        parts = [unquote(part) for part in path.removeprefix("/api/v4/").split("/")]
        if parts == ["user"]:
            name = self.people.get(headers.get("private-token", ""))
            return (200, json.dumps({"username": name, "name": name.title()}).encode()) if name else (401, b"{}")
        if parts[0] == "templates":
            found = self.templates.get(parts[2])
            return (200, json.dumps({"name": parts[2], "content": found}).encode()) if found else (404, b"{}")
        if len(parts) < 3 or parts[0] != "projects" or parts[1] not in self.projects:
            return 404, b'{"message":"404 Project Not Found"}'
        project = parts[1]
        needed = self.tokens.get(project)
        if needed and needed not in {headers.get("private-token"), headers.get("job-token")}:
            return 404, b'{"message":"404 Project Not Found"}'
        if parts[2:4] == ["repository", "commits"]:
            commit = self.commit(project, parts[4])
            return (200, json.dumps({"id": commit}).encode()) if commit else (404, b"{}")
        if parts[2:4] == ["repository", "files"]:
            data = self.at(project, query["ref"][0]).get(parts[4])
            return (200, data) if data is not None else (404, b"{}")
        page = int(query.get("page", ["1"])[0])
        rows: list[Any] = []
        if parts[2:4] == ["repository", "tree"]:
            rows = [{"path": one, "type": "blob"} for one in sorted(self.at(project, query["ref"][0]))]
        if parts[2:] == ["releases"]:
            rows = [{"tag_name": one} for one in self.releases.get(project, [])]
        return 200, json.dumps(rows[(page - 1) * 100 : page * 100]).encode()


@contextmanager
def serving(instance: Instance) -> Iterator[Instance]:
    """The instance on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            instance.asked.append((self.path, headers))
            status, body = instance.answer(parts.path, parse_qs(parts.query), headers)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    instance.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield instance
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
