"""The package registries that a machine's tools are set up with."""

from __future__ import annotations

from pathlib import Path

from aegis.adapters.machine_registries import addresses


def tool(folder: Path, name: str, answer: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    path.chmod(0o755)


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_settings_of_each_tool_are_read(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "etc/pip.conf": "[global]\nindex-url = https://pip.example/simple\n[install]\nextra-index-url =\n    https://a.example/simple\n    https://b.example/simple\n",
            "home/.config/uv/uv.toml": '[[index]]\nurl = "https://uv.example/simple"\n',
            "home/.npmrc": "//npm.example/:_authToken=x\n@shop:registry=https://npm.example/\nhomepage=https://not.example/\n",
            "home/.cargo/config.toml": '[source.inner]\nregistry = "sparse+https://cargo.example/index/"\n',
            "home/.m2/settings.xml": "<settings><mirrors><mirror><url>https://maven.example/m2</url></mirror></mirrors></settings>",
            "etc/apt/sources.list": "# deb http://old.example/debian x main\ndeb [signed-by=/k] http://apt.example/debian x main\n",
            "etc/apt/sources.list.d/more.sources": "Types: deb\nURIs: http://deb822.example/debian\nSuites: x\n",
        },
    )
    found = addresses({"HOME": str(root / "home"), "PATH": "/nowhere"}, root=root)
    assert set(found) == {
        "https://pip.example/simple", "https://a.example/simple", "https://b.example/simple", "https://uv.example/simple",
        "https://npm.example/", "https://cargo.example/index/", "https://maven.example/m2", "http://apt.example/debian",
        "http://deb822.example/debian",
    }  # fmt: skip


def test_variables_of_the_machine_count_and_replace_what_python_uses_without_settings(tmp_path: Path) -> None:
    found = addresses(
        {
            "PATH": "/nowhere",
            "PIP_INDEX_URL": "https://index.example/simple",
            "UV_INDEX": "inner=https://inner.example:8443/simple https://third.example/simple",
            "GOPROXY": "https://go.example,direct",
        },
        root=tmp_path,
    )
    assert set(found) == {
        "https://index.example/simple", "https://inner.example:8443/simple", "https://third.example/simple",
        "https://go.example",
    }  # fmt: skip


def test_tools_are_asked_for_what_they_use_without_settings(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    tool(programs, "npm", "https://npm.example/")
    tool(programs, "go", "https://go.example,direct")
    found = addresses({"PATH": str(programs)}, root=tmp_path)
    assert {"https://npm.example/", "https://go.example"} < set(found)
    # pip's own default and where its files lie: two further addresses, known to pip alone.
    assert len(found) == 4


def test_what_cannot_be_read_or_asked_opens_nothing(tmp_path: Path) -> None:
    root = machine(
        tmp_path, {"etc/pip.conf": "no section", "home/.config/uv/uv.toml": "[[", "etc/apt/sources.list": ""}
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    tool(programs, "go", "https://go.example", code=3)
    environ = {"HOME": str(root / "home"), "PATH": str(programs), "PIP_INDEX_URL": "https://i.example"}
    assert addresses(environ, root=root) == ("https://i.example",)
