"""The images of one job and of its services: whether they can be had here, and what came of fetching them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from aegis.core.errors import AegisError
from aegis.core.plan import Image, JobSpec
from aegis.execution import environment
from aegis.execution.ports import Executor, ImageRoot
from aegis.execution.runners import Assignment

_TOOLS = "or use this machine's tools (--host-tools)"


@dataclass(slots=True)
class Refusal(Exception):
    """The job cannot go on, for a reason that is not its script's."""

    reason: str
    message: str
    mend: str = ""


def completed(assignment: Assignment, image: str) -> Assignment:
    """The assignment with the runner's own image where the job names none, and the runner has one."""
    if assignment.spec.image is not None or not image:
        return assignment
    return replace(assignment, spec=replace(assignment.spec, image=Image(name=image)))


def names(spec: JobSpec) -> str:
    """The images that a job asks for, for a sentence; empty where it asks for none."""
    return ", ".join(one.name for one in (spec.image, *spec.services) if one)


def check(spec: JobSpec, executor: Executor, *, fetched: bool) -> None:
    """Refuse what cannot be run here. `fetched`: whether there is anywhere to take images from."""
    kind = executor.isolation
    if spec.image is None and not executor.carries_tools:
        raise Refusal(
            "image_pull_failure",
            f"the job names no image, and this runner ({kind}) has no tools of its own",
            "image: NAME in the job or under `default:`; or `runner: {containers: {image: NAME}}` of a server",
        )
    if spec.services and not executor.carries_services:
        services = ", ".join(one.name for one in spec.services)
        raise Refusal(
            "image_pull_failure",
            f"the job asks for the services {services}, and this runner ({kind}) has no way to run them",
            f"run it with --executor docker or podman, or on a runner with containers; {_TOOLS}",
        )
    if names(spec) and not (fetched and executor.carries_images):
        raise Refusal(
            "image_pull_failure",
            f"the job asks for {names(spec)}, and this runner ({kind}) cannot run images",
            "run it with namespaces or on a runner with containers, or allow this machine's tools (--host-tools)",
        )


async def fetch(get: Callable[[Image], Awaitable[ImageRoot]], image: Image, variables: Mapping[str, str]) -> ImageRoot:
    """An image by its name with variables put in; refused with the mend where it cannot be had."""
    name = environment.expand(image.name, variables)
    try:
        return await get(replace(image, name=name))
    except AegisError as error:
        mend = f"{error.hint}; {_TOOLS}".removeprefix("; ")
        raise Refusal("image_pull_failure", f"the image {name} cannot be used: {error.message}", mend) from error
