"""A service small enough to build in a test, locked to a wheel that an own index serves."""

from __future__ import annotations

import hashlib
from pathlib import Path

from support.tiny_packages import wheel

APP = """
from importlib.metadata import version

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": version("orders").encode()})
"""


def write_service(folder: Path, *, lock: str | None = None, options: str = "") -> Path:
    """A service `orders` in `folder` that needs `tiny` and `uvicorn` (also tiny)."""
    (folder / "src" / "orders").mkdir(parents=True)
    (folder / "seeds").mkdir()
    (folder / "seeds" / "orders.json").write_text("[]\n")
    (folder / "src" / "orders" / "__init__.py").write_text("")
    (folder / "src" / "orders" / "app.py").write_text(APP)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "orders"\nversion = "1.2.0"\ndependencies = ["tiny", "uvicorn"]\n\n'
        f'[tool.aegis]\napp = "orders.app:app"\ninclude = ["seeds"]\n{options}'
    )
    (folder / "requirements.lock").write_text(tiny_lock() if lock is None else lock)
    return folder


def tiny_wheels() -> list[tuple[str, bytes]]:
    return [wheel("tiny"), wheel("uvicorn", "0.1")]


def tiny_lock() -> str:
    digests = [hashlib.sha256(data).hexdigest() for _, data in tiny_wheels()]
    return f"tiny==1.0 --hash=sha256:{digests[0]}\nuvicorn==0.1 --hash=sha256:{digests[1]}\n"
