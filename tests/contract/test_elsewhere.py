"""What `Elsewhere` promises, held by an instance over HTTP and by the projects of the same server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.elsewhere_gitlab import GitLabElsewhere
from aegis.bootstrap.outside import Outside
from aegis.core.errors import ExternalError, NotFound
from aegis.delivery.elsewhere import MOST_OUTSIDE, HostedElsewhere
from aegis.delivery.options import IncludeOptions
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.ports import Elsewhere
from aegis.pipeline.request import Compilation, CompileRequest, MemoryFiles
from support.gitlab_files import Instance, serving

FILES = {
    "ci/build.yml": b"include: [{local: ci/more.yml}]\nbuild: {script: [make]}\n",
    "ci/more.yml": b"more: {script: [more]}\n",
    "templates/scan.yml": b"spec: {inputs: {level: {default: low}}, component: [name, version]}\n---\n"
    b"scan: {script: ['$[[ component.name ]] $[[ component.version ]] $[[ inputs.level ]]']}\n",
    "templates/other/template.yml": b"other: {script: [x]}\n",
}


@pytest.fixture
def instance() -> Iterator[Instance]:
    made = Instance(
        projects={"tools/ci": {"main": FILES, "v1.0.0": FILES, "v1.2.0": FILES, "v2.0.0": FILES, "v2.1.0-rc1": FILES}},
        releases={"tools/ci": ["v1.0.0", "v2.0.0", "v1.2.0", "v2.1.0-rc1"]},
        templates={"Bash": "bash: {script: [x]}\n"},
        pages={"/remote.yml": b"remote: {script: [x]}\n"},
    )
    with serving(made):
        yield made


def over_http(instance: Instance, **more: object) -> GitLabElsewhere:
    host = instance.address.removeprefix("http://")
    return GitLabElsewhere(HttpEgress(EgressRules(private=frozenset({host}))), instance.address, **more)  # type: ignore[arg-type]


class _Repository:
    """As much of a repository as the server's side reads."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def resolve(self, revision: str) -> str:
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        is_tag = name.startswith("v")
        if revision.startswith("refs/heads/") and is_tag:
            raise NotFound("no-such-revision", revision)
        found = self._instance.commit("tools/ci", name)
        if found is None:
            raise NotFound("no-such-revision", revision)
        return found

    def read(self, commit: str, path: str) -> bytes:
        data = self._instance.at("tools/ci", commit).get(path)
        if data is None:
            raise NotFound("no-such-file", path)
        return data

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        names = {
            f"refs/{'tags' if ref[0] == 'v' else 'heads'}/{ref}": ref for ref in self._instance.projects["tools/ci"]
        }
        return {name: ref for name, ref in names.items() if name.startswith(prefix)}

    def entries(self, commit: str, under: str = "") -> tuple[object, ...]:
        class Entry:
            def __init__(self, path: str) -> None:
                self.path = path

        return tuple(Entry(path) for path in self._instance.at("tools/ci", commit) if path.startswith(under))


def hosted(instance: Instance, options: IncludeOptions | None = None, kept: Path | None = None) -> HostedElsewhere:
    outside = Outside(lambda: options, kept)() if options is not None and kept is not None else None

    def repository(project: str) -> _Repository:
        if project not in instance.projects:
            raise NotFound("no-such-project", project)
        return _Repository(instance)

    return HostedElsewhere(repository, "https://ci.example.org", lambda _: "main", outside)  # type: ignore[arg-type, return-value]


BOTH = pytest.mark.parametrize("make", [over_http, hosted], ids=["http", "hosted"])


@BOTH
def test_a_ref_names_a_commit_and_a_commit_has_files(make: Callable[[Instance], Elsewhere], instance: Instance) -> None:
    elsewhere = make(instance)
    commit = elsewhere.commit("tools/ci", "HEAD")
    assert commit == elsewhere.commit("tools/ci", "main")
    files = elsewhere.files("tools/ci", commit)
    assert files.read("ci/more.yml") == FILES["ci/more.yml"]
    assert files.read("missing.yml") is None
    assert files.read("../ci/more.yml") is None
    assert files.paths() == tuple(sorted(FILES))
    assert set(elsewhere.releases("tools/ci")) >= {"v1.0.0", "v1.2.0", "v2.0.0"}


@BOTH
def test_what_is_not_there_is_not_found(make: Callable[[Instance], Elsewhere], instance: Instance) -> None:
    elsewhere = make(instance)
    with pytest.raises(NotFound):
        elsewhere.commit("tools/ci", "no-such-branch")
    with pytest.raises(NotFound):
        elsewhere.commit("no/project", "main")
    with pytest.raises(NotFound):
        elsewhere.releases("no/project")
    assert elsewhere.template("Nothing.gitlab-ci.yml") is None


def compiled(text: str, elsewhere: Elsewhere) -> Compilation:
    return compile_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": text.encode()}), elsewhere=elsewhere))


def names(found: Compilation) -> list[str]:
    assert not found.errors, found.errors
    assert found.plan is not None
    return [job.name for job in found.plan.jobs]


@BOTH
def test_files_of_another_project_include_their_neighbours(
    make: Callable[[Instance], Elsewhere], instance: Instance
) -> None:
    text = "include: {project: Tools/CI, ref: v1.0.0, file: [/ci/build.yml]}\nown: {script: [x]}\n"
    assert names(compiled(text, make(instance))) == ["more", "build", "own"]


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("~latest", "v2.0.0"),
        ("1", "v1.2.0"),
        ("1.0", "v1.0.0"),
        ("2", "v2.0.0"),
        ("v1.0.0", "v1.0.0"),
        ("main", "main"),
    ],
)
@BOTH
def test_versions_of_components(
    make: Callable[[Instance], Elsewhere], instance: Instance, version: str, wanted: str
) -> None:
    found = compiled(f"include: [{{component: $CI_SERVER_FQDN/tools/ci/scan@{version}}}]\n", make(instance))
    assert names(found) == ["scan"]
    assert found.plan is not None
    assert found.plan.jobs[0].script == (f"scan {wanted} low",)


@BOTH
def test_a_component_may_lie_in_a_folder(make: Callable[[Instance], Elsewhere], instance: Instance) -> None:
    assert names(compiled("include: [{component: $CI_SERVER_FQDN/tools/ci/other@1}]\n", make(instance))) == ["other"]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{component: $CI_SERVER_FQDN/tools/ci/nothing@1}", "unknown-component"),
        ("{component: $CI_SERVER_FQDN/tools/ci/scan@9}", "unknown-include"),
        ("{component: other.example.org/tools/ci/scan@1}", "unknown-component"),
        ("{project: tools/ci, ref: nowhere, file: a.yml}", "unknown-include"),
        ("{project: tools/ci, file: missing.yml}", "unknown-include"),
        ("{template: Missing.gitlab-ci.yml}", "unknown-include"),
    ],
)
@BOTH
def test_what_cannot_be_included_is_told_with_its_place(
    make: Callable[[Instance], Elsewhere], instance: Instance, entry: str, code: str
) -> None:
    found = compiled(f"include:\n  - {entry}\n", make(instance))
    assert [one.code for one in found.errors] == [code]
    assert found.errors[0].where is not None
    assert found.errors[0].where.line == 2


def test_templates_and_remote_files_come_over_http(instance: Instance) -> None:
    text = f"include: [{{template: Bash.gitlab-ci.yml}}, {{remote: '{instance.address}/remote.yml'}}]\n"
    assert names(compiled(text, over_http(instance))) == ["bash", "remote"]


def test_the_token_goes_to_the_instance_alone(instance: Instance) -> None:
    secret = "glpat-" + "x" * 20
    instance.tokens["tools/ci"] = secret
    with pytest.raises(NotFound):
        over_http(instance).commit("tools/ci", "main")
    elsewhere = over_http(instance, token=secret)
    assert elsewhere.commit("tools/ci", "main")
    elsewhere.fetch(f"{instance.address}/remote.yml", 0)
    assert instance.asked[-1][0] == "/remote.yml"
    assert secret not in str(instance.asked[-1])


def test_integrity_is_held(instance: Instance) -> None:
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(instance.pages["/remote.yml"]).digest()).decode()
    text = "include: [{{remote: '{0}/remote.yml', integrity: 'sha256-{1}'}}]\n"
    assert names(compiled(text.format(instance.address, digest), over_http(instance))) == ["remote"]
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    found = compiled(text.format(instance.address, other), over_http(instance))
    assert [one.code for one in found.errors] == ["integrity-mismatch"]


def test_an_answer_is_kept_for_as_long_as_the_file_says(instance: Instance, tmp_path: Path) -> None:
    elsewhere = over_http(instance, kept=tmp_path / "kept")
    address = f"{instance.address}/remote.yml"
    for _ in range(2):
        elsewhere.fetch(address, 3600)
    assert len(instance.asked) == 1
    elsewhere.fetch(address, 0)
    assert len(instance.asked) == 2
    commit = elsewhere.commit("tools/ci", "main")
    for _ in range(2):
        assert elsewhere.files("tools/ci", commit).read("ci/more.yml") == FILES["ci/more.yml"]
    assert len(instance.asked) == 4


def test_hosts_that_are_not_allowed_are_not_asked(instance: Instance) -> None:
    elsewhere = GitLabElsewhere(HttpEgress(EgressRules()), instance.address)
    with pytest.raises(ExternalError):
        elsewhere.fetch(f"{instance.address}/remote.yml", 0)
    found = compiled(f"include: ['{instance.address}/remote.yml']\n", elsewhere)
    assert [one.code for one in found.errors] == ["egress-host"]
    assert not instance.asked


def test_what_is_too_large_is_refused(instance: Instance) -> None:
    instance.pages["/large.yml"] = b"#" * (9 * 1024 * 1024)
    found = compiled(f"include: ['{instance.address}/large.yml']\n", over_http(instance))
    assert len(found.errors) == 1
    assert found.plan is None


def test_exists_may_look_into_another_project(instance: Instance) -> None:
    text = "a: {script: [x], rules: [{exists: {project: tools/ci, ref: v1.0.0, paths: [ci/*.yml]}}]}\n"
    assert names(compiled(text, over_http(instance))) == ["a"]


def test_a_server_reads_from_the_hosts_that_are_declared_and_from_no_others(instance: Instance, tmp_path: Path) -> None:
    host = instance.address.removeprefix("http://")
    declared = IncludeOptions(private=(host,), gitlab=instance.address)
    text = (
        f"include: [{{remote: {instance.address}/remote.yml}}, {{template: Bash.gitlab-ci.yml}},"
        f" {{component: {host}/tools/ci/scan@1}}]\n"
    )
    assert names(compiled(text, hosted(instance, declared, tmp_path))) == ["remote", "bash", "scan"]
    assert not any("token" in name for _, headers in instance.asked for name in headers)
    refused = compiled(text, hosted(instance)).errors
    assert [one.code for one in refused] == ["include-not-available", "unknown-include", "unknown-component"]
    assert "includes: hosts" in refused[0].hint
    other = compiled("include: {remote: https://other.example/x.yml}\n", hosted(instance, declared, tmp_path)).errors
    assert [(one.code, "other.example is not a host" in one.message) for one in other] == [
        ("include-not-available", True)
    ]


def test_a_server_asks_a_host_that_fails_once_and_counts_what_it_asks(instance: Instance, tmp_path: Path) -> None:
    gone = IncludeOptions(private=("127.0.0.1:9",))
    text = "include: [{remote: http://127.0.0.1:9/a.yml}, {remote: http://127.0.0.1:9/b.yml}]\n"
    failures = compiled(text, hosted(instance, gone, tmp_path)).errors
    assert [one.code for one in failures] == ["egress-connect", "egress-connect"]
    declared = IncludeOptions(private=(instance.address.removeprefix("http://"),))
    asked = len(instance.asked)
    many = ", ".join(f"{{remote: {instance.address}/none{number}.yml}}" for number in range(MOST_OUTSIDE + 1))
    codes = [one.code for one in compiled(f"include: [{many}]\n", hosted(instance, declared, tmp_path)).errors]
    assert codes == ["unknown-include"] * MOST_OUTSIDE + ["include-not-available"]
    assert len(instance.asked) - asked == MOST_OUTSIDE
