"""The `Cluster` port on this machine: the same manifests, the same image layers, run as processes.

Decides: when a new version takes over an address, and what is ended when. State that must survive a restart lies in one
file; processes end with the server (also after `kill -9`, on Linux) and are started again on the ports they had.
Addresses inside the cluster (`http://orders.aegis-dev.svc`) are replaced in the environment of programs by the
splitter's stable address of that service in that namespace's environment.

Not carried out: see `model`. It schedules nothing over machines, and a workload's network is this machine's loopback.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from aegis.adapters import supervised
from aegis.adapters.cluster_local import model, state
from aegis.adapters.cluster_local.images import CommandLine, Images, command_line
from aegis.adapters.cluster_local.jobs import JobRun
from aegis.adapters.cluster_local.model import Program, Wanted
from aegis.adapters.cluster_local.replica import Ground, Setting
from aegis.adapters.cluster_local.versions import Service, Version
from aegis.adapters.supervised import tail
from aegis.adapters.supervised.cgroups import Cgroups
from aegis.core.errors import AegisError, Conflict, ExternalError, NotFound
from aegis.core.ports import Clock
from aegis.core.types import Workload
from aegis.gitops.manifest import Manifest, Ref, manifest
from aegis.gitops.ports import JobState, JobStatus, PulledImage

__all__ = ["Endpoints", "LocalCluster"]

_ADDRESS: Final = re.compile(r"http://([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?(?::\d+)?(?![\w.-])")
_TICK: Final = 0.5
_USER: Final = 61999  # within systemd's range for dynamic users: nobody has an account there
_BASE_ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
}


class Endpoints(Protocol):
    """The part of `rollout.ports.Traffic` that the cluster needs: who owns a service's address, and where it is."""

    def url(self, service: str, environment: str) -> str: ...  # noqa: D102 - as in the port

    def weights(self, service: str, environment: str) -> Mapping[str, int]: ...  # noqa: D102 - as in the port

    def set_weights(  # noqa: D102 - as in the port
        self, service: str, environment: str, weights: Mapping[str, tuple[tuple[str, ...], int]]
    ) -> None: ...

    def set_addresses(  # noqa: D102 - as in the port
        self, service: str, environment: str, version: str, addresses: tuple[str, ...]
    ) -> None: ...


class LocalCluster:
    """See the module. `namespaces` maps a namespace to its environment, `python` runs images without a base.

    `start` brings back what ran before; `stop` ends all processes and keeps the state. `conceal` are directories that
    no workload may see, by default the cluster's own.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        pull: Callable[[str, str], PulledImage],
        clock: Clock,
        python: str,
        namespaces: Mapping[str, str],
        traffic: Endpoints | None = None,
        conceal: Sequence[Path] = (),
        drain_seconds: float = 0.3,
    ) -> None:
        self._clock = clock
        self._python = str(
            Path(python).resolve()
        )  # the interpreter itself: a virtual environment is not the workload's
        self._namespaces = dict(namespaces)
        self._traffic = traffic
        self._drain = drain_seconds
        self._directory = data_dir.resolve()
        (self._directory / "logs").mkdir(parents=True, exist_ok=True)
        self._images = Images(self._directory / "store", pull, python=self._python)
        self._conceal = tuple(str(one.resolve()) for one in conceal) or (str(self._directory),)
        self._lock = threading.RLock()
        self._dirty = threading.Event()
        self._stopping = threading.Event()
        self._controller: threading.Thread | None = None
        self._ground: Ground | None = None
        self._live: dict[Ref, Manifest] = {}
        self._services: dict[tuple[str, str], Service] = {}
        self._jobs: dict[tuple[str, str], JobRun | JobStatus] = {}
        self._keys: tuple[str, ...] = ()
        self._trouble: dict[tuple[str, str], str] = {}
        self._leaving: list[Version] = []

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with everything that ran when the last one ended."""
        tag = hashlib.sha256(str(self._directory).encode()).hexdigest()[:10]
        cgroups = Cgroups(f"aegis-{tag}")
        cgroups.clear()  # what a killed server left behind
        cgroups = Cgroups(f"aegis-{tag}")
        store = str(self._directory / "store")
        confinement = supervised.confinement(
            conceal=self._conceal, user=_USER, trial=[self._python, "--version"], visible=store
        )
        self._ground = Ground(
            clock=self._clock,
            confinement=confinement,
            cgroups=cgroups,
            logs=self._directory / "logs",
            show=Path(store),
        )
        with self._lock:
            self._restore(state.load(self._directory / "state.json"))
        self._controller = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._controller.start()

    def stop(self) -> None:
        """End every process, asking first; the next `start` brings them back. Idempotent."""
        self._stopping.set()
        self._dirty.set()
        if self._controller is not None:
            self._controller.join()
        with self._lock:
            threads: list[threading.Thread] = []
            running = [one for service in self._services.values() for one in service.versions.values()]
            for version in [*running, *self._leaving]:
                version.finish(drain=False)
                threads += version.replicas
            for run in self._jobs.values():
                if isinstance(run, JobRun):
                    run.finish()
                    threads.append(run)
        for thread in threads:
            thread.join()
        if self._ground is not None:
            self._ground.cgroups.clear()

    @property
    def isolation(self) -> str:
        """How workloads are confined on this machine: `user+mounts`, `mounts` or `process`, and by what limits."""
        ground = self._running()
        return f"{ground.confinement.words}, limits by {'cgroup' if ground.cgroups.available else 'process'}"

    def _running(self) -> Ground:
        if self._ground is None:
            raise ExternalError("cluster-stopped", "the local cluster has not been started", retryable=True)
        return self._ground

    # -- the port: wishes ---------------------------------------------------------------------------------

    def apply(self, namespace: str, manifests: Sequence[Manifest], *, key: str) -> None:
        """See the port."""
        self._running()
        with self._lock:
            if key in self._keys:
                return
            placed = [self._placed(one, namespace) for one in manifests]
            config_maps = self._config_maps(namespace, placed)
            # Everything is read before anything is accepted: a refusal leaves the cluster as it was.
            deployments = [(one, model.deployment(one, config_maps)) for one in placed if one.kind == "Deployment"]
            jobs = [(one, model.job(one, config_maps)) for one in placed if one.kind == "Job"]
            self._live |= {one.ref: one for one in placed}
            for one, wanted in deployments:
                self._wish(wanted, one.body)
            for _, run in jobs:
                if (namespace, run.name) not in self._jobs:
                    self._begin_job(run)
            self._keys = state.remembered(self._keys, key)
            self._save()
        self._dirty.set()

    def find(self, key: str) -> bool:
        """See the port."""
        with self._lock:
            return key in self._keys

    def prune(self, namespace: str, refs: Sequence[Ref], *, key: str) -> None:
        """See the port."""
        self._running()
        with self._lock:
            if key in self._keys:
                return
            for ref in refs:
                self._live.pop(ref, None)
                place = (namespace, ref.name)
                if ref.kind == "Deployment" and place in self._services:
                    service = self._services[place]
                    service.wanted = service.active = ""
                    for version in service.running():
                        version.finish(drain=True)
                if ref.kind == "Job":
                    run = self._jobs.pop(place, None)
                    if isinstance(run, JobRun):
                        run.finish()
            self._keys = state.remembered(self._keys, key)
            self._save()
        self._dirty.set()

    def set_active(self, namespace: str, service: str, release: str) -> None:
        """See the port."""
        with self._lock:
            version = self._version(namespace, service, release)
            self._services[namespace, service].active = version.wanted.key
            self._save()

    def retire(self, namespace: str, service: str, release: str) -> None:
        """See the port."""
        with self._lock:
            version = self._version(namespace, service, release)
            if self._services[namespace, service].active == version.wanted.key:
                raise Conflict(
                    "version-active",
                    f"{release} owns the address of {service} in {namespace}",
                    hint="make another version active first",
                )
            version.finish(drain=True)
            self._save()
        self._dirty.set()

    # -- the port: sight ----------------------------------------------------------------------------------

    def live(self, namespace: str) -> tuple[Manifest, ...]:
        """See the port."""
        with self._lock:
            return tuple(one for ref, one in self._live.items() if ref.namespace == namespace)

    def observe(self, namespace: str) -> tuple[Workload, ...]:
        """See the port."""
        environment = self._namespaces.get(namespace, namespace)
        with self._lock:
            found = []
            for place, service in self._services.items():
                if place[0] != namespace:
                    continue
                for version in service.running():
                    shown = version.workload(environment)
                    trouble = self._trouble.get(place, "")
                    found.append(replace(shown, message=shown.message or trouble))
            return tuple(found)

    def jobs(self, namespace: str) -> tuple[JobStatus, ...]:
        """See the port."""
        with self._lock:
            runs = [one for place, one in self._jobs.items() if place[0] == namespace]
            return tuple(one.status if isinstance(one, JobRun) else one for one in runs)

    def active(self, namespace: str, service: str) -> str | None:
        """See the port."""
        with self._lock:
            found = self._services.get((namespace, service))
            version = found.versions.get(found.active) if found else None
            return version.wanted.release if version else None

    def logs(self, namespace: str, name: str, *, release: str = "", limit: int = 200) -> tuple[str, ...]:
        """See the port."""
        ground = self._running()
        with self._lock:
            if (namespace, name) in self._jobs:
                return tail(ground.logs / f"{namespace}.{name}.log", limit)
            wanted = release or self.active(namespace, name)
            if wanted is None:
                running = self._services[namespace, name].running() if (namespace, name) in self._services else []
                wanted = running[-1].wanted.release if running else ""
            logs = [one.log for one in self._version(namespace, name, wanted).replicas]
        lines = [line for log in logs for line in tail(log, limit)]
        return tuple(lines[-limit:])

    def _version(self, namespace: str, service: str, release: str) -> Version:
        found = self._services.get((namespace, service))
        version = found.by_release(release) if found else None
        if version is None:
            raise NotFound("version-unknown", f"{release or service} does not run in {namespace}")
        return version

    # -- wishes become versions ---------------------------------------------------------------------------

    def _placed(self, one: Manifest, namespace: str) -> Manifest:
        model.check(one)
        if one.namespace not in ("", namespace):
            raise ExternalError("namespace-mixed", f"{one.ref} does not belong into {namespace}")
        return replace(one, namespace=namespace)

    def _config_maps(self, namespace: str, placed: Sequence[Manifest]) -> dict[str, Mapping[str, str]]:
        known = [*self.live(namespace), *placed]
        return {one.name: one.body.get("data") or {} for one in known if one.kind == "ConfigMap"}

    def _wish(self, wanted: Wanted, body: Mapping[str, Any], ports: tuple[int, ...] = ()) -> Version:
        place = (wanted.namespace, wanted.name)
        service = self._services.setdefault(place, Service(namespace=place[0], name=place[1]))
        moved = service.wanted != wanted.key
        service.wanted = wanted.key
        version = service.versions.get(wanted.key)
        if version is None or version.retiring:
            version = self._make(wanted, body, ports)
            if wanted.key in service.versions:  # wanted again while it is being ended
                self._leaving.append(service.versions.pop(wanted.key))
            service.versions[wanted.key] = version
        else:
            version.wanted, version.body = wanted, body
            version.scale(wanted.replicas)
        if moved:  # a wish that was replaced before it was fulfilled, or one that returns to what is active
            for other in service.running():
                if other.wanted.key not in (service.active, wanted.key):
                    other.finish(drain=True)
        return version

    def _make(self, wanted: Wanted, body: Mapping[str, Any], ports: tuple[int, ...]) -> Version:
        setting = Setting(
            prepare=lambda: self._prepare(wanted.program),
            probe=wanted.probe,
            cpu=wanted.program.cpu,
            memory=wanted.program.memory,
            grace=wanted.grace,
            drain=self._drain,
        )
        return Version(wanted, body, setting=setting, ground=self._running(), changed=self._dirty.set, ports=ports)

    def _prepare(self, program: Program) -> CommandLine:
        image = self._images.get(program.repository, program.digest)
        line = command_line(image, program, python=self._python)
        environment = {name: _ADDRESS.sub(self._address, value) for name, value in line.environment.items()}
        return replace(line, environment={**_BASE_ENVIRONMENT, **environment})

    def _address(self, match: re.Match[str]) -> str:
        environment = self._namespaces.get(match[2])
        if environment is None or self._traffic is None:
            return match[0]
        try:
            return self._traffic.url(match[1], environment)
        except NotFound:
            return match[0]  # a service that is not ours; its name will not resolve, as it would not in a cluster

    def _begin_job(self, wanted: model.WantedJob) -> None:
        def changed() -> None:
            with self._lock:
                self._save()

        run = JobRun(wanted, lambda: self._prepare(wanted.program), self._running(), changed=changed)
        self._jobs[wanted.namespace, wanted.name] = run
        run.start()

    # -- the controller -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._dirty.wait(_TICK)
            self._dirty.clear()
            for place in list(self._services):
                if self._stopping.is_set():
                    return
                try:
                    self._advance(place)
                    self._trouble.pop(place, None)
                except AegisError as error:  # the splitter; tried again at the next tick
                    self._trouble[place] = error.message

    def _advance(self, place: tuple[str, str]) -> None:
        """Hand the address over where it is due, keep the splitter's addresses true, forget what has ended."""
        with self._lock:
            service = self._services[place]
            self._forget(place, service)
            due = self._due(service)
        if due is not None:
            self._take_over(place, due)
        with self._lock:
            moved = [
                (one, one.addresses)
                for one in service.running()
                if one.addresses and one.addresses != one.routed and one is not due
            ]
        for version, addresses in moved:
            self._reroute(place, version, addresses)

    def _forget(self, place: tuple[str, str], service: Service) -> None:
        self._leaving = [one for one in self._leaving if not one.ended]
        gone = [key for key, one in service.versions.items() if one.retiring and one.ended]
        for key in gone:
            del service.versions[key]
        if not service.versions and not service.wanted:
            del self._services[place]
        if gone:
            self._save()

    def _due(self, service: Service) -> Version | None:
        version = service.versions.get(service.wanted)
        if version is None or version.retiring or not version.complete or service.active == service.wanted:
            return None
        owner = service.versions.get(service.active)
        beside = version.wanted.strategy in ("canary", "blue-green")
        if owner is not None and beside and owner.wanted.release != version.wanted.release:
            return None  # the rollout decides
        return version if version.addresses else None

    def _take_over(self, place: tuple[str, str], version: Version) -> None:
        """New before old: routed and in force, then recorded, then the old one ends."""
        addresses = version.addresses
        if self._traffic is not None:
            share = {version.wanted.release: (addresses, 100)}
            self._traffic.set_weights(place[1], self._environment(place), share)
        with self._lock:
            service = self._services.get(place)
            # Meanwhile another wish may have come, even one of the same name.
            if service is None or version.retiring or service.versions.get(service.wanted) is not version:
                return
            service.active = version.wanted.key
            version.routed = addresses
            for other in service.running():
                if other is not version:
                    other.finish(drain=True)
            self._save()

    def _reroute(self, place: tuple[str, str], version: Version, addresses: tuple[str, ...]) -> None:
        environment, release = self._environment(place), version.wanted.release
        if self._traffic is not None:
            with self._lock:
                service = self._services.get(place)
                owner = service is not None and service.active == version.wanted.key
            if owner and not self._traffic.weights(place[1], environment):
                self._traffic.set_weights(place[1], environment, {release: (addresses, 100)})
            else:
                self._traffic.set_addresses(place[1], environment, release, addresses)
        version.routed = addresses
        with self._lock:
            self._save()

    def _environment(self, place: tuple[str, str]) -> str:
        return self._namespaces.get(place[0], place[0])

    # -- what survives ------------------------------------------------------------------------------------

    def _save(self) -> None:
        live: dict[str, tuple[Mapping[str, Any], ...]] = {}
        for ref, one in self._live.items():
            live[ref.namespace] = (*live.get(ref.namespace, ()), one.body)
        services = tuple(
            state.ServiceRecord(
                namespace=one.namespace,
                name=one.name,
                wanted=one.wanted,
                active=one.active,
                versions=tuple(
                    state.VersionRecord(body=version.body, ports=tuple(each.port for each in version.replicas))
                    for version in one.running()
                ),
            )
            for one in self._services.values()
        )
        ended = [one.status if isinstance(one, JobRun) else one for one in self._jobs.values()]
        jobs = tuple(
            state.JobRecord(namespace=one.namespace, name=one.name, state=one.state, message=one.message)
            for one in ended
            if one.state is not JobState.RUNNING
        )
        record = state.Record(keys=self._keys, live=live, services=services, jobs=jobs)
        state.save(self._directory / "state.json", record)

    def _restore(self, record: state.Record) -> None:
        self._keys = record.keys
        for namespace, bodies in record.live.items():
            for body in bodies:
                one = replace(manifest(body), namespace=namespace)
                self._live[one.ref] = one
        self._jobs = {
            (one.namespace, one.name): JobStatus(
                namespace=one.namespace, name=one.name, state=JobState(one.state), message=one.message
            )
            for one in record.jobs
        }
        for kept in record.services:
            config_maps = self._config_maps(kept.namespace, ())
            service = Service(namespace=kept.namespace, name=kept.name, wanted=kept.wanted, active=kept.active)
            self._services[kept.namespace, kept.name] = service
            for version in kept.versions:
                placed = replace(manifest(version.body), namespace=kept.namespace)
                wanted = model.deployment(placed, config_maps)
                service.versions[wanted.key] = self._make(wanted, version.body, version.ports)
        for each in list(self._live.values()):
            if each.kind == "Job" and (each.namespace, each.name) not in self._jobs:
                self._begin_job(model.job(each, self._config_maps(each.namespace, ())))
