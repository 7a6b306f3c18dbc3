"""A package index and a web server on loopback for the recorded failures: it refuses in every way that an index can."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import io
import ipaddress
import pathlib
import ssl
import tempfile
import threading
import zipfile
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WHEELS = {
    ("alpha", "1.0"): ("beta<2",),
    ("beta", "1.0"): (),
    ("beta", "2.0"): (),
    ("gamma", "1.0"): ("beta>=2",),
    ("delta", "1.0"): ("no-such-thing>=1",),
}


def wheel(name: str, version: str, needs: tuple[str, ...], python: str = "") -> bytes:
    """A pure wheel, always the same bytes."""
    needed = "".join(f"Requires-Dist: {one}\n" for one in needs)
    wanted = f"Requires-Python: {python}\n" if python else ""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}{needed}"
    files = {
        f"{name}.py": f"VERSION = '{version}'\n",
        f"{name}-{version}.dist-info/METADATA": metadata,
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-{version}.dist-info/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """`/status/N/…` answers N; `/simple/` is an index."""

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """Answer."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "status":
            return self.answer(int(parts[1]), b"no\n")
        if parts[0] == "simple" and len(parts) > 1:
            files = [(name, version) for name, version in (*WHEELS, ("omega", "3.0")) if name == parts[1]]
            if files:
                links = "".join(self.link(*one) for one in files)
                return self.answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
        if parts[0] == "files":
            name, version = parts[1].split("-")[:2]
            return self.answer(200, self.wheel(name, version))
        return self.answer(404, b"not here\n")

    do_PUT = do_POST = do_HEAD = do_GET  # noqa: N815 - names that the library looks for

    def wheel(self, name: str, version: str) -> bytes:
        """The bytes of a wheel."""
        python = ">=3.99" if name == "omega" else ""
        return wheel(name, version, WHEELS.get((name, version), ()), python)

    def link(self, name: str, version: str) -> str:
        """A wheel's line in the index."""
        digest = hashlib.sha256(self.wheel(name, version)).hexdigest()
        wanted = ' data-requires-python="&gt;=3.99"' if name == "omega" else ""
        return f'<a href="/files/{name}-{version}-py3-none-any.whl#sha256={digest}"{wanted}>{name}-{version}-py3-none-any.whl</a>\n'

    def answer(self, code: int, body: bytes, kind: str = "text/plain") -> None:
        """Send it."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if code == 429:
            self.send_header("Retry-After", "1")
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Registry:
    """The server, once plain and once with a certificate that nobody trusts."""

    def __init__(self) -> None:
        self._servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        self._servers[1].socket = self._context().wrap_socket(self._servers[1].socket, server_side=True)
        self.port = self._servers[0].server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.tls_url = f"https://127.0.0.1:{self._servers[1].server_port}"

    @staticmethod
    def _context() -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            pem = pathlib.Path(folder, "pem")
            pem.write_bytes(
                certificate.public_bytes(serialization.Encoding.PEM)
                + key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            context.load_cert_chain(pem)
        return context

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
