"""`includes` of `aegis.yaml`: hosts are names, private ones are declared with their port, an instance is protected on its way."""

from __future__ import annotations

import pytest

from aegis.config.load import load
from aegis.config.options import delivery
from aegis.core.errors import UserError
from aegis.delivery.options import IncludeOptions


def test_hosts_and_an_instance_are_handed_on() -> None:
    text = "version: 1\nincludes: {hosts: ['*.example.org'], private: ['gitlab.lan:80'], gitlab: 'http://gitlab.lan'}\n"
    assert delivery(load(text.encode()), "", "").includes == IncludeOptions(
        hosts=("*.example.org",), private=("gitlab.lan:80",), gitlab="http://gitlab.lan"
    )
    assert delivery(load(b"version: 1\n"), "", "").includes == IncludeOptions()


@pytest.mark.parametrize(
    "written",
    ["hosts: ['https://a.example']", "hosts: ['a.example:8080']", "private: ['a.lan']", "gitlab: 'http://a.example'"],
)
def test_what_would_open_too_much_is_refused(written: str) -> None:
    with pytest.raises(UserError):
        load(f"version: 1\nincludes: {{{written}}}\n".encode())
