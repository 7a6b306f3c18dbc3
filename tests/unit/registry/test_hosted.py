"""What is hosted elsewhere goes by the same rules; credentials are named, never written, and only those meant for registries."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from aegis.bootstrap.registries import credential
from aegis.config.registries import RegistriesModel
from aegis.core.errors import NotFound, UserError
from aegis.registry.cleanup import decide
from aegis.registry.hosted import HostedPackage, HostedTag, decide_hosted, listed, packaged
from aegis.registry.options import CleanUpRule
from aegis.registry.ports import ListedImage, ManifestRecord
from aegis.secrets.references import Reference

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = (CleanUpRule(repositories="shop/*", keep=1, older=7 * 86400),)


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def tag(name: str, days: float | None, image: str = "", repository: str = "shop/orders") -> HostedTag:
    at = None if days is None else NOW - timedelta(days=days)
    return HostedTag(place=1, repository=repository, name=name, digest=digest(image or name), created_at=at)


def test_the_decisions_are_those_about_images_of_this_server() -> None:
    tags = [tag("a", 1), tag("b", 30), tag("c", 3), tag("d", 40, "b"), tag("e", 50)]
    here = [
        ListedImage(
            record=ManifestRecord(digest=digest(name), media_type="", size=0), tags=names,
            pushed_at=NOW - timedelta(days=days),
        )
        for name, names, days in (("a", ("a",), 1), ("b", ("b", "d"), 30), ("c", ("c",), 3), ("e", ("e",), 50))
    ]  # fmt: skip

    def protected(_: str, image: str) -> str:
        return "deployed" if image == digest("e") else ""

    found = decide_hosted(listed(tags), RULES, protected, NOW)
    assert found == decide("shop/orders", here, RULES, protected, NOW)
    assert [one.tags for one in found if one.remove] == [("b", "d")]


def test_what_has_no_date_takes_nobodys_place_and_what_no_rule_speaks_of_is_left_out() -> None:
    tags = [tag("undated", None), tag("new", 10), tag("old", 20), tag("x", 99, repository="other")]
    found = {one.tags[0]: one for one in decide_hosted(listed(tags), RULES, lambda *_: "", NOW)}
    assert {name: one.remove for name, one in found.items()} == {"undated": False, "new": False, "old": True}


def test_versions_of_a_package_are_held_against_each_other_and_patterns_against_versions() -> None:
    packages = [
        HostedPackage(number=days, kind="pypi", name=name, version=version, created_at=NOW - timedelta(days=days))
        for name, version, days in (("a", "1.dev1", 30), ("a", "1.dev2", 20), ("a", "1.0", 40), ("b", "1.dev1", 50))
    ]
    rules = (CleanUpRule(repositories="shop/orders/packages/*", tags="*dev*", keep=1),)
    found = decide_hosted(packaged("shop/orders", packages), rules, lambda *_: "", NOW)
    assert [(one.repository, one.tags, one.digest) for one in found if one.remove] == [
        ("shop/orders/packages/pypi/a", ("1.dev1",), "package:30")
    ]


class Kept:
    def get(self, reference: Reference) -> str:
        if reference != Reference("registries/gitlab", "token"):
            raise NotFound("no-such-secret", "none")
        return "kept"


def test_a_credential_comes_from_the_environment_or_the_secrets_and_its_absence_is_said() -> None:
    environ = {"AEGIS_REGISTRY_GITLAB": "given"}
    assert credential("$AEGIS_REGISTRY_GITLAB", environ, Kept()) == "given"  # type: ignore[arg-type]
    assert credential("secret://registries/gitlab#token", environ, Kept()) == "kept"  # type: ignore[arg-type]
    for absent in ("$AEGIS_REGISTRY_OTHER", "secret://registries/other#token"):
        with pytest.raises(UserError, match="no value"):
            credential(absent, environ, Kept())  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["plain", "$HOME", "$AWS_SECRET_ACCESS_KEY", "secret://aegis/jobs#secret"])
def test_no_other_secret_can_be_declared_as_a_token(token: str) -> None:
    entry = {"url": "https://gitlab.example.org", "project": "Shop/orders", "token": "$AEGIS_REGISTRY_GITLAB"}
    assert RegistriesModel.model_validate({"gitlab": [entry]}).gitlab[0].project == "Shop/orders"
    with pytest.raises(ValueError, match="AEGIS_REGISTRY"):
        RegistriesModel.model_validate({"gitlab": [entry | {"token": token}]})
    with pytest.raises(ValueError, match="https"):
        RegistriesModel.model_validate({"gitlab": [entry | {"url": "http://gitlab.example.org"}]})
