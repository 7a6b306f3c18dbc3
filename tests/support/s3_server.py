"""An object store as S3's API reference describes it, in memory: only what clients of one bucket need.

Every request's Signature Version 4 is computed here once more ("Authenticating Requests", Amazon S3 API reference), and a body
must have the hash that its header says ("XAmzContentSHA256Mismatch"). Parts are unseen before "CompleteMultipartUpload".
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ACCESS, SECRET, BUCKET = "simulated", "not-" + "a-secret", "aegis"


class Store(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.numbers = itertools.count(1)
        self.failing = 0
        self.page = 1000
        self.listed = 0
        self.begins: dict[str, str] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def s3_server() -> Iterator[Store]:
    store = Store()
    thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.shutdown()
        store.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.failing > 0:
            self.server.failing -= 1
            self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
            return
        if not self.signed(parts.path, query):
            self.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            return
        if hashlib.sha256(body).hexdigest() != self.headers["x-amz-content-sha256"]:
            self.answer(400, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
            return
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            return
        with self.server.lock:
            self.route(key, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do  # noqa: N815 - the names that http.server calls

    def route(self, key: str, query: dict[str, str], body: bytes) -> None:
        store = self.server
        if self.command == "POST" and "uploads" in query:
            name = f"upload-{next(store.numbers)}"
            store.parts[name] = {}
            self.answer(200, f"<R><UploadId>{name}</UploadId></R>".encode())
        elif self.command == "POST":
            wanted = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
            parts = store.parts.pop(query["uploadId"])
            store.objects[key] = b"".join(parts[number] for number in wanted)
            self.answer(200, b"<R/>")
        elif self.command == "PUT" and "uploadId" in query:
            store.parts[query["uploadId"]][int(query["partNumber"])] = body
            self.answer(200, ETag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        elif self.command == "PUT":
            store.objects[key] = body
            self.answer(200)
        elif self.command == "DELETE":
            store.parts.pop(query["uploadId"], None) if "uploadId" in query else store.objects.pop(key, None)
            self.answer(204)
        elif not key:
            self.list(query)
        elif key not in store.objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.read(store.objects[key])

    def read(self, data: bytes) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match:
            part = data[int(match[1]) : int(match[2]) + 1]
            self.answer(206, part, Content_Range=f"bytes {match[1]}-{match[2]}/{len(data)}")
        else:
            self.answer(200, data)

    def list(self, query: dict[str, str]) -> None:
        """ListObjectsV2: keys in UTF-8 order, beyond `start-after`; a continuation token takes its place."""
        self.server.listed += 1
        beyond = "" if "continuation-token" in query else query.get("start-after", "")
        begin = self.server.begins.get(query.get("continuation-token", ""), beyond)
        names = sorted(one for one in self.server.objects if one.startswith(query["prefix"]) and one > begin)
        page, more = names[: self.server.page], self.server.page < len(names)
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        rows = "".join(f"<Contents><Key>{one}</Key><LastModified>{at}</LastModified></Contents>" for one in page)
        name = f"token-{next(self.server.numbers)}"
        if more:
            self.server.begins[name] = page[-1]
        token = f"<NextContinuationToken>{name}</NextContinuationToken>" if more else ""
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        self.answer(200, f"<ListBucketResult {space}>{rows}{token}</ListBucketResult>".encode())

    def signed(self, path: str, query: dict[str, str]) -> bool:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)",
            self.headers.get("Authorization", ""),
        )
        if not found or found[1] != ACCESS:
            return False
        names = found[4].split(";")
        lines = [f"{name}:{self.headers[name].strip()}" for name in names]
        asked = "&".join(
            sorted(f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}" for key, value in query.items())
        )
        whole = "\n".join([self.command, path, asked, *lines, "", found[4], self.headers["x-amz-content-sha256"]])
        scope = f"{found[2]}/{found[3]}/s3/aws4_request"
        digest = hashlib.sha256(whole.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.headers['x-amz-date']}\n{scope}\n{digest}"
        key = ("AWS4" + SECRET).encode()
        for part in (found[2], found[3], "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), found[5])
