"""`id_tokens`: what a job's signed token says of it, in GitLab's claims, and how such a token is written (RFC 7519). Pure.

The signature is made by what is given; whether somebody trusts it is decided where the token is used.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aegis.core.types import JobRun, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An RSA key: its id, its public numbers in the form of RFC 7517, and what signs with it (RS256)."""

    id: str
    public: Mapping[str, str]
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The job that a token is for."""

    run: Run
    job: JobRun
    protected: bool
    environment: str = ""
    seconds: int = 3600


def claims(subject: Subject, audiences: tuple[str, ...], issuer: str, now: datetime) -> dict[str, Any]:
    """The token's claims. It is valid for the job's time and five minutes, from now on."""
    run = subject.run
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    kind = {"heads": "branch", "tags": "tag"}.get(kind, "merge_request")
    at = int(now.timestamp())
    found = {
        "iss": issuer,
        "sub": f"project_path:{run.project}:ref_type:{kind}:ref:{name}",
        "aud": audiences[0] if len(audiences) == 1 else list(audiences),
        "iat": at,
        "nbf": at - 5,
        "exp": int((now + timedelta(seconds=subject.seconds + 300)).timestamp()),
        "jti": subject.job.id,
        "namespace_path": run.project.rpartition("/")[0],
        "project_path": run.project,
        "user_login": run.started_by,
        "pipeline_id": run.id,
        "pipeline_source": run.source,
        "job_id": subject.job.id,
        "ref": name,
        "ref_type": kind,
        "ref_path": run.ref,
        "ref_protected": "true" if subject.protected else "false",
        "runner_environment": "self-hosted",
        "sha": run.commit,
    }
    if subject.environment:
        found["environment"] = subject.environment
    return found


def token(key: Key, payload: Mapping[str, Any]) -> str:
    """The compact form: header, claims and signature."""
    header = {"alg": "RS256", "typ": "JWT", "kid": key.id}
    body = f"{_part(header)}.{_part(payload)}"
    return f"{body}.{encoded(key.sign(body.encode('ascii')))}"


def discovery(issuer: str) -> dict[str, Any]:
    """What `/.well-known/openid-configuration` says."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/oauth/discovery/keys",
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def key_set(key: Key) -> dict[str, Any]:
    """What `/oauth/discovery/keys` says."""
    return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.id, **key.public}]}


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _part(value: Mapping[str, Any]) -> str:
    return encoded(json.dumps(value, separators=(",", ":")).encode())
