"""Build programs from Go modules at exact versions, into a cache: what `make test-real` drives Aegis with.

Each is built once per version with the ordinary `go` client; its module proxy and checksum database say whether the source is
the one that was published. Nothing is installed on the system.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import Final

CACHE: Final = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "real"
MODULES: Final = {
    "buildctl": "github.com/moby/buildkit",
    "buildkitd": "github.com/moby/buildkit",
    "docker-buildx": "github.com/docker/buildx",
    "docker-compose": "github.com/docker/compose/v2",
}
"""Those whose module has directives that `go install` refuses: they are built as a dependency of an empty module."""
PROGRAMS: Final = {
    "conformance": (
        "github.com/opencontainers/distribution-spec/conformance", "v0.0.0-20260831232431-97274622c111"
    ),
    "cosign": ("github.com/sigstore/cosign/v2/cmd/cosign", "v2.6.5"),
    "buildctl": ("github.com/moby/buildkit/cmd/buildctl", "v0.23.2"),
    "buildkitd": ("github.com/moby/buildkit/cmd/buildkitd", "v0.23.2"),
    "crane": ("github.com/google/go-containerregistry/cmd/crane", "v0.20.7"),
    "docker-buildx": ("github.com/docker/buildx/cmd/buildx", "v0.25.0"),
    "docker-compose": ("github.com/docker/compose/v2/cmd", "v2.39.4"),
    "helm": ("helm.sh/helm/v3/cmd/helm", "v3.19.5"),
    "kustomize": ("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1"),
}  # fmt: skip


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"components: {text}\n")
    sys.stderr.flush()


def program(name: str) -> pathlib.Path | None:
    """The program, built where it is not there yet; None where it cannot be, after saying why."""
    package, version = PROGRAMS[name]
    kept = CACHE / "bin" / f"{name}-{version}"
    if kept.exists():
        return kept
    go = shutil.which("go")
    if go is None:
        say(f"{name} is built from Go sources and needs `go` on PATH")
        return None
    say(f"building {name} {version}; the first time this takes a minute or two")
    made = CACHE / "building" / name
    made.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, "GOBIN": str(made), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false",
        # Without the fallback to the sources' own hosts a missing version is an error and no clone that hangs.
        "GOPROXY": _proxy(go),
    }  # fmt: skip
    flags = ["-p", "2", "-trimpath", "-ldflags", "-s -w"]
    command = [go, "install", *flags, f"{package}@{version}"]
    if name in MODULES:
        (made / "go.mod").write_text(f"module building\n\nrequire {MODULES[name]} {version}\n", encoding="utf-8")
        command = [go, "build", "-mod=mod", *flags, "-o", str(made / name), package]
    done = subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say(f"{name} could not be built: {done.stderr.strip()[-600:]}")
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    (made / name).replace(kept)
    return kept


def _proxy(go: str) -> str:
    """The module proxy in force, without the fallback to the sources' own hosts."""
    found = subprocess.run([go, "env", "GOPROXY"], capture_output=True, text=True, check=False).stdout.strip()
    return found.removesuffix(",direct")


def everything() -> bool:
    """Build all of them; whether that went well."""
    missing = [name for name in PROGRAMS if program(name) is None]
    return not missing


if __name__ == "__main__":
    sys.exit(0 if everything() else 1)
