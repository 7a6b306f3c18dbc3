"""A project as a handful of files, and what is said of it."""

from __future__ import annotations

import pytest

from aegis.projects.detect import detect
from aegis.projects.model import Project

TEST = "def test_it():\n    assert True\n"


def of(files: dict[str, str]) -> Project:
    return detect({name: content.encode() for name, content in files.items()})


PEP621 = '[build-system]\nrequires = ["{0}"]\nbuild-backend = "{1}"\n[project]\nname = "thing"\nversion = "1.0"\n'


@pytest.mark.parametrize(
    ("text", "system"),
    [
        (PEP621.format("setuptools", "setuptools.build_meta"), "setuptools"),
        (PEP621.format("hatchling", "hatchling.build"), "hatchling"),
        (PEP621.format("flit_core", "flit_core.buildapi"), "flit"),
        (PEP621.format("pdm-backend", "pdm.backend"), "pdm"),
        (PEP621.format("uv_build", "uv_build"), "uv"),
        (PEP621.format("poetry-core", "poetry.core.masonry.api"), "poetry"),
        (PEP621.format("maturin", "maturin"), "maturin"),
        (PEP621.format("own", "own.backend"), "other"),
        ('[project]\nname = "thing"\n', "setuptools"),
    ],
)
def test_the_build_backend_is_named(text: str, system: str) -> None:
    found = of({"pyproject.toml": text, "src/thing/__init__.py": ""})
    assert found.build.system == system
    assert found.name == "thing"
    assert found.layout == "src"


def test_a_setup_py_is_read_without_being_run() -> None:
    found = of(
        {
            "setup.py": "import os\nos.system('touch pwned')\ndeps = ['requests>=2']\n"
            "setup(name='thing', version='1.2', install_requires=deps, extras_require={'test': ['pytest']}, python_requires='>=3.8')",
            "thing/__init__.py": "",
            "other/__init__.py": "",
            "docs/__init__.py": "",
            "tests/test_a.py": TEST,
        }
    )
    assert (found.name, found.version, found.dependencies) == ("thing", "1.2", ("requests>=2",))
    assert [one.path for one in found.packages] == ["thing"]
    assert found.needs.extras == ("test",)
    assert found.requires_python == ">=3.8"


def test_poetry_dependencies_become_requirements() -> None:
    found = of(
        {
            "pyproject.toml": '[build-system]\nrequires=["poetry-core"]\nbuild-backend="poetry.core.masonry.api"\n[tool.poetry]\nname="thing"\n'
            'version="1.0"\n[tool.poetry.dependencies]\npython="^3.9"\na="^1.2"\nb="~0.3.1"\nc="*"\nd={version="^0.0.4", extras=["x"]}\n'
            'e={git="https://x.test/e"}\nf=">=2,<3"\n[tool.poetry.group.test.dependencies]\npytest="^8.0"\n',
            "thing/__init__.py": "",
        }
    )
    assert found.dependencies == ("a>=1.2,<2", "b>=0.3.1,<0.4", "c", "d[x]>=0.0.4,<0.0.5", "f>=2,<3")
    assert found.needs.requirements == ("pytest>=8.0,<9",)


@pytest.mark.parametrize(
    ("files", "packages", "layout"),
    [
        ({"src/a/__init__.py": "", "src/b.py": ""}, ["src/a", "src/b.py"], "src"),
        ({"src/ns/inner/__init__.py": ""}, ["src/ns"], "src"),
        ({"thing.py": "", "setup.py": "", "conftest.py": "", "test_thing.py": TEST}, ["thing.py"], "flat"),
        ({"thing/__init__.py": "", "tests/__init__.py": "", "examples/__init__.py": ""}, ["thing"], "flat"),
        (
            {"pyproject.toml": PEP621.format("h", "hatchling.build") + '[tool.hatch.build.targets.wheel]\npackages=["lib/thing"]\n',
             "lib/thing/__init__.py": ""},
            ["lib/thing"], "flat",
        ),
        (
            {"pyproject.toml": PEP621.format("s", "setuptools.build_meta") + '[tool.setuptools]\npackages=["one","two","two.sub"]\n'
             'package-dir={""="code"}\n', "code/one/__init__.py": "", "code/two/__init__.py": ""},
            ["code/one", "code/two"], "flat",
        ),
        ({"README.md": ""}, [], "none"),
    ],
)  # fmt: skip
def test_packages_are_found_where_they_lie(files: dict[str, str], packages: list[str], layout: str) -> None:
    found = of(files)
    assert [one.path for one in found.packages] == packages
    assert found.layout == layout


FASTAPI = 'app = FastAPI()\n\n@app.get("/livez")\ndef live():\n    return {}\n'


@pytest.mark.parametrize(
    ("dependency", "path", "code", "target", "framework"),
    [
        ("fastapi", "src/thing/main.py", FASTAPI, "thing.main:app", "fastapi"),
        ("Starlette>=0.4", "src/thing/asgi.py", "api: Starlette = Starlette(routes=[])", "thing.asgi:api", "starlette"),
        ("flask", "src/thing/__init__.py", "app = flask.Flask(__name__)", "thing:app", "flask"),
        (
            "fastapi",
            "src/thing/app.py",
            "def create_app() -> FastAPI:\n    app = FastAPI()\n    return app\n",
            "thing.app:create_app",
            "fastapi",
        ),
        (
            "fastapi",
            "src/thing/app.py",
            "def create_app():\n    a = FastAPI()\n    return a\n\napp = create_app()\n",
            "thing.app:app",
            "fastapi",
        ),
    ],
)
def test_an_application_makes_a_service(dependency: str, path: str, code: str, target: str, framework: str) -> None:
    found = of(
        {
            "pyproject.toml": PEP621.format("h", "hatchling.build") + f'dependencies = ["{dependency}"]\n',
            path: code,
            "src/thing/x.py": "",
        }
    )
    assert found.kind == "service"
    assert found.application is not None
    assert (found.application.target, found.application.framework) == (target, framework)
    assert found.application.factory is target.endswith("create_app")
    assert found.application.health == ("/livez" if code is FASTAPI else "/healthz")


def test_django_is_started_through_its_asgi_module() -> None:
    found = of(
        {
            "requirements.txt": "django==5.0\n",
            "pyproject.toml": '[project]\nname="site"\ndependencies=["Django"]\n',
            "manage.py": 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site.settings")',
            "site/__init__.py": "",
        }
    )
    assert found.application is not None
    assert found.application.target == "site.asgi:application"


def test_a_library_that_is_or_only_knows_a_framework_stays_a_library() -> None:
    for name, dependencies in (("fastapi", '["fastapi"]'), ("thing", "[]")):
        text = PEP621.format("h", "hatchling.build").replace("thing", name) + f"dependencies = {dependencies}\n"
        assert (
            of({"pyproject.toml": text, f"src/{name}/app.py": "app = FastAPI()", f"src/{name}/__init__.py": ""}).kind
            == "library"
        )
    assert (
        of({"pyproject.toml": PEP621.format("h", "hatchling.build"), "examples/app.py": "app = Flask('x')"}).kind
        == "library"
    )


@pytest.mark.parametrize(
    ("files", "field", "expected"),
    [
        ({"pyproject.toml": '[dependency-groups]\ntests=["pytest"]\ndev=["x"]\n'}, "groups", ("tests",)),
        ({"pyproject.toml": '[dependency-groups]\ndev=["x"]\n'}, "groups", ("dev",)),
        ({"pyproject.toml": '[project.optional-dependencies]\ntesting=["pytest"]\n'}, "extras", ("testing",)),
        ({"pyproject.toml": '[tool.pdm.dev-dependencies]\ntest=["pytest"]\n'}, "requirements", ("pytest",)),
        (
            {"pyproject.toml": '[tool.hatch.envs.test]\ndependencies=["pytest","x>1"]\n'},
            "requirements",
            ("pytest", "x>1"),
        ),
        ({"pyproject.toml": '[tool.uv]\ndev-dependencies=["pytest"]\n'}, "requirements", ("pytest",)),
        ({"setup.cfg": "[options.extras_require]\ntest =\n  pytest\n"}, "extras", ("test",)),
        ({"requirements-dev.txt": "pytest\n"}, "files", ("requirements-dev.txt",)),
        ({"requirements/tests.txt": "pytest\n", "requirements/dev.txt": ""}, "files", ("requirements/tests.txt",)),
        ({"requirements.txt": "requests\npytest==8\n"}, "files", ("requirements.txt",)),
        (
            {"tox.ini": "[testenv]\ndeps =\n  pytest\n  py311: other\n  -r{toxinidir}/t.txt\n", "t.txt": ""},
            "requirements",
            ("pytest",),
        ),
        ({"tox.ini": "[testenv]\nextras =\n  fast, {env:WITH_EXTRAS:}\n"}, "extras", ("fast",)),
        ({"pyproject.toml": '[tool.tox.env_run_base]\ndependency_groups=["tests"]\n'}, "groups", ("tests",)),
        (
            {"noxfile.py": "def tests(session):\n    session.install('-e', '.', 'pytest', 'trio')\n"},
            "requirements",
            ("pytest", "trio"),
        ),
        ({}, "requirements", ()),
    ],
)
def test_what_tests_need_is_found(files: dict[str, str], field: str, expected: tuple[str, ...]) -> None:
    assert getattr(of(files).needs, field) == expected


def test_suites_and_their_kinds_are_told_apart() -> None:
    found = of(
        {
            "tests/unit/test_a.py": TEST,
            "tests/integration/test_b.py": TEST,
            "tests/e2e/test_c.py": TEST,
            "pytest.ini": "[pytest]\n",
        }
    )
    assert found.suite.runner == "pytest"
    assert found.suite.kinds == {"unit": ("tests/unit",), "integration": ("tests/integration",), "e2e": ("tests/e2e",)}
    case = "import unittest\n\nclass A(unittest.TestCase):\n    def test_a(self):\n        pass\n"
    found = of({"thing.py": "", "test.py": case})
    assert (found.suite.runner, found.suite.paths) == ("unittest", ("test.py",))
    found = of({"thing/__init__.py": "", "thing/tests/test_a.py": case})
    assert found.suite.paths == ("thing/tests",)
    assert of({"thing.py": ""}).suite.runner == "none"


@pytest.mark.parametrize(
    ("name", "text", "kind", "hashed"),
    [
        ("uv.lock", 'hash = "sha256:00"', "uv", True),
        ("poetry.lock", 'hash = "sha256:00"', "poetry", True),
        ("pdm.lock", 'hash = "sha256:00"', "pdm", True),
        ("pylock.toml", 'hashes = {sha256 = "00"}', "pylock", True),
        ("requirements.lock", "a==1 --hash=sha256:00\n", "requirements", True),
        ("requirements.lock", "a==1\nb==2 --hash=sha256:00\n", "requirements", False),
        ("requirements.lock", "", "requirements", True),
        ("requirements.txt", "a==1\n", "requirements", False),
    ],
)
def test_locks_are_recognised(name: str, text: str, kind: str, *, hashed: bool) -> None:
    (lock,) = of({name: text}).locks
    assert (lock.kind, lock.hashed) == (kind, hashed)


def test_loose_requirements_are_no_lock() -> None:
    assert of({"requirements.txt": "a>=1\n"}).locks == ()


WORKFLOW = """
on: push
jobs:
  test:
    runs-on: ${{ matrix.os }}
    strategy: {matrix: {os: [ubuntu-latest, windows-latest]}}
    services: {db: {image: "postgres:16"}}
    steps:
      - uses: actions/checkout@v4
      - run: |
          python -m pip install -e . \\
            pytest
          pytest -q
          mypy src
          echo hello
      - run: curl -H "${{ secrets.KEY }}" https://x.test
      - uses: somebody/else@v1
  shared: {uses: org/repo/.github/workflows/x.yml@main}
"""


def test_workflows_are_read_and_what_stays_behind_is_named() -> None:
    found = of(
        {".github/workflows/ci.yml": WORKFLOW, ".github/workflows/bad.yml": "a: [", ".github/workflows/odd.yml": "- 1"}
    )
    carried = {one.text: one.carried for one in found.commands if one.carried}
    assert set(carried) == {"uses actions/checkout", "python -m pip install -e . pytest", "pytest -q"}
    dropped = {one.text: one.why for one in found.commands if not one.carried}
    assert "postgres:16" in dropped["service db"]
    assert "Linux" in dropped["runs on windows"]
    assert "no types" in dropped["mypy src"]
    assert "secret" in dropped['curl -H "${{ secrets.KEY }}" https://x.test']
    assert {"uses somebody/else", "uses org/repo/.github/workflows/x.yml@main", "the whole file"} <= set(dropped)


@pytest.mark.parametrize("content", ["[", "\x00", "a = 'x", "[tool]\npytest = 3\n"])
def test_broken_files_are_told_and_break_nothing(content: str) -> None:
    found = of(
        {
            "pyproject.toml": content,
            "setup.py": content,
            "setup.cfg": content,
            "tox.ini": content,
            "noxfile.py": content,
            "x.py": "",
        }
    )
    assert [one.path for one in found.packages] == ["x.py"]
    if "3" not in content:
        assert any(one.level == "fail" and "TOML" in one.message for one in found.remarks)
