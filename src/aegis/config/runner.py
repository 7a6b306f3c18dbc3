"""What the declaration says of the built-in runner: how jobs are kept apart, how many, their network and limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from aegis.config.strict import Seconds, Size, Strict
from aegis.core.errors import AegisError
from aegis.execution.network import place


class LimitsModel(Strict):
    """Bounds of one job as a whole; 0 sets none."""

    memory: Size = 0
    cpus: float = Field(0.0, ge=0)
    processes: int = Field(4096, ge=16)


class ContainersModel(Strict):
    """What jobs may have of a container engine. `registries` are hosts that it may pull from by itself."""

    image: str = ""
    registries: tuple[str, ...] = ()
    pull_policies: tuple[Literal["always", "if-not-present", "never"], ...] = Field(("always",), min_length=1)
    privileged: tuple[str, ...] = ()
    root: bool = False
    socket: bool = False


class RunnerModel(Strict):
    """The built-in runner; `concurrency: 0` leaves every job to remote runners, `tags` the jobs with other tags."""

    executor: Literal["namespaces", "docker", "podman"] = "namespaces"
    containers: ContainersModel = ContainersModel()
    concurrency: int = Field(2, ge=0, le=64)
    tags: tuple[str, ...] | None = None
    isolation: Literal["required", "optional"] = "required"
    timeout: Seconds = 3600.0
    host_tools: bool = False
    reuse: bool = True
    network: Literal["none", "registries", "all"] = "registries"
    network_hosts: tuple[str, ...] = ()
    limits: LimitsModel = LimitsModel()

    @field_validator("network_hosts")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(place(one) for one in value)
        except AegisError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
