"""Composes one server from concrete adapters: stores under the data directory, engines, doors. Starts nothing."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.adapters.clock_system import SystemClock, SystemEntropy
from aegis.adapters.cluster_local import LocalCluster
from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available, networks_available
from aegis.adapters.executor_process import ProcessExecutor
from aegis.adapters.git_http_backend import GitHttpBackend
from aegis.adapters.githost_directory import DirectoryGitHost
from aegis.adapters.job_files_sqlite import SqliteJobFiles
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.sync_own import OwnSync
from aegis.adapters.traces_directory import DirectoryTraces
from aegis.adapters.traffic_traefik import TraefikTraffic, find_binary
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.adapters.workspace_git import GitWorkspaces
from aegis.adapters.workspace_shared import SharedWorkspaces
from aegis.bootstrap import build_facts, engines
from aegis.bootstrap.blobs import stores_of
from aegis.bootstrap.collector import Collector
from aegis.bootstrap.declarations import FileDeclarations
from aegis.bootstrap.job_images import server_images
from aegis.bootstrap.keys import Keys
from aegis.bootstrap.ledger import open_queue, open_writer
from aegis.bootstrap.machine import Near, machine
from aegis.bootstrap.notary import ServerNotary, identity_token
from aegis.bootstrap.outside import Outside
from aegis.bootstrap.registries import Stores, credential, hosted, registries
from aegis.build.platforms import image_for
from aegis.core.errors import ExternalError
from aegis.core.ports import Masker
from aegis.delivery.context import Adopted, Context
from aegis.delivery.credentials import JobSecrets, JobTokens
from aegis.delivery.dispatch import Dispatcher
from aegis.delivery.entrance import Entrance
from aegis.delivery.foreign_files import ForeignFiles
from aegis.delivery.git_door import HostedGitDoor
from aegis.delivery.job_network import job_network
from aegis.delivery.options import Options
from aegis.delivery.pages_book import PagesBook
from aegis.delivery.pages_door import PagesDoor
from aegis.delivery.place_book import PlaceBook
from aegis.delivery.queries.world import World
from aegis.delivery.runner_book import RunnerBook
from aegis.delivery.runner_door import RunnerDoor
from aegis.delivery.runner_facts import Numbers
from aegis.delivery.tokens import TokenBook
from aegis.delivery.variable_book import VariableBook
from aegis.execution.coordinator import Coordinator
from aegis.execution.network import NetworkPolicy
from aegis.execution.options import CoordinatorOptions, SupervisorOptions
from aegis.execution.ports import CacheEntry, Executor
from aegis.execution.resources import UNORDERED
from aegis.execution.reuse import Proven
from aegis.execution.sealed import SealedNotes
from aegis.execution.supervise import Supervisor, Tools
from aegis.execution.supervise.timings import Durations, Timings
from aegis.gitops.ports import ImageLayer, PulledImage
from aegis.ledger.projections import ProjectionRunner
from aegis.notify.inbox import Inbox
from aegis.observe.metrics import Metrics
from aegis.registry.oci import OciRegistry
from aegis.secrets.masking import SecretMasker

if TYPE_CHECKING:
    from aegis.adapters.ledger_postgres import PostgresLedger

PRIVATE: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A server, put together and not yet running."""

    data: Path
    context: Context
    dispatcher: Dispatcher
    entrance: Entrance
    git_door: HostedGitDoor
    runner_door: RunnerDoor
    ledger: SqliteLedger | PostgresLedger
    projections: ProjectionRunner
    checkpoints: SqliteCheckpoints
    inbox: Inbox
    metrics: Metrics
    traces: DirectoryTraces
    cluster: LocalCluster
    traffic: TraefikTraffic
    keys: Keys
    supervisor: Callable[[], Supervisor]
    collector: Collector
    pages: PagesDoor
    closers: tuple[Callable[[], None], ...]
    warnings: tuple[str, ...]


def private(data: Path) -> Path:
    """The data directory, readable by its owner alone; `ExternalError` when it is open to others."""
    data.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    if data.stat().st_mode & 0o077:
        raise ExternalError(
            "data-open", f"{data} can be read by others; it holds keys and secrets", hint=f"chmod 700 {data}"
        )
    return data.resolve()


def build(adopted: Adopted, data: Path, url: str, environ: Mapping[str, str]) -> Plant:
    """Put a server together over its data directory."""
    clock, entropy = SystemClock(), SystemEntropy()
    blobs, shelf = stores_of(data, environ)
    ledger = open_writer(data, adopted.ledger, clock=clock, entropy=entropy, blobs=blobs, waiting=_standby)
    keys = Keys.open(data, environ, entropy)
    host = DirectoryGitHost(data / "git")
    images, indexes = SqliteImages(data / "images.sqlite"), SqliteIndexes(data / "packages.sqlite")
    traces = DirectoryTraces(data / "traces")
    queue = open_queue(ledger, data)
    job_files = SqliteJobFiles(data / "job-files.sqlite")
    value = partial(credential, environ=environ, store=keys.store)
    registry, packages = registries(
        Stores(blobs=blobs, images=images, indexes=indexes, uploads=DirectoryUploads(data / "uploads", blobs)),
        clock,
        lambda: context.options.registries,
        value,
    )
    pairs = [(service, one.name) for service, spec in adopted.options.services.items() for one in spec.environments]
    traffic = TraefikTraffic(data / "traffic", binary=find_binary(), clock=clock, pairs=pairs, conceal=(data,))
    cluster = LocalCluster(
        data / "cluster",
        pull=_puller(registry),
        clock=clock,
        python=sys.executable,
        namespaces={one.namespace: one.name for one in adopted.options.environments.values()},
        traffic=traffic,
        conceal=(data,),
    )
    runner = adopted.runner
    tokens = JobTokens(keys.job_secret, clock, url, lambda: context.options, keys.identity)
    variables = VariableBook(ledger, threading.RLock(), keys.store)
    engine = Coordinator(
        ledger=ledger,
        blobs=blobs,
        clock=clock,
        traces=traces,
        queue=queue,
        credentials=tokens.credentials,
        options=CoordinatorOptions(require_isolation=runner.isolation_required),
        resolve_secret=JobSecrets(keys.store, lambda: context.options, variables),
        foreign=ForeignFiles(lambda: context, lambda number: Numbers(context).run(number)),
        process_mode=lambda project, group: _process_mode(context.options, project, group),
    )
    caches = SealedNotes(shelf, keys.note_secret, "cache", CacheEntry)
    notary = ServerNotary(
        keys.artifact, lambda: context.options.keyless, identity_token(environ, keys.identity, url, clock)
    )
    context = Context(
        ledger=ledger, blobs=blobs, clock=clock, entropy=entropy, world=World(), adopted=adopted,
        declarations=FileDeclarations(), host=host, engine=engine, traces=traces, images=registry, packages=packages,
        hosted=hosted(lambda: context.options.registries, value),
        signer=keys.artifact, notary=notary, cluster=cluster, sync=OwnSync(cluster), traffic=traffic,
        tokens=TokenBook(ledger, threading.Lock()), runners=RunnerBook(ledger, threading.Lock()), url=url,
        caches=caches, places=PlaceBook(ledger, threading.Lock()), variables=variables,
        pages=PagesBook(ledger, threading.Lock()), registry=registry_name(data, url),
        outside=Outside(lambda: context.options.includes, data / "includes"),
    )  # fmt: skip
    entrance = Entrance(context, keys.job_secret)
    registry.on_manifest = entrance.image_pushed
    packages.on_file = entrance.package_uploaded
    checkpoints = SqliteCheckpoints(data / "checkpoints.sqlite")
    projections = ProjectionRunner(ledger, checkpoints)
    inbox, metrics = Inbox(), Metrics()
    for projection in (context.world, inbox, metrics):
        projections.follow(projection)
    allowed, near = machine(environ, whole_path=False), Near(environ)

    def supervisor() -> Supervisor:
        isolated = isolation_available()
        kept = runner.network.policy is NetworkPolicy.ALL or networks_available()
        if runner.executor != "namespaces" and runner.concurrency:
            executor: Executor = engines.executor(runner.executor, environ, runner.containers)
        elif runner.concurrency and not (kept and (isolated.ok or not runner.isolation_required)):
            wanted = "isolated here" if not isolated.ok and runner.isolation_required else "kept from the network here"
            mends = [isolated.mend, "or declare `runner: {isolation: optional, network: all}`"]
            raise ExternalError(
                "no-isolation", f"jobs cannot be {wanted}: {isolated.detail}", hint="; ".join(filter(None, mends))
            )
        elif isolated.ok:
            executor = NamespaceExecutor(read_only=allowed.read_only, environ=environ)
        else:
            executor = ProcessExecutor()
        options = SupervisorOptions(
            directory=data / "jobs",
            concurrency=runner.concurrency,
            tags=runner.tags,
            tool_paths=allowed.tool_paths,
            read_only=allowed.read_only,
            tool_cache=data / "tool-cache",
            passthrough=allowed.passthrough,
            host_tools=runner.host_tools,
            reuse=runner.reuse,
            machine=allowed.identity(),
            limits=runner.limits,
            image=runner.containers.image,
        )
        return Supervisor(
            Tools(
                source=engine,
                executor=executor,
                workspaces=SharedWorkspaces(
                    GitWorkspaces(lambda project: host.repository(project).path), data / "snapshots", executor.owner
                ),
                blobs=blobs,
                caches=caches,
                timings=Timings(SealedNotes(shelf, keys.note_secret, "durations", Durations), blobs),
                results=SealedNotes(shelf, keys.note_secret, "result", Proven),
                clock=clock,
                masker=_masker,
                options=options,
                network=lambda run: job_network(context, near.network(), run),
                images=server_images(
                    data / "roots",
                    executor,
                    registry=context.registry,
                    mirrors=lambda: context.options.registries.mirrors,
                    repository=entrance.job_image,
                    environ=environ,
                    registries=runner.registries,
                ),
            )
        )

    git_door = HostedGitDoor(
        host=host,
        backend=GitHttpBackend(host),
        identify=entrance.git_identify,
        permit=entrance.git_permit,
        protections=lambda _project: (*context.options.branches, *context.options.tags),
        on_begin=entrance.git_begun,
        on_push=entrance.git_received,
        on_refused=entrance.git_refused,
    )
    return Plant(
        data=data, context=context, dispatcher=Dispatcher(context), entrance=entrance, git_door=git_door,
        runner_door=RunnerDoor(context, engine, traces, job_files, keys.job_secret), ledger=ledger,
        projections=projections, checkpoints=checkpoints, inbox=inbox, metrics=metrics, traces=traces, cluster=cluster,
        traffic=traffic, keys=keys, supervisor=supervisor,
        collector=Collector(lambda: context.options.traces, value),
        pages=PagesDoor(context, keys.job_secret),
        closers=(images.close, indexes.close, traces.release, job_files.close, queue.close, ledger.close), warnings=keys.warnings,
    )  # fmt: skip


def _standby(holder: str) -> bool:
    """Another server writes: this one waits, and says so."""
    sys.stderr.write(f"standby: {holder} writes to the ledger; this server starts when that one has ended\n")
    sys.stderr.flush()
    return True


def registry_name(data: Path, url: str) -> str:
    """`host:port` of the first start: what images are called in Git must not change with the port of a later one."""
    path = data / "registry-name"
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(url.partition("://")[2] + "\n", encoding="utf-8")
        fresh.replace(path)
    return path.read_text(encoding="utf-8").strip()


def _process_mode(options: Options, project: str, group: str) -> str:
    declared = options.projects.get(project)
    return declared.resource_groups.get(group, UNORDERED) if declared is not None else UNORDERED


def _masker(secrets: Mapping[str, str]) -> tuple[Masker, tuple[str, ...]]:
    masker = SecretMasker(secrets)
    return masker, masker.unmasked


def _puller(registry: OciRegistry) -> Callable[[str, str], PulledImage]:
    """Images for the cluster: from the deployable repositories alone, never from quarantine."""

    def pull(repository: str, digest: str) -> PulledImage:
        name = repository.partition("/")[2]
        if name.startswith("quarantine/"):
            raise ExternalError("image-quarantined", f"{repository} is not for deployment")
        handle = registry.repository(name, actor="cluster", actions=frozenset({"pull"}))
        manifest = json.loads(handle.manifest(digest).body)
        if "manifests" in manifest:
            manifest = json.loads(handle.manifest(image_for(manifest, build_facts.target("", "").architecture)).body)
        layers = tuple(
            ImageLayer(
                digest=one["digest"],
                media_type=one["mediaType"],
                read=lambda blob=one["digest"]: handle.read_blob(blob),  # type: ignore[misc]
            )
            for one in manifest["layers"]
        )
        return PulledImage(config=b"".join(handle.read_blob(manifest["config"]["digest"])), layers=layers)

    return pull


def write_server_file(data: Path, url: str, token: str) -> Path:
    """What commands on this machine find the server by; readable by its owner alone."""
    path = data / "server.json"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"url": url, "token": token, "pid": os.getpid()}, file)
    return path
