"""`aegis scan` writes GitLab's reports, says the age of its data, and fails when it could not look."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aegis.cli.root import run
from aegis.gates.judge import Claim, Context, judge
from aegis.gates.policy import GatePolicy

EXAMPLE = Path(__file__).parents[3] / "examples" / "shop" / "platform" / "advisories"
TOKEN = "gl" + "pat-" + "A1b2C3d4E5f6G7h8I9j0"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CI", "AEGIS_", "GIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text(
        "# made\njinja2==3.1.2 \\\n    --hash=sha256:" + "a" * 64 + "\nh11==0.16.0\n"
    )
    return tmp_path


def call(*argv: str) -> int:
    try:
        run(["scan", *argv])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
        cwd=path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_vulnerable_lock_is_told_with_the_fix_and_the_age(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = project / "out" / "gl-dependency-scanning-report.json"
    assert call("dependencies", str(project), "--advisories", str(EXAMPLE), "--output", str(report)) == 0
    shown = capsys.readouterr().out
    assert "upgrade jinja2 to 3.1.5 or later" in shown
    assert "days old" in shown
    document = json.loads(report.read_bytes())
    assert document["scan"]["type"] == "dependency_scanning"
    assert document["scan"]["status"] == "success"
    assert document["dependency_files"][0]["path"] == "requirements.lock"
    assert document["vulnerabilities"][0]["location"]["start_line"] == 2
    outcome, reasons = judge(
        GatePolicy(required={}), (Claim(kind="dependencies", report=report.read_bytes()),), Context(target="main")
    )
    assert outcome == "block"
    assert "jinja2 3.1.2 has 5 known vulnerabilities, fixed in 3.1.6" in reasons[0].message


def test_in_a_job_the_report_is_written_under_its_usual_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("dependencies", str(project), "--advisories", str(EXAMPLE)) == 0
    monkeypatch.chdir(project)
    assert not list(project.glob("gl-*"))
    monkeypatch.setenv("GITLAB_CI", "true")
    assert call("dependencies", str(project), "--advisories", str(EXAMPLE)) == 0
    assert call("secrets") == 0
    assert {path.name for path in project.glob("gl-*")} == {
        "gl-dependency-scanning-report.json",
        "gl-secret-detection-report.json",
    }


def test_fail_on_decides_the_exit_code(project: Path) -> None:
    where = ("--advisories", str(EXAMPLE))
    assert call("dependencies", str(project), *where, "--fail-on", "high") == 1
    assert call("dependencies", str(project), *where, "--fail-on", "critical") == 0
    (project / "requirements.lock").write_text("mine @ git+https://example.org/mine\n")
    assert call("dependencies", str(project), *where, "--fail-on", "critical") == 1


def test_one_json_document_is_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("dependencies", str(project), "--advisories", str(EXAMPLE), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "aegis.scan.dependencies/1"
    assert document["advisories"]["count"] == 14
    assert document["findings"][0]["fixed_in"] == ["3.1.5"]


def test_a_scan_that_could_not_be_carried_out_is_an_error(project: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert call("dependencies", str(project)) == 2
    assert call("dependencies", str(project), "--advisories", str(tmp_path / "absent")) == 4
    assert call("dependencies", str(project), "--advisories", str(empty)) == 6
    assert call("dependencies", str(empty), "--advisories", str(EXAMPLE)) == 4
    (project / "uv.lock").write_text("broken = [")
    assert call("dependencies", str(project), "--advisories", str(EXAMPLE)) == 2


def test_without_a_lock_the_installed_packages_are_read_else_each_dependency_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["jinja2>=3", "h11"]\n')
    assert call("dependencies", str(tmp_path), "--advisories", str(EXAMPLE), "--json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {one["rule"] for one in findings} == {"package-not-looked-up"}
    assert len(findings) == 2
    metadata = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "h11-0.14.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Name: h11\nVersion: 0.14.0\n")
    assert call("dependencies", str(tmp_path), "--advisories", str(EXAMPLE), "--json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["package"], one["severity"]) for one in findings] == [("h11", "critical")]


class _Advisories(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w:xz") as archive:
            archive.add(EXAMPLE, "advisories")
        good = self.headers.get("JOB-TOKEN") == "job-token-of-this-run"
        body = target.getvalue() if good else b"denied"
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Advisories)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_job_fetches_the_advisories_of_its_own_server_and_of_no_other_private_host(
    project: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_ADVISORIES", f"{server}/advisories.tar.xz")
    monkeypatch.setenv("CI_JOB_TOKEN", "job-token-of-this-run")
    assert call("dependencies", str(project)) == 6
    monkeypatch.setenv("AEGIS_URL", server)
    assert call("dependencies", str(project)) == 0
    monkeypatch.setenv("CI_JOB_TOKEN", "another")
    assert call("dependencies", str(project)) == 6


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "app.py").write_text("print('hello')\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "checkout", "-q", "-b", "feature")
    (tmp_path / "app.py").write_text(f"TOKEN = '{TOKEN}'\n")
    git(tmp_path, "commit", "-q", "-a", "-m", "leak")
    return tmp_path


def test_a_secret_in_the_files_is_told_without_showing_it(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = repository / "gl-secret-detection-report.json"
    assert call("secrets", str(repository), "--output", str(report)) == 0
    assert call("secrets", str(repository), "--fail-on", "low") == 1
    shown = capsys.readouterr().out
    assert "app.py:1: GitLab token" in shown
    assert TOKEN[8:] not in shown + report.read_text()
    outcome, reasons = judge(
        GatePolicy(required={}), (Claim(kind="secrets", report=report.read_bytes()),), Context(target="main")
    )
    assert outcome == "block"
    assert str(reasons[0].where) == "app.py:1:1"
    assert "revoke" in reasons[0].mend


def test_a_secret_that_a_later_commit_removed_is_still_leaked(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "app.py").write_text("print('clean')\n")
    git(repository, "commit", "-q", "-a", "-m", "remove it")
    assert call("secrets", str(repository), "--fail-on", "low") == 0
    assert call("secrets", str(repository), "--since", "main", "--fail-on", "low") == 1
    assert "in commit" in capsys.readouterr().out
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "feature")
    assert call("secrets", str(repository), "--fail-on", "low", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["commits"] == 2
    assert document["findings"][0]["commit"] == git(repository, "rev-parse", "HEAD^")
    monkeypatch.setenv("CI_DEFAULT_BRANCH", "feature")
    assert call("secrets", str(repository), "--fail-on", "low") == 1
    git(repository, "tag", "1.0.0", "HEAD^")
    assert call("secrets", str(repository), "--fail-on", "low") == 0


def test_an_unknown_revision_or_an_absent_history_is_an_error(repository: Path, tmp_path: Path) -> None:
    assert call("secrets", str(repository), "--since", "nothing") == 4
    plain = tmp_path / "plain"
    plain.mkdir()
    assert call("secrets", str(tmp_path / "absent")) == 4
