"""Writes `/app/start.py`: what serves an application on $HOST and $PORT with the server that its lock holds.

An ASGI application needs uvicorn. A WSGI application (Flask, or Django without ASGI) takes gunicorn, else waitress, else
werkzeug's own server, which `flask run` uses as well. `[tool.aegis] command` overrules all of it.
"""

from __future__ import annotations

from typing import Final

from aegis.build.application import Application
from aegis.core.errors import UserError

WSGI: Final = frozenset({"flask", "wsgi"})
_HEAD: Final = '''"""Serves the application on $HOST:$PORT (0.0.0.0:{port} where they are not set)."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "src"), os.path.join(HERE, "lib")]
HOST = os.environ.get("HOST") or "0.0.0.0"
PORT = int(os.environ.get("PORT") or "{port}")

'''
_UVICORN: Final = """import uvicorn  # noqa: E402

if __name__ == "__main__":
    uvicorn.run(
        {target!r},
        factory={factory},
        host=HOST,
        port=PORT,
        log_level=os.environ.get("LOG_LEVEL", "info").lower(),
        timeout_graceful_shutdown=20,
    )
"""
_GUNICORN: Final = """from gunicorn.app.wsgiapp import run  # noqa: E402

if __name__ == "__main__":
    sys.argv = ["gunicorn", "--bind", f"{{HOST}}:{{PORT}}", "--worker-tmp-dir", "/dev/shm", {called!r}]
    run()
"""
_WAITRESS: Final = """import importlib  # noqa: E402

import waitress  # noqa: E402

if __name__ == "__main__":
    found = getattr(importlib.import_module({module!r}), {name!r})
    waitress.serve(found(){unless} found, host=HOST, port=PORT)
"""
_WERKZEUG: Final = """import importlib  # noqa: E402

from werkzeug.serving import run_simple  # noqa: E402

if __name__ == "__main__":
    found = getattr(importlib.import_module({module!r}), {name!r})
    run_simple(HOST, PORT, found(){unless} found, threaded=True)
"""


def chosen_server(locked: set[str], *, has_base: bool) -> str:
    """Which servers there are, by name, separated by spaces; a base may hold what the lock does not name."""
    known = [one for one in ("uvicorn", "gunicorn", "waitress", "werkzeug") if one in locked]
    return " ".join([*known, *(["uvicorn"] if has_base and "uvicorn" not in known else [])])


def start_script(application: Application, *, port: int, server: str) -> bytes:
    """The script; `UserError` where there is nothing to serve, or nothing to serve it with."""
    serves = application.serves
    if serves is None:
        raise UserError(
            "no-app", "no FastAPI, Starlette, Flask or Django application was found in the source",
            hint='say what serves: [tool.aegis] app = "orders.app:app", or command = ["python", "-m", "orders"]',
        )  # fmt: skip
    module, _, name = serves.target.partition(":")
    called = serves.target + ("()" if serves.factory else "")
    unless = " if True else" if serves.factory else " if False else"
    if serves.framework in WSGI:
        forms = (("gunicorn", _GUNICORN), ("waitress", _WAITRESS), ("werkzeug", _WERKZEUG))
        wanted = "gunicorn, waitress or werkzeug"
    else:
        forms = (("uvicorn", _UVICORN),)  # type: ignore[assignment]
        wanted = "uvicorn"
    form = next((text for one, text in forms if one in server.split()), "")
    if not form:
        raise UserError(
            "no-server", f"{serves.target} needs a server, and {wanted} is not in the lock",
            hint=f"add {wanted.split(',')[0]} to the dependencies and lock again, or set [tool.aegis] command",
        )  # fmt: skip
    body = form.format(
        target=serves.target, factory=serves.factory, called=called, module=module, name=name, unless=unless
    )
    return (_HEAD.format(port=port) + body).encode()
