"""Example data for development, sent to a running service as its customers would send it.

A seed is a request with a key of its own; services answer the same key with the same thing, so seeding again adds
nothing. No back door, no second way to write: what a seed shows is what the service really does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import httpx


class SeedError(RuntimeError):
    """The service could not be reached or refused a seed; the message says which and why."""


def plant(url: str, path: str, seeds: list[dict[str, object]]) -> int:
    """Post every seed to `path` of the service at `url`; how many were new (201) or kept for later (202).

    A seed is `{"key": …, "request": {…}}`.
    """
    new = 0
    with httpx.Client(base_url=url, timeout=10, trust_env=False, transport=httpx.HTTPTransport(retries=3)) as client:
        for seed in seeds:
            try:
                answer = client.post(path, json=seed["request"], headers={"Idempotency-Key": f"seed-{seed['key']}"})
            except httpx.HTTPError as error:
                raise SeedError(f"{url} cannot be reached: {error}") from None
            if not answer.is_success:
                raise SeedError(f"seed {seed['key']} was refused with {answer.status_code}: {answer.text}")
            new += answer.status_code in (201, 202)
    return new


def seeds_of(service: str, start: Path) -> list[dict[str, object]]:
    """`seeds/<service>.json` of the nearest folder above `start` that has one: a checkout and an image differ."""
    for folder in start.resolve().parents:
        candidate = folder / "seeds" / f"{service}.json"
        if candidate.is_file():
            found: list[dict[str, object]] = json.loads(candidate.read_text("utf-8"))
            return found
    raise SeedError(f"there is no seeds/{service}.json above {start}")


def seed_command(service: str, path: str, start: Path) -> int:
    """What `python -m <service>.seed` does: the service's address is in `<SERVICE>_URL`. The exit code."""
    variable = f"{service.upper()}_URL"
    url = os.environ.get(variable, "")
    if not url:
        print(f"set {variable} to where {service} runs, for instance http://127.0.0.1:8000", file=sys.stderr)
        return 2
    try:
        seeds = seeds_of(service, start)
        print(f"{plant(url, path, seeds)} of {len(seeds)} seeds are new in {service}")
    except SeedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
