"""The client of a running server: what the command line and the demo speak through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from aegis.core.errors import (
    AegisError,
    CheckFailed,
    Conflict,
    Denied,
    ExternalError,
    NotFound,
    UserError,
    Waiting,
    Where,
)

BASE = "/api/aegis/v1"
IDLE_SECONDS = 5.0
"""How long an unused connection is kept; the server keeps it longer, so that it never closes one that is being used again."""
_FAMILIES: dict[str, type[AegisError]] = {
    one.family: one for one in (UserError, CheckFailed, Denied, NotFound, Conflict, ExternalError, Waiting)
}


class ServerClient:
    """One server, one token. Errors come back as the families the server raised."""

    def __init__(self, url: str, token: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
            trust_env=not self.url.startswith(("http://127.", "http://localhost", "http://[::1]")),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def execute(self, verb: str, fields: Mapping[str, Any] | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Ask for a verb; the result's fields."""
        parameters = {"dry_run": "true"} if dry_run else {}
        return self._answer("POST", f"{BASE}/verbs/{verb}", json=dict(fields or {}), params=parameters)  # type: ignore[no-any-return]

    def get(self, path: str, **parameters: Any) -> Any:
        """Read a view: `home`, `runs/<id>` and so on."""
        return self._answer("GET", f"{BASE}/{path}", params={key: str(value) for key, value in parameters.items()})

    def trace(self, run: str, job: str, *, offset: int = 0, wait: int = 0) -> tuple[bytes, int, bool]:
        """A job's log from `offset`: bytes, the next offset, and whether it is complete."""
        response = self._send(
            "GET", f"{BASE}/runs/{run}/jobs/{job}/trace", params={"offset": str(offset), "wait": str(wait)}
        )
        return response.content, int(response.headers["x-next-offset"]), response.headers["x-complete"] == "true"

    def lines(self, run: str, job: str, first: int, count: int) -> tuple[bytes, int, int]:
        """Lines of a job's log from line `first` (0: the last ones): bytes, the first one's number, how many there are."""
        response = self._send(
            "GET", f"{BASE}/runs/{run}/jobs/{job}/trace/lines", params={"line": str(first), "count": str(count)}
        )
        return response.content, int(response.headers["x-first-line"]), int(response.headers["x-total-lines"])

    def events(self, after: int | None = None, *, whole: bool = True) -> Iterator[dict[str, Any]]:
        """Ledger records as they come (from now on without `after`); empty ones are signs of life while nothing comes."""
        parameters = {"whole": "1"} if whole else {}
        if after is not None:
            parameters["after"] = str(after)
        try:
            with self._client.stream(
                "GET", "/events", params=parameters, timeout=httpx.Timeout(10.0, read=60.0)
            ) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise _refused(response)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
                    elif line.startswith(":"):
                        yield {}
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return self._client.get("/healthz", timeout=2.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        return self._send(method, path, **options).json()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _refused(response)
        return response

    def _unreachable(self, error: httpx.HTTPError) -> ExternalError:
        return ExternalError(
            "server-unreachable",
            f"no answer from {self.url}: {error or type(error).__name__}",
            hint="start it with `aegis up`, or set AEGIS_URL",
            retryable=True,
        )


def _refused(response: httpx.Response) -> AegisError:
    try:
        body = response.json()["error"]
        where = Where(**body["where"]) if body.get("where") else None
        family = _FAMILIES.get(body.get("family", ""), ExternalError)
        return family(body["code"], body["message"], hint=body.get("hint", ""), where=where)
    except (ValueError, KeyError, TypeError):
        return ExternalError("server-answer", f"the server answered {response.status_code}: {response.text[:200]}")
