"""`id_tokens` verify by the published keys alone, and secrets go to whom they belong."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from aegis.access.id_tokens import discovery, key_set
from aegis.adapters import signer_rsa
from aegis.core.errors import Denied, NotFound
from aegis.core.plan import IdToken, JobEnvironment
from aegis.core.types import JobRun, Run
from aegis.delivery.credentials import JobSecrets, identity_variables
from aegis.delivery.options import Options
from aegis.secrets.references import Reference
from aegis.source.branches import ProtectedBranch
from support.clock import FakeClock
from support.execution import job

RUN = Run(
    id="run", project="team/web", ref="refs/heads/main", commit="c" * 40, plan="", change="", source="push", started_by="ana",
)  # fmt: skip
ISSUER = "https://aegis.example"


class Store:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.values: dict[Reference, str] = {}

    def get(self, reference: Reference) -> str:
        if reference not in self.values:
            raise NotFound("no-such-secret", str(reference))
        return self.values[reference]

    def put(self, reference: Reference, value: str) -> int:
        self.values[reference] = value
        return 1


def unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(token: str, published: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token, checked as a stranger would: with the key set alone."""
    header, payload, signature = token.split(".")
    kid = json.loads(unpacked(header))["kid"]
    one = next(each for each in published["keys"] if each["kid"] == kid)
    numbers = rsa.RSAPublicNumbers(
        e=int.from_bytes(unpacked(one["e"]), "big"), n=int.from_bytes(unpacked(one["n"]), "big")
    )
    numbers.public_key().verify(
        unpacked(signature), f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    found: dict[str, Any] = json.loads(unpacked(payload))
    return found


def test_a_token_says_who_the_job_is_and_verifies_by_the_published_key() -> None:
    store = Store()
    key = signer_rsa.kept(cast("Any", store))
    spec = job(
        "deploy", "true", timeout=600, environment=JobEnvironment(name="production"),
        id_tokens=(IdToken(name="CLOUD", audiences=("https://cloud.example",)), IdToken(name="TWO", audiences=("a", "b"))),
    )  # fmt: skip
    made = identity_variables(
        key, ISSUER, FakeClock(), RUN, spec, JobRun(id="j1", name="deploy", stage="test"), trusted=True
    )
    assert [(one.key, one.masked, one.raw) for one in made] == [("CLOUD", True, True), ("TWO", True, True)]
    published = key_set(signer_rsa.kept(cast("Any", store)))
    claims = verified(made[0].value, published)
    assert claims["iss"] == ISSUER
    assert claims["aud"] == "https://cloud.example"
    assert claims["sub"] == "project_path:team/web:ref_type:branch:ref:main"
    assert claims["ref_protected"] == "true"
    assert claims["environment"] == "production"
    assert claims["exp"] - claims["iat"] == 900
    assert verified(made[1].value, published)["aud"] == ["a", "b"]
    header, _, signature = made[0].value.split(".")
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "x"}).encode()).decode().rstrip("=")
    with pytest.raises(InvalidSignature):
        verified(f"{header}.{forged}.{signature}", published)


def test_discovery_leads_to_the_keys() -> None:
    assert discovery(ISSUER)["jwks_uri"] == f"{ISSUER}/oauth/discovery/keys"


def resolve(run: Run, reference: str) -> str:
    store = Store()
    store.put(Reference("team/web", "password"), "own")
    store.put(Reference("team/web/db", "value"), "below")
    store.put(Reference("team/webshop", "value"), "other")
    options = Options(branches=(ProtectedBranch(pattern="main"),))
    return JobSecrets(cast("Any", store), lambda: options, cast("Any", None))(run, job("j", "true"), reference)


def test_a_job_of_a_protected_branch_gets_its_projects_secrets() -> None:
    assert resolve(RUN, "secret://team/web#password") == "own"
    assert resolve(RUN, "secret://team/web/db") == "below"


@pytest.mark.parametrize("reference", ["secret://team/webshop", "secret://team", "secret://aegis/oidc#key"])
def test_secrets_of_others_are_refused(reference: str) -> None:
    with pytest.raises(Denied, match="not a secret of"):
        resolve(RUN, reference)


@pytest.mark.parametrize("ref", ["refs/heads/feature", "refs/merge-requests/1/head"])
def test_jobs_of_unprotected_refs_get_none(ref: str) -> None:
    with pytest.raises(Denied, match="only for protected"):
        resolve(replace(RUN, ref=ref), "secret://team/web#password")


def test_the_key_is_made_once() -> None:
    store = Store()
    first, again = signer_rsa.kept(cast("Any", store)), signer_rsa.kept(cast("Any", store))
    assert first.id == again.id
    assert signer_rsa.fleeting().id != first.id
