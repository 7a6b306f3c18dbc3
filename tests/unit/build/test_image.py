"""Images as they are built: reproducible, on a base or none, and runnable by nothing but Python."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import ImageReport, Wanted, build_image, push_image
from aegis.bootstrap.image_base import mirror_base
from aegis.bootstrap.image_platforms import join_images
from aegis.bootstrap.image_reading import diff_images, inspect_image, rebase_image, sbom_of
from aegis.build.image import Facts, image_tags, python_version
from aegis.build.platforms import image_for
from aegis.core.errors import Conflict, Denied, ExternalError, NotFound, UserError
from aegis.web import oci_api, pypi_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors
from support.tiny_packages import wheel
from support.tiny_service import tiny_lock, tiny_wheels, write_service

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def holder() -> DoorsHolder:
    return DoorsHolder()


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=[*oci_api.routes(holder), *pypi_api.routes(holder)])) as made:
        yield made


@pytest.fixture
def doors(tmp_path: Path, holder: DoorsHolder) -> Iterator[TokenDoors]:
    made = TokenDoors(tmp_path / "server")
    holder.doors = made
    for name, data in tiny_wheels():
        made.indexes.index("shop", actor="test").upload({}, name, io.BytesIO(data))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def job(doors: TokenDoors, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - opens them
    """The variables of a job, with an own uv cache and no index but ours."""
    for name in [one for one in os.environ if one.startswith(("CI_", "AEGIS_", "UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    index = f"http://job:{READER}@{address}/pypi/shop/simple/"
    for name, value in {
        "AEGIS_CACHE_DIR": str(tmp_path / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": index, "AEGIS_INDEX_URL": index, "NO_PROXY": "127.0.0.1", "CI_COMMIT_SHA": COMMIT,
        "CI_COMMIT_REF_NAME": "feature/Äpfel", "SOURCE_DATE_EPOCH": "1700000000", "CI_JOB_TOKEN": WRITER,
        "CI_REGISTRY": address, "CI_REGISTRY_IMAGE": f"{address}/quarantine/shop/orders",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def add(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def build(folder: Path, **more: object) -> ImageReport:
    return build_image(Wanted(path=folder, **more))  # type: ignore[arg-type]


def test_two_directories_and_two_runs_give_the_same_digest(tmp_path: Path) -> None:
    reports = []
    for name in ("one", "two"):
        folder = write_service(tmp_path / name)
        os.utime(folder / "src" / "orders" / "app.py", (1, 1 if name == "one" else 2))
        reports.append(build(folder))
        shutil.rmtree(tmp_path / "cache")
    assert reports[0].digest == reports[1].digest == build(tmp_path / "one").digest
    assert reports[0].layers == reports[1].layers


def test_a_changed_source_line_leaves_the_dependency_layer_as_it_is(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    first = build(folder)
    add(folder / "src" / "orders" / "app.py", "# changed\n")
    second = build(folder)
    assert first.digest != second.digest
    assert first.layers[0].digest == second.layers[0].digest
    assert [one.cached for one in first.layers + second.layers] == [False, False, False, True, False, False]
    blobs = {one.name for one in (folder / ".aegis-image" / "blobs" / "sha256").iterdir()}
    assert first.layers[2].digest.removeprefix("sha256:") not in blobs
    assert first.layers[1].digest.removeprefix("sha256:") in blobs


def test_the_image_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    report = build(folder, version="1.3.0-dev.5")
    assert report.tags == ("1.3.0-dev.5", f"1.3.0-dev.5-{COMMIT[:8]}", COMMIT, "feature-pfel")
    assert (report.app, report.base, report.lock) == ("orders.app:app", "none", "requirements.lock")
    found = inspect_image(report.path)
    assert found.created == "2023-11-14T22:13:20Z"
    assert found.entrypoint == ("python", "/app/start.py")
    assert found.labels["org.opencontainers.image.version"] == "1.3.0-dev.5"
    assert found.labels["org.opencontainers.image.revision"] == COMMIT
    assert found.labels["io.aegis.base"] == "none"
    layout = OciLayout(folder / ".aegis-image")
    manifest = json.loads(layout.manifest("1.3.0-dev.5").body)
    assert manifest["annotations"]["org.opencontainers.image.title"] == "orders"
    config = json.loads(b"".join(layout.blob(manifest["config"]["digest"])))
    assert config["config"]["WorkingDir"] == "/app"
    assert "PYTHONPATH=/app/lib:/app/src" in config["config"]["Env"]
    assert config["config"]["User"] == "65532:65532"


def unpack(layout: OciLayout, into: Path) -> None:
    manifest = json.loads(layout.manifest(layout.tags()[0]).body)
    for layer in manifest["layers"]:
        data = b"".join(layout.blob(layer["digest"]))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            archive.extractall(into, filter="data")


def test_the_layers_run_with_nothing_but_python(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    build(folder, version="2.0.0-rc.1")
    root = tmp_path / "root"
    unpack(OciLayout(folder / ".aegis-image"), root)
    assert (root / "app" / "seeds" / "orders.json").is_file()
    # The tiny uvicorn serves nothing: `run` notes what it was asked to do.
    stub = "def run(target, **options):\n    import importlib, importlib.metadata as m, tiny, json\n"
    stub += "    module = importlib.import_module(target.split(':')[0])\n"
    stub += "    print(json.dumps([module.app.__name__, m.version('orders'), tiny.VERSION, options]))\n"
    (root / "app" / "lib" / "uvicorn.py").write_text(stub)
    shutil.rmtree(root / "app" / "lib" / "__pycache__")
    environment = {"HOST": "127.0.0.1", "PORT": "5555"}
    done = subprocess.run(
        [sys.executable, "-S", str(root / "app" / "start.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    name, version, tiny, options = json.loads(done.stdout)
    assert (name, version, tiny) == ("app", "2.0.0rc1", "1.0")
    assert (options["host"], options["port"], options["factory"]) == ("127.0.0.1", 5555, False)


def test_skopeo_copies_a_built_image_through_our_registry_and_back(address: str, tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    report = build(folder, push=True)
    assert report.pushed is not None
    assert (report.pushed.sent, report.pushed.present) == (4, 0)
    again = build(folder, push=True)
    assert again.pushed is not None
    assert (again.pushed.sent, again.pushed.present) == (0, 4)
    copied, returned = tmp_path / "copied", tmp_path / "returned"
    source = f"docker://{address}/quarantine/shop/orders:{COMMIT}"
    other = f"docker://{address}/shop/elsewhere:1.2.0"
    skopeo("copy", "--src-tls-verify=false", f"--src-creds=any:{READER}", source, f"oci:{copied}:1.2.0")
    skopeo("copy", "--dest-tls-verify=false", f"--dest-creds=any:{WRITER}", f"oci:{copied}:1.2.0", other)
    skopeo("copy", "--src-tls-verify=false", f"--src-creds=any:{READER}", other, f"oci:{returned}:1.2.0")
    assert OciLayout(returned).manifest("1.2.0").digest == report.digest
    shown = skopeo("list-tags", "--tls-verify=false", f"--creds=any:{READER}", source.rsplit(":", 1)[0])
    assert set(json.loads(shown)["Tags"]) == set(report.tags)
    skopeo(
        "delete",
        "--tls-verify=false",
        f"--creds=any:{WRITER}",
        f"docker://{address}/quarantine/shop/orders:feature-pfel",
    )
    with pytest.raises(subprocess.CalledProcessError):
        skopeo(
            "inspect",
            "--tls-verify=false",
            f"--creds=any:{READER}",
            f"docker://{address}/quarantine/shop/orders:feature-pfel",
        )


def skopeo(*argv: str) -> str:
    policy = Path(os.environ["AEGIS_CACHE_DIR"]).parent / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    whole = ["skopeo", f"--policy={policy}", *argv]
    return subprocess.run(whole, capture_output=True, text=True, check=True).stdout


def test_an_image_stands_on_a_base_from_a_layout_or_a_registry(address: str, tmp_path: Path) -> None:
    base = build(write_service(tmp_path / "base", options='user = "0"\n'), push=True)
    above = write_service(tmp_path / "above")
    assert base.pushed is not None
    reference = f"{base.pushed.repository}@{base.digest}"
    pulled = build(above, base=reference, version="9.0.0")
    shutil.copytree(tmp_path / "base" / ".aegis-image", above / "base")
    local = build(above, base="oci:base:1.2.0", version="9.0.0")
    for report in (pulled, local):
        assert [one.digest for one in report.layers[:3]] == [one.digest for one in base.layers]
        labels = inspect_image(str(above / ".aegis-image")).labels
        assert labels["io.aegis.base"] == labels["org.opencontainers.image.base.digest"] == base.digest
        assert len(report.layers) == 6
    with pytest.raises(UserError):
        build(above, base="python:3.12")
    with pytest.raises(NotFound):
        build(above, base=f"{address}/shop/nothing:1")


def test_the_base_comes_into_the_registry_with_the_image_and_by_itself(
    address: str, doors: TokenDoors, tmp_path: Path
) -> None:
    """Base and image by digest, also after what was pushed was lost; within a registry nothing is sent again."""
    base = build(write_service(tmp_path / "base", options='user = "0"\n'), push=True, repository=f"{address}/shop/base")
    mirrored = mirror_base(f"{address}/shop/base:1.2.0", f"{address}/shop/pinned")
    assert (mirrored.pinned, mirrored.sent) == (f"{address}/shop/pinned@{base.digest}", 0)
    above = build(write_service(tmp_path / "above"), base=mirrored.pinned, push=True, version="9.0.0")
    assert above.pushed is not None
    assert above.pushed.sent < 3  # all but its own layer and configuration was taken over from the base
    here = doors.registry.repository("quarantine/shop/orders", actor="test")
    kept = here.manifest(base.digest)
    assert here.blob_size(json.loads(kept.body)["config"]["digest"]) > 0
    for reference in (*above.tags, above.digest, base.digest):
        here.delete_manifest(reference)
    here.delete_blob(above.layers[0].digest)
    again = build(tmp_path / "above", base=mirrored.pinned, push=True, version="9.0.0")
    assert again.pushed is not None
    assert again.pushed.repaired
    assert here.manifest(base.digest).body == kept.body


def test_the_bill_of_materials_is_the_same_from_the_builder_and_from_the_layers(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    report = build(folder, sbom=tmp_path / "sbom.json")
    document = json.loads((tmp_path / "sbom.json").read_text())
    names = {(one["name"], one["version"]) for one in document["components"]}
    assert names == {("tiny", "1.0"), ("uvicorn", "0.1"), ("orders", "1.2.0")}
    read = json.loads(sbom_of(report.path))
    assert names == {(one["name"], one["version"]) for one in read["components"]}
    assert document["metadata"]["component"]["hashes"][0]["content"] == report.digest.removeprefix("sha256:")
    hashed = next(one for one in document["components"] if one["name"] == "tiny")
    assert hashed["hashes"][0]["content"] == hashlib.sha256(tiny_wheels()[0][1]).hexdigest()


def test_a_rebased_image_keeps_its_own_layers_and_differs_in_its_base_only(tmp_path: Path) -> None:
    base = write_service(tmp_path / "base", options='user = "0"\n')
    build(base)
    above = write_service(tmp_path / "above")
    first = build(above, version="9.0.0")
    output = tmp_path / "rebased"
    report = rebase_image(first.path, f"oci:{base.name}/.aegis-image:1.2.0", folder=tmp_path, output=output)
    assert report.layers_kept == len(first.layers) == 3
    found = inspect_image(str(output))
    assert [one.digest for one in found.layers[3:]] == [one.digest for one in first.layers]
    assert found.labels["io.aegis.base"] == inspect_image(str(base / ".aegis-image")).digest
    assert found.entrypoint == inspect_image(first.path).entrypoint
    difference = diff_images(first.path, str(output))
    assert (difference.added, difference.removed) == ((), ())
    assert difference.layers_shared >= 3
    assert any(one.name == "label io.aegis.base" for one in difference.settings)
    again = rebase_image(str(output), "none", folder=tmp_path, output=tmp_path / "back")
    assert [one.digest for one in inspect_image(again.path).layers] == [one.digest for one in first.layers]


def test_what_the_registry_lost_is_sent_again(doors: TokenDoors, tmp_path: Path) -> None:
    """A push believes that the registry has what it was given; where that is wrong it repairs itself."""
    folder = write_service(tmp_path / "svc")
    first = build(folder, push=True)
    repository = doors.registry.repository("quarantine/shop/orders", actor="test")
    for tag in first.tags:
        repository.delete_manifest(tag)
    repository.delete_manifest(first.digest)
    for layer in first.layers[:2]:
        repository.delete_blob(layer.digest)
    again = build(folder, push=True)
    assert again.pushed is not None
    assert (again.pushed.sent, again.pushed.present, again.pushed.repaired) == (2, 2, True)
    third = build(folder, push=True)
    assert third.pushed is not None
    assert (third.pushed.sent, third.pushed.repaired) == (0, False)


def test_one_image_for_two_platforms_and_none_where_a_wheel_is_missing(
    address: str, doors: TokenDoors, tmp_path: Path
) -> None:
    found = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    files = [wheel("native", tag=f"{found}-{found}-manylinux_2_17_{one}") for one in ("x86_64", "aarch64")]
    doors.indexes.index("shop", actor="test").upload({}, files[0][0], io.BytesIO(files[0][1]))
    hashes = " ".join(f"--hash=sha256:{hashlib.sha256(data).hexdigest()}" for _, data in files)
    folder = write_service(tmp_path / "svc", lock=f"{tiny_lock()}native==1.0 {hashes}\n")
    build(folder, architecture="amd64", output=tmp_path / "amd64")
    with pytest.raises(ExternalError, match="native"):
        build(folder, architecture="arm64", output=tmp_path / "arm64")
    doors.indexes.index("shop", actor="test").upload({}, files[1][0], io.BytesIO(files[1][1]))
    shutil.rmtree(tmp_path / "uv", ignore_errors=True)  # uv keeps an index's page for a while
    arm = build(folder, architecture="arm64", output=tmp_path / "arm64")
    (wheel_tag,) = wheel_tags(OciLayout(tmp_path / "arm64"), "native-1.0.dist-info/WHEEL")
    assert wheel_tag.endswith("aarch64")
    joined = join_images((tmp_path / "amd64", tmp_path / "arm64"), f"{address}/shop/orders", (), dry_run=False)
    assert joined.tags == arm.tags
    raw = json.loads(doors.registry.repository("shop/orders", actor="test").manifest("1.2.0").body)
    assert {one["platform"]["architecture"]: one["digest"] for one in raw["manifests"]} == {
        "amd64": joined.images[0], "arm64": arm.digest,
    }  # fmt: skip
    assert image_for(raw, "arm64") == arm.digest
    shown = skopeo(
        "inspect", "--override-arch", "arm64", "--tls-verify=false", "--creds", f"job:{READER}",
        f"docker://{address}/shop/orders:1.2.0",
    )  # fmt: skip
    assert json.loads(shown)["Architecture"] == "arm64"


def wheel_tags(layout: OciLayout, path: str) -> list[str]:
    """The `Tag` lines of the wheel metadata at `path` in the image."""
    found = []
    for layer in json.loads(layout.manifest("1.2.0").body)["layers"]:
        with tarfile.open(layout.blob_path(layer["digest"])) as archive:
            names = [one for one in archive.getnames() if one.endswith(path)]
            for name in names:
                file = archive.extractfile(name)
                assert file is not None
                found += [one.decode() for one in file.read().splitlines() if one.startswith(b"Tag: ")]
    return found


def test_what_is_not_one_build_is_not_joined(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    build(folder, output=tmp_path / "one")
    build(folder, output=tmp_path / "two", version="2.0.0", architecture="arm64")
    for layouts in (("one", "one"), ("one", "two")):
        with pytest.raises(UserError) as caught:
            join_images(tuple(tmp_path / name for name in layouts), "", (), dry_run=True)
        assert caught.value.code == "platforms"
    with pytest.raises(UserError, match="not for linux/arm64"):
        image_for({"manifests": [{"digest": "x", "platform": {"os": "linux", "architecture": "amd64"}}]}, "arm64")


def test_a_wheel_that_is_not_what_the_lock_says_is_refused(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    wrong = tiny_lock().splitlines()
    first = wrong[0][:-4] + ("0000" if not wrong[0].endswith("0000") else "1111")
    (folder / "requirements.lock").write_text(f"{first}\n{wrong[1]}\n")
    with pytest.raises(ExternalError) as caught:
        build(folder)
    assert caught.value.code == "wheels"
    assert READER not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.layer"))


@pytest.mark.parametrize(
    ("lock", "options", "code"),
    [
        (tiny_lock().splitlines()[0], "", "lock-stale"),
        ("tiny==1.0\nuvicorn==0.1\n", "", "lock-unpinned"),
        (None, 'builder = "magic"\n', "builder"),
        (None, 'builder = "dockerfile"\n', "dockerfile"),
    ],
)
def test_a_project_that_cannot_be_built_is_told_why(tmp_path: Path, lock: str | None, options: str, code: str) -> None:
    folder = write_service(tmp_path / "svc", lock=lock, options=options)
    with pytest.raises(UserError) as caught:
        build(folder)
    assert caught.value.code == code


def test_without_an_application_or_a_server_the_mend_is_said(tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    (folder / "pyproject.toml").write_text('[project]\nname = "orders"\nversion = "1"\n')
    (folder / "requirements.lock").write_text(tiny_lock().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="no FastAPI") as caught:
        build(folder)
    assert "tool.aegis" in caught.value.hint
    add(folder / "pyproject.toml", '[tool.aegis]\napp = "orders.app:app"\n')
    with pytest.raises(UserError, match="uvicorn is not in the lock"):
        build(folder)
    add(folder / "pyproject.toml", 'command = ["python", "-m", "orders"]\n')
    assert inspect_image(build(folder).path).entrypoint == ("python", "-m", "orders")


def test_a_push_that_is_not_allowed_or_has_no_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_service(tmp_path / "svc")
    report = build(folder)
    monkeypatch.setenv("CI_JOB_TOKEN", READER)
    with pytest.raises(Denied):
        push_image(Path(report.path), "", report.tags)
    monkeypatch.delenv("CI_REGISTRY_IMAGE")
    with pytest.raises(UserError, match="where to push"):
        build(folder, push=True)


def test_a_released_tag_is_not_moved_by_a_push(address: str, tmp_path: Path) -> None:
    folder = write_service(tmp_path / "svc")
    first = build(folder)
    push_image(Path(first.path), f"{address}/shop/orders", ("1.2.0",))
    add(folder / "src" / "orders" / "app.py", "# changed\n")
    second = build(folder)
    with pytest.raises(Conflict):
        push_image(Path(second.path), f"{address}/shop/orders", ("1.2.0",))


def test_tags_have_only_the_characters_that_tags_may_have() -> None:
    facts = Facts(version="1.0.0+build.7", revision=COMMIT, branch="/Feature_X/" + "y" * 99)
    assert image_tags(facts)[:2] == ("1.0.0-build.7", f"1.0.0-build.7-{COMMIT[:8]}")
    assert image_tags(facts)[3].startswith("feature-x-yyy")
    assert len(image_tags(facts)[3]) == 63
    assert image_tags(Facts(version="1.0.0")) == ("1.0.0",)


def test_semantic_versions_become_python_versions() -> None:
    given = ("1.3.0", "1.3.0-dev.5", "v1.3.0-rc.1", "2.0.0-alpha.2")
    assert [python_version(one) for one in given] == ["1.3.0", "1.3.0.dev5", "1.3.0rc1", "2.0.0a2"]
    with pytest.raises(UserError):
        python_version("1.3.0-featurebranch")
