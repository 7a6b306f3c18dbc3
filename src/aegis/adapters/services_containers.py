"""`ServiceHost` by the command line of docker or podman: containers whose ports are published on the loopback address.

Values of variables go through the engine's environment, never through its arguments, which others could read.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aegis.core.errors import ExternalError
from aegis.projects.ports import RunningService, ServiceWish

ENGINES: Final = ("docker", "podman")
_KEY: Final = "aegis.dev"
_ALIAS: Final = "aegis.dev.alias"
_WISH: Final = "aegis.dev.specification"
_PULLED: Final = "aegis.dev.pulled"
_SECONDS: Final = 60.0
_PAUSE: Final = 0.1
_LINES: Final = 15
_MEND: Final = "install podman (for instance: apt-get install podman), or leave services out: --without services"


def find_engine(names: Sequence[str], path: str, environment: Mapping[str, str]) -> ContainerServices:
    """The first of the named engines that works; `ExternalError` says of each why it does not."""
    troubles = []
    for name in names:
        program = next(
            (os.path.join(one, name) for one in path.split(os.pathsep) if os.access(os.path.join(one, name), os.X_OK)),  # noqa: PTH118
            "",
        )
        if not program:
            troubles.append(f"{name} is not installed")
            continue
        done = subprocess.run(
            [program, "ps", "--quiet"], capture_output=True, text=True, env=dict(environment), check=False
        )
        if done.returncode == 0:
            return ContainerServices(name, program, environment)
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        troubles.append(f"{name}: {lines[-1] if lines else f'it ended with {done.returncode}'}")
    raise ExternalError("no-engine", f"nothing here runs services: {'; '.join(troubles)}", hint=_MEND)


class ContainerServices:
    """See `ServiceHost`. `program` is the engine's command; `say` hears what takes long."""

    def __init__(
        self, name: str, program: str, environment: Mapping[str, str], say: Callable[[str], None] | None = None
    ) -> None:
        self._name = name
        self._program = program
        self._environment = dict(environment)
        self.say = say or (lambda _: None)

    @property
    def name(self) -> str:
        """See `ServiceHost`."""
        return self._name

    def start(self, key: str, wish: ServiceWish, specification: str) -> RunningService:
        """See `ServiceHost`."""
        name = f"aegis-dev-{key}-{wish.alias}"
        self._run(["rm", "--force", "--volumes", name])
        pulled = self._pull(wish.image)
        ports = sorted(self._image(wish.image).get("ExposedPorts") or {})
        labels = {_KEY: key, _ALIAS: wish.alias, _WISH: specification, _PULLED: "yes" if pulled else "no"}
        entry = list(wish.entrypoint or ())
        arguments = [
            "run", "--detach", "--name", name,
            *(f"--label={label}={value}" for label, value in labels.items()),
            *(f"--publish=127.0.0.1::{port}" for port in ports),
            *(f"--env={self._given(name, value)}" for name, value in wish.variables.items()),
            *([f"--entrypoint={entry[0]}"] if entry else []),
            wish.image, *entry[1:], *wish.command,
        ]  # fmt: skip
        made = self._engine(arguments, f"the service {wish.alias} could not be started", wish.variables)
        return _service(self._ready(made.strip().splitlines()[-1], wish.alias))

    def services(self, key: str) -> tuple[RunningService, ...]:
        """See `ServiceHost`."""
        listed = self._engine(
            ["ps", "--all", "--quiet", "--filter", f"label={_KEY}={key}"], "services cannot be listed"
        )
        found = (
            json.loads(self._engine(["container", "inspect", *listed.split()], "a service is gone")) if listed else []
        )
        return tuple(_service(one) for one in found)

    def remove(self, service: RunningService, *, image: bool) -> None:
        """See `ServiceHost`."""
        self._run(["rm", "--force", "--volumes", service.id])
        if image:
            self._run(["image", "rm", service.image])

    def _given(self, name: str, value: str) -> str:
        """A variable as an argument: by its name alone, unless the engine's client has one of that name itself."""
        return f"{name}={value}" if name in self._environment else name

    # -- the engine -----------------------------------------------------------------------------------------------

    def _pull(self, image: str) -> bool:
        """Fetch an image that is not there; whether it was fetched. Its progress is the engine's own."""
        if self._run(["image", "inspect", image]).returncode == 0:
            return False
        self.say(f"fetching {image} …")
        done = subprocess.run(
            [self._program, "pull", image], env=self._environment, stdin=subprocess.DEVNULL, stdout=2, check=False
        )
        if done.returncode:
            raise ExternalError(
                "image-pull", f"{self._name} could not fetch {image}", hint="it says above why; is the name right?"
            )
        return True

    def _image(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._engine(["image", "inspect", image], f"{image} is not there"))[0][
            "Config"
        ]
        return found or {}

    def _container(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._engine(["container", "inspect", identity], "a service is gone"))[0]
        return found

    def _ready(self, identity: str, alias: str) -> dict[str, Any]:
        """Wait until every port answers and the image's own check, where it has one, is content; how it is then."""
        deadline = time.monotonic() + _SECONDS
        while True:
            found = self._container(identity)
            state = found["State"]
            if not state["Running"] and state.get("Status") not in {"created", "configured", "initialized"}:
                raise self._ended(identity, alias, state.get("ExitCode"))
            health = (state.get("Health") or state.get("Healthcheck") or {}).get("Status") or ""
            if health in {"", "healthy"} and all(_answers(*one) for one in _doors(found)):
                return found
            if time.monotonic() > deadline:
                raise self._ended(identity, alias, None)
            time.sleep(_PAUSE)

    def _ended(self, identity: str, alias: str, code: int | None) -> ExternalError:
        done = self._run(["logs", "--tail", str(_LINES), identity])
        lines = f"{done.stdout}{done.stderr}".strip()
        how = f"ended with {code}" if code is not None else f"does not answer after {_SECONDS:.0f} s"
        return ExternalError(
            "service-failed", f"the service {alias} {how}:\n{lines}", hint="mend its variables in .gitlab-ci.yml"
        )

    def _engine(self, arguments: Sequence[str], trouble: str, variables: Mapping[str, str] | None = None) -> str:
        done = self._run(arguments, variables)
        if done.returncode:
            raise ExternalError("engine", f"{trouble}: {done.stderr.strip()}", hint=f"{self._name} says why")
        return done.stdout

    def _run(
        self, arguments: Sequence[str], variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**(variables or {}), **self._environment}
        return subprocess.run(
            [self._program, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip


def _service(found: Mapping[str, Any]) -> RunningService:
    labels = found["Config"].get("Labels") or {}
    return RunningService(
        alias=labels.get(_ALIAS, ""),
        id=found["Id"],
        image=found["Config"].get("Image") or found.get("ImageName", ""),
        specification=labels.get(_WISH, ""),
        running=bool(found["State"]["Running"]),
        ports=_published(found),
        pulled=labels.get(_PULLED) == "yes",
    )


def _published(found: Mapping[str, Any]) -> dict[int, int]:
    published = (found.get("NetworkSettings") or {}).get("Ports") or {}
    return {
        int(inside.partition("/")[0]): int(places[0]["HostPort"])
        for inside, places in published.items()
        if places and inside.endswith("/tcp")
    }


def _doors(found: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Where the service itself listens: an engine's own proxy answers before it does."""
    settings = found.get("NetworkSettings") or {}
    inside = settings.get("IPAddress") or next(
        (one.get("IPAddress") for one in (settings.get("Networks") or {}).values() if one.get("IPAddress")), ""
    )
    ports = _published(found)
    return [(inside, port) for port in ports] if inside else [("127.0.0.1", port) for port in ports.values()]


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
