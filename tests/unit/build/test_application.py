"""What is found in a project's source, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.adapters.tree_directory import DirectoryTree
from aegis.build.application import Application, Found, find_application
from aegis.build.starting import chosen_server, start_script
from aegis.core.errors import UserError


def project(folder: Path, files: dict[str, str]) -> Application:
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return find_application(DirectoryTree(folder), name="orders")


FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
STARLETTE = "import starlette.applications as s\napplication: s.Starlette = s.Starlette(routes=[])\n"
FACTORY = "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n"
UNTYPED = "from fastapi import FastAPI as F\ndef make_app():\n    made = F()\n    return made\n"
MADE = "from fastapi import FastAPI\ndef build(x) -> FastAPI:\n    return FastAPI()\napi = build(1)\n"
NEEDS = "from fastapi import FastAPI\ndef make_app(settings) -> FastAPI:\n    return FastAPI()\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"src/orders/app.py": FASTAPI}, Found(target="orders.app:app", framework="fastapi")),
        (
            {"orders/__init__.py": "", "orders/web.py": STARLETTE},
            Found(target="orders.web:application", framework="starlette"),
        ),
        ({"main.py": FASTAPI}, Found(target="main:app", framework="fastapi")),
        ({"src/orders/__init__.py": FACTORY}, Found(target="orders:create_app", framework="fastapi", factory=True)),
        ({"src/orders/web.py": UNTYPED}, Found(target="orders.web:make_app", framework="fastapi", factory=True)),
        ({"src/orders/web.py": NEEDS}, None),
        ({"src/orders/web.py": MADE}, Found(target="orders.web:api", framework="fastapi")),
        ({"src/orders/web.py": "class FastAPI: ...\n"}, None),
        ({"src/orders/web.py": "FastAPI( broken"}, None),
        (
            {"src/orders/other.py": FASTAPI, "src/orders/main.py": FASTAPI, "src/orders/make.py": FACTORY},
            Found(target="orders.main:app", framework="fastapi"),
        ),
    ],
)
def test_the_object_that_serves_is_found_in_the_source(
    tmp_path: Path, files: dict[str, str], expected: Found | None
) -> None:
    assert project(tmp_path, files).serves == expected


def test_what_was_chosen_and_passed_over_is_said(tmp_path: Path) -> None:
    found = project(tmp_path, {"src/o/main.py": FASTAPI, "src/o/extra.py": STARLETTE})
    assert "app o.main:app: fastapi, found in the source (passed over: o.extra:application)" in found.notes
    assert "src layout, 2 files" in found.notes


def test_in_a_flat_layout_tests_tools_and_environments_stay_out(tmp_path: Path) -> None:
    files = ["orders/__init__.py", "orders/data.json", "tests/__init__.py", "docs/__init__.py", "setup.py", "run.py"]
    files += [".venv/x/__init__.py", "env9/pyvenv.cfg", "env9/__init__.py", "orders/__pycache__/x.pyc", "plain/x.py"]
    found = project(tmp_path, dict.fromkeys(files, ""))
    assert sorted(found.code) == ["orders/__init__.py", "orders/data.json", "run.py"]


def test_links_that_lead_outside_stay_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    inside = tmp_path / "project"
    (inside / "src" / "orders").mkdir(parents=True)
    (inside / "src" / "orders" / "leak.py").symlink_to(tmp_path / "secret")
    (inside / "src" / "orders" / "whole").symlink_to(tmp_path)
    found = project(inside, {"src/orders/app.py": FASTAPI})
    assert sorted(found.code) == ["orders/app.py"]


def test_declared_data_is_carried_and_missing_data_is_an_error(tmp_path: Path) -> None:
    declared = '[tool.aegis]\ninclude = ["seeds", "one.txt"]\n'
    files = {"src/o/a.py": "", "seeds/deep/x.json": "", "one.txt": "", "pyproject.toml": declared}
    assert [one.path for one in project(tmp_path, files).data] == ["seeds/deep/x.json", "one.txt"]
    with pytest.raises(UserError, match="not there"):
        project(tmp_path, {"pyproject.toml": declared.replace("seeds", "plants")})


@pytest.mark.parametrize(
    "options",
    [
        'app = "orders.missing:app"',
        'app = "orders.app"',
        'include = "seeds"',
        'include = ["../outside"]',
        'include = ["/etc"]',
        'source = "../x"',
        'port = "8000"',
        'unknown = "x"',
        'lock = "missing.lock"',
    ],
)
def test_options_that_do_not_fit_are_refused_with_their_place(tmp_path: Path, options: str) -> None:
    with pytest.raises(UserError):
        project(tmp_path, {"src/orders/app.py": FASTAPI, "pyproject.toml": f"[tool.aegis]\n{options}\n"})


def test_dependencies_without_a_lock_are_refused_with_the_mend(tmp_path: Path) -> None:
    metadata = '[project]\nname = "orders"\nversion = "1"\ndependencies = ["fastapi"]\n'
    with pytest.raises(UserError) as caught:
        project(tmp_path, {"src/orders/app.py": FASTAPI, "pyproject.toml": metadata})
    assert (caught.value.code, "aegis project lock" in caught.value.hint) == ("lock-missing", True)
    found = project(tmp_path, {"requirements.txt": "a==1 --hash=sha256:00\n", "uv.lock": ""})
    assert found.lock == "uv.lock"


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Python code"):
        project(tmp_path, {"README": ""})


FLASK = "from flask import Flask\napp = Flask(__name__)\n"
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'


def test_flask_and_django_are_found_and_served_with_what_the_lock_holds(tmp_path: Path) -> None:
    flask = project(tmp_path / "flask", {"src/orders/__init__.py": "", "src/orders/app.py": FLASK})
    assert flask.serves == Found(target="orders.app:app", framework="flask")
    for locked, said in (
        ({"gunicorn", "werkzeug"}, b"gunicorn"),
        ({"waitress"}, b"waitress"),
        ({"werkzeug"}, b"run_simple"),
    ):
        script = start_script(flask, port=8000, server=chosen_server(locked, has_base=False))
        compile(script, "start.py", "exec")
        assert said in script
    with pytest.raises(UserError, match="gunicorn, waitress or werkzeug is not in the lock"):
        start_script(flask, port=8000, server=chosen_server(set(), has_base=False))
    django = project(
        tmp_path / "django", {"manage.py": MANAGE, "shop/__init__.py": "", "shop/settings.py": "", "shop/asgi.py": ""}
    )
    assert django.serves == Found(target="shop.asgi:application", framework="django")
    assert b"uvicorn.run" in start_script(django, port=8000, server="uvicorn")
