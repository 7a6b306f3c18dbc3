"""Names, variables and waiting of services, as GitLab's runner has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.core.plan import Image, Variable
from aegis.execution.environment import JobEnvironment
from aegis.execution.ports import ImageRoot
from aegis.execution.services import aliases, requests, visible


def root(**more: object) -> ImageRoot:
    return ImageRoot(name="x", digest="sha256:0", path=Path(), shell_path="", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "alias", "expected"),
    [
        ("postgres", None, ("postgres",)),
        ("postgres:16-alpine", None, ("postgres",)),
        ("tutum/wordpress:latest", None, ("tutum__wordpress", "tutum-wordpress")),
        ("registry.example.com/org/app", None, ("registry.example.com__org__app", "registry.example.com-org-app")),
        ("registry.example.com:4999/app:1", None, ("registry.example.com__app", "registry.example.com-app")),
        ("postgres@sha256:" + "0" * 64, "db", ("postgres", "db")),
        ("postgres:1@sha256:" + "0" * 64, "db, main  replica", ("postgres", "db", "main", "replica")),
        ("postgres", "postgres", ("postgres",)),
        ("postgres", "no/host -x", ("postgres",)),
    ],
)
def test_the_host_names_of_a_service(name: str, alias: str | None, expected: tuple[str, ...]) -> None:
    assert aliases(name, alias) == expected


def test_a_service_sees_what_the_pipeline_defines_and_nothing_secret() -> None:
    values = {
        "PATH": "/bin", "CI": "true", "POSTGRES_DB": "shop", "KEY": "opensesame", "URL": "https://u:opensesame@h",
        "CI_JOB_TOKEN": "tok-en-tok", "CERT": "/files/CERT",
    }  # fmt: skip
    own = [
        Variable(key="POSTGRES_DB", value="shop"), Variable(key="KEY", value="opensesame", masked=True),
        Variable(key="URL", value="x"), Variable(key="CERT", value="-", file=True),
    ]  # fmt: skip
    secrets = {"KEY": "opensesame", "CI_JOB_TOKEN": "tok-en-tok"}
    assert visible(JobEnvironment(variables=values, secrets=secrets), own) == {"CI": "true", "POSTGRES_DB": "shop"}


def test_what_a_service_is_asked_for() -> None:
    image = Image(
        name="postgres:16", alias="db", command=("-c", "fsync=off"), variables={"POSTGRES_USER": "u-$NAME"}, user="70"
    )
    environment = JobEnvironment(variables={"NAME": "shop", "CI": "true"})
    (found,), warnings = requests([(image, root(ports=(5432, 9000)))], environment, [Variable(key="NAME", value="-")])
    assert warnings == ()
    assert (found.aliases, found.command, found.entrypoint, found.user) == (
        ("postgres", "db"), ("-c", "fsync=off"), None, "70"
    )  # fmt: skip
    assert found.variables == {"NAME": "shop", "CI": "true", "POSTGRES_USER": "u-shop"}
    assert found.port == 5432


def test_another_port_to_wait_for_and_none() -> None:
    asked = Image(name="a", variables={"HEALTHCHECK_TCP_PORT": "8000"})
    found, _ = requests([(asked, root(ports=(1,))), (Image(name="b"), root())], JobEnvironment(variables={}), [])
    assert [one.port for one in found] == [8000, 0]


def test_a_name_belongs_to_the_first_service_that_has_it() -> None:
    wanted = [(Image(name="postgres:15"), root()), (Image(name="postgres:16", alias="new"), root())]
    found, warnings = requests(wanted, JobEnvironment(variables={}), [])
    assert [one.aliases for one in found] == [("postgres",), ("new",)]
    assert warnings == ("WARNING: postgres is another service already.",)
