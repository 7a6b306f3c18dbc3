"""What a job's `services:` mean: under which names each is reached, what it gets, what is waited for. Pure.

Names and the rule of waiting are GitLab's. How a service is started, and how a name becomes an address, is the executor's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from aegis.core.plan import Image, Variable
from aegis.execution.environment import JobEnvironment, expand
from aegis.execution.ports import ImageRoot, ServiceRequest

WAIT_SECONDS: Final = 30.0
"""How long a job waits for a service, as GitLab's runner does (`wait_for_services_timeout`)."""
_PORT: Final = re.compile(r":[0-9]+(?=/)")
_TAG: Final = re.compile(r"(@.*|:[^/@]*(@.*)?)$")
_ALIAS: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def aliases(name: str, alias: str | None = None) -> tuple[str, ...]:
    """The host names of a service: two derived from its image's name, then those of `alias`.

    Of `registry.example.com:5000/tutum/wordpress:4` they are `registry.example.com__tutum__wordpress` and
    `registry.example.com-tutum-wordpress`. An alias can be several, with spaces or commas between. What can be no host
    name is left out.
    """
    path = _PORT.sub("", _TAG.sub("", name), count=1)
    given = (alias or "").replace(",", " ").split()
    found = dict.fromkeys((path.replace("/", "__"), path.replace("/", "-"), *given))
    return tuple(one for one in found if _ALIAS.fullmatch(one))


def visible(environment: JobEnvironment, own: Sequence[Variable]) -> dict[str, str]:
    """What a service sees of its job's variables: all that the pipeline and GitLab define, and nothing secret."""
    hidden = {one.key for one in own if one.secret or one.masked or one.file} | set(environment.secrets)
    named = {one.key for one in own}
    secrets = tuple(environment.secrets.values())
    return {
        key: value
        for key, value in environment.variables.items()
        if (key in named or key.startswith(("CI", "GITLAB_")))
        and key not in hidden
        and not any(secret in value for secret in secrets)
    }


def request(image: Image, root: ImageRoot, shown: Mapping[str, str], *, wait: float = WAIT_SECONDS) -> ServiceRequest:
    """The service that `image` asks for, whose image is there as `root`. `shown` is what it sees of its job's variables.

    `HEALTHCHECK_TCP_PORT` among its variables is the port to wait for, else the lowest that the image exposes.
    """
    variables = {**shown, **{key: expand(value, shown) for key, value in image.variables.items()}}
    asked = variables.get("HEALTHCHECK_TCP_PORT", "")
    port = int(asked) if asked.isdecimal() else next(iter(root.ports), 0)
    return ServiceRequest(
        name=image.name,
        aliases=aliases(image.name, image.alias),
        image=root,
        entrypoint=image.entrypoint,
        command=image.command,
        variables=variables,
        user=image.user or "",
        port=port if 0 < port < 1 << 16 else 0,
        wait_seconds=wait,
    )


def requests(
    wanted: Sequence[tuple[Image, ImageRoot]], environment: JobEnvironment, own: Sequence[Variable]
) -> tuple[tuple[ServiceRequest, ...], tuple[str, ...]]:
    """The services of a job, and a warning for each name that a service before it has already."""
    shown, taken, found, warnings = visible(environment, own), set[str](), [], []
    for image, root in wanted:
        one = request(image, root, shown)
        free = tuple(name for name in one.aliases if name not in taken)
        warnings += [f"WARNING: {name} is another service already." for name in one.aliases if name in taken]
        taken.update(free)
        found.append(replace(one, aliases=free))
    return tuple(found), tuple(warnings)
