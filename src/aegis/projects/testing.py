"""How a project's tests are run under coverage without changing what they do. Pure: arguments in, arguments and texts out.

Plain pytest decides what is collected; only reports are added. Coverage follows the project's own settings where it has any,
else it measures lines of its packages. Whether that is enough is the gates' to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aegis.projects.model import Project, Suite, TestKind

JUNIT: Final = "junit.xml"
COVERAGE: Final = "coverage.xml"
NO_TESTS: Final = 5
"""pytest's exit code when it collected nothing (docs.pytest.org, "Exit codes")."""

_MEANINGS: Final = {
    1: "tests failed",
    2: "the run was interrupted, or a test file could not be imported",
    3: "pytest met an error of its own",
    4: "pytest could not begin: it names above a package that its conftest.py needs, or an option whose plugin is missing",
    NO_TESTS: "no tests were collected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """`arguments` are pytest's. `settings` is the text of a coverage configuration, None where the project has its own.

    `measured` are what coverage is asked to measure
    instead. `paths` are put before the import path, for packages that are not installed. `nothing` says why there is nothing to run.
    """

    __test__ = False

    arguments: tuple[str, ...]
    settings: str | None
    measured: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    nothing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a JUnit report counts."""

    tests: int
    failures: int
    errors: int
    skipped: int

    @property
    def passed(self) -> int:
        """Those that ran and held."""
        return self.tests - self.failures - self.errors - self.skipped


def plan_tests(project: Project, kind: TestKind | None, *, measured: tuple[str, ...] = ()) -> TestPlan:
    """How tests of a kind are run; None: what plain pytest would run. `measured` overrules what coverage measures."""
    suite = project.suite
    arguments = [f"--junitxml={JUNIT}"]
    options = suite.options.split()
    if any(one.startswith("--cov") for one in options):
        arguments.append("--no-cov")  # pytest-cov and `coverage run` would measure each other
    if any(re.fullmatch(r"-n.*|--numprocesses.*", one) for one in options):
        arguments.append("-n0")  # the same tests, in the one process that is measured
    if kind is None or (kind == "unit" and not suite.kinds.get("unit")):
        arguments += () if suite.config and _configured(project) else _named(suite)
        if kind == "unit":
            others = [path for other, paths in suite.kinds.items() if other != "unit" for path in paths]
            arguments += [f"--ignore={path}" for path in others]
        nothing = "" if suite.runner != "none" else suite.why
    else:
        arguments += suite.kinds.get(kind, ())
        nothing = "" if suite.kinds.get(kind) else f"there is no folder of {kind} tests (tests/{kind})"
    return TestPlan(
        arguments=tuple(arguments),
        settings=None if suite.coverage_config or measured else _settings(project),
        measured=measured,
        paths=_paths(project) if project.build.system == "none" else (),
        nothing=nothing,
    )


def _named(suite: Suite) -> tuple[str, ...]:
    """The paths of a suite, and the names of files that pytest would pass over.

    Such files stand in `paths` beside their folder, and pytest 9 drops a path that lies in another one. Where a file
    configures pytest, that has the say about names.
    """
    within = [one for one in suite.paths if any(one.startswith(f"{other}/") for other in suite.paths)]
    if not within or suite.config:
        return suite.paths
    names = dict.fromkeys(path.rpartition("/")[2] for path in within)
    rest = [path for path in suite.paths if path not in within]
    return ("-o", " ".join(["python_files=test_*.py *_test.py", *names]), *rest)


def meaning(code: int) -> str:
    """Pytest's exit code in words."""
    return _MEANINGS.get(code, f"pytest ended with {code}")


def counts(junit: str) -> Counts | None:
    """What pytest counted, from its own JUnit report; None where that cannot be read."""
    found = [
        re.findall(rf'<testsuite\b[^>]*?\b{name}="(\d+)"', junit) for name in ("tests", "failures", "errors", "skipped")
    ]
    if not all(found):
        return None
    tests, failures, errors, skipped = (sum(map(int, one)) for one in found)
    return Counts(tests=tests, failures=failures, errors=errors, skipped=skipped)


def relative(xml: str, root: str, exists: Callable[[str], bool]) -> str:
    """A Cobertura report whose file names are relative to the project, whatever the sources in it were.

    `root` is the project's absolute path with `/`; `exists` says whether a relative path is a file of it.
    """
    found = re.search(r"<sources>(.*?)</sources>", xml, re.DOTALL)
    sources = re.findall(r"<source>(.*?)</source>", found[1]) if found else []
    prefixes = [_under(source.strip(), root) for source in sources]

    def rename(match: re.Match[str]) -> str:
        name = _under(match[1], root)
        for prefix in ("", *prefixes):
            path = f"{prefix}/{name}".strip("/") if prefix else name
            if exists(path):
                return f' filename="{path}"'
        return f' filename="{name}"'

    renamed = re.sub(r' filename="([^"]*)"', rename, xml)
    return re.sub(
        r"<sources>.*?</sources>", "<sources>\n\t\t<source>.</source>\n\t</sources>", renamed, flags=re.DOTALL
    )


def total(xml: str) -> str:
    """The line that says how much was covered, in the form of coverage's own report, for `coverage: /TOTAL.*…/`."""
    valid, covered = re.search(r'\blines-valid="(\d+)"', xml), re.search(r'\blines-covered="(\d+)"', xml)
    if not valid or not covered or not int(valid[1]):
        return "TOTAL 0 0 0%"
    all_lines, hit = int(valid[1]), int(covered[1])
    return f"TOTAL {all_lines} {all_lines - hit} {int(1000 * hit / all_lines) / 10:g}%"


def _under(path: str, root: str) -> str:
    path = path.replace("\\", "/")
    if path == root:
        return ""
    return path[len(root) + 1 :] if path.startswith(root + "/") else path


def _configured(project: Project) -> bool:
    """Whether plain pytest, without arguments, finds the tests as the project configures it."""
    return not any(path.endswith(".py") for path in project.suite.paths)


def _settings(project: Project) -> str:
    sources = "".join(f"    {package.path}\n" for package in project.packages if not package.path.endswith(".py"))
    modules = "".join(f"    {package.path}\n" for package in project.packages if package.path.endswith(".py"))
    lines = ["[run]\n", "relative_files = true\n"]
    if sources:
        lines += ["source =\n", sources]
    elif modules:
        lines += ["include =\n", modules]
    return "".join(lines)


def _paths(project: Project) -> tuple[str, ...]:
    return ("src",) if project.layout == "src" else (".",)
