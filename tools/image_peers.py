"""Who else builds images, for the benchmark: Debian's buildah, and Debian's docker with BuildKit, each with storage of its own.

Both get the same base, lock, sources and registry; only how the machine's certificates come into a step differs.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCKERFILE: Final = """FROM localhost/aegis-bench-base:base
USER 0
COPY requirements.lock /tmp/requirements.lock
RUN {mount}python3 -m pip install --quiet --no-cache-dir --target /app/lib --require-hashes -r /tmp/requirements.lock
COPY src /app/src
ENV PYTHONPATH=/app/lib:/app/src
USER 65532:65532
ENTRYPOINT ["python3", "-m", "uvicorn", "svc.app:app"]
"""
INSIDE: Final = "/etc/ssl/certs/ca-certificates.crt"
_START_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is built: the service's folder, the base's OCI layout, the registry and the password for it, a folder to work in."""

    service: Path
    base: Path
    address: str
    password: str
    work: Path

    @property
    def name(self) -> str:
        """The image's name."""
        return f"{self.address}/quarantine/bench/peer:latest"

    def dockerfile(self, mount: str = "") -> Path:
        """The Dockerfile, outside of the context."""
        path = self.work / "Dockerfile"
        path.write_text(DOCKERFILE.format(mount=mount))
        return path


class Buildah:
    """`buildah build --layers`, chroot isolation, vfs."""

    def __init__(self, job: Job) -> None:
        self._job = job
        job.work.mkdir(parents=True)
        (job.work / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._say("pull", f"oci:{job.base}:base")
        self._say("tag", self._say("images", "-q").split()[0], "localhost/aegis-bench-base:base")

    def build(self) -> None:
        """Build and push."""
        job = self._job
        options = ["--layers", "--isolation", "chroot", "--volume", f"{certificates()}:{INSIDE}:ro"]
        self._say(
            "build",
            *options,
            "--env",
            f"PIP_CERT={INSIDE}",
            "-f",
            str(job.dockerfile()),
            "-t",
            job.name,
            str(job.service),
        )
        self._say("push", "--tls-verify=false", "--creds", f"any:{job.password}", job.name)

    def _say(self, verb: str, *arguments: str) -> str:
        work = self._job.work
        places = ["--storage-driver", "vfs", "--root", str(work / "root"), "--runroot", str(work / "run")]
        extra = ["--signature-policy", str(work / "policy.json")] if verb in {"build", "pull", "push"} else []
        return run(["buildah", *places, verb, *extra, *arguments], self._job.service)


class BuildKit:
    """`docker build` with BuildKit, on a daemon of its own."""

    def __init__(self, job: Job, environment: dict[str, str]) -> None:
        self._job, self._environment = job, environment
        archive = job.work / "base.tar"
        run(
            ["skopeo", "--insecure-policy", "copy", f"oci:{job.base}:base", f"docker-archive:{archive}:localhost/aegis-bench-base:base"],
            job.work,
        )  # fmt: skip
        self._say("load", "--input", str(archive))
        login = base64.b64encode(f"any:{job.password}".encode()).decode()
        (job.work / "config.json").write_text(json.dumps({"auths": {job.address: {"auth": login}}}))

    def build(self) -> None:
        """Build and push."""
        job = self._job
        mount = f"--mount=type=secret,id=ca,target={INSIDE} PIP_CERT={INSIDE} "
        secret = f"id=ca,src={certificates()}"
        file = job.dockerfile(mount)
        self._say("build", "--network", "host", "--secret", secret, "-f", str(file), "-t", job.name, str(job.service))
        self._say("push", "--quiet", job.name)

    def _say(self, *arguments: str) -> str:
        return run(["/usr/bin/docker", *arguments], self._job.service, self._environment)


@contextmanager
def buildkit(job: Job) -> Iterator[BuildKit]:
    """BuildKit on a daemon that ends with the block. `RuntimeError` where it does not start."""
    job.work.mkdir(parents=True)
    daemon, socket = shutil.which("dockerd"), job.work / "docker.sock"
    if daemon is None or not Path("/usr/bin/docker").exists():
        raise RuntimeError("there is no docker of Debian here")
    (job.work / "daemon.json").write_text("{}")
    command = [
        daemon, "--data-root", str(job.work / "data"), "--exec-root", str(job.work / "exec"), "--pidfile", str(job.work / "pid"),
        "--host", f"unix://{socket}", "--group", "root", "--bridge", "none", "--iptables=false", "--config-file",
        str(job.work / "daemon.json"),
    ]  # fmt: skip
    environment = {
        **os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(job.work),
    }  # fmt: skip
    with (job.work / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        ends = time.monotonic() + _START_SECONDS
        while subprocess.run(
            ["/usr/bin/docker", "version"], env=environment, capture_output=True, check=False
        ).returncode:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"dockerd did not start: {(job.work / 'log').read_text()[-400:]}")
            time.sleep(0.2)
        yield BuildKit(job, environment)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def certificates() -> str:
    """The authorities that this machine trusts."""
    return os.environ.get("SSL_CERT_FILE", INSIDE)


def run(command: list[str], at: Path, environment: dict[str, str] | None = None) -> str:
    """What it printed; `RuntimeError` where it fails."""
    done = subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])}: {done.stderr.strip()[-400:]}")
    return done.stdout
