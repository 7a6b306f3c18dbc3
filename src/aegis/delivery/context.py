"""What handlers act through: the ports and engines of this server, and the options in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aegis.access.identities import Directory
from aegis.access.policy import Access, Resource
from aegis.access.tokens import Grant, Kind
from aegis.core import ids
from aegis.core.events import Draft, Record
from aegis.core.ports import Blobs, Clock, Entropy, Ledger, Repository, Signer
from aegis.delivery.options import Options, RunnerOptions
from aegis.delivery.pages_book import PagesBook
from aegis.delivery.place_book import PlaceBook
from aegis.delivery.queries.world import World
from aegis.delivery.runner_book import RunnerBook
from aegis.delivery.tokens import TokenBook
from aegis.delivery.variable_book import VariableBook
from aegis.delivery.views import Actor
from aegis.execution.coordinator import Coordinator
from aegis.execution.ports import CacheEntry, TraceStore
from aegis.execution.sealed import SealedNotes
from aegis.gitops.ports import Cluster, Sync
from aegis.pipeline.ports import Elsewhere
from aegis.registry.hosted import HostedRegistry
from aegis.registry.oci import OciRegistry
from aegis.registry.options import HostedRule
from aegis.registry.pypi import PackageIndexes
from aegis.rollout.ports import Traffic
from aegis.source.ports import GitHost
from aegis.supplychain.signing import Notary


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A declaration turned into what delivery, access and notification decide by."""

    options: Options
    directory: Directory
    access: Access
    advisories: Callable[[], bytes]
    runner: RunnerOptions
    ledger: str = ""
    """The database that keeps the ledger; empty: a file of the data directory, or where it was."""


class Declarations(Protocol):
    """Reads declarations; implemented above, where `aegis.yaml` is known."""

    def read(self, files: Callable[[str], bytes | None], paths: Sequence[str]) -> Adopted:
        """What the files of a platform repository declare; `UserError` with the place of the mistake."""
        ...


@dataclass(slots=True, kw_only=True)
class Context:
    """One server. Everything but `adopted` stays as it is while the server lives."""

    ledger: Ledger
    blobs: Blobs
    clock: Clock
    entropy: Entropy
    world: World
    adopted: Adopted
    declarations: Declarations
    host: GitHost
    engine: Coordinator
    traces: TraceStore
    images: OciRegistry
    packages: PackageIndexes
    hosted: Callable[[HostedRule], HostedRegistry]
    """The registries that GitLab hosts for a project; `UserError` where its token is not to be had."""
    signer: Signer
    """The server's own key, which signs evidence."""
    notary: Notary
    """Signs what lies beside images, and says whose signatures there are accepted."""
    cluster: Cluster
    sync: Sync
    traffic: Traffic
    tokens: TokenBook
    runners: RunnerBook
    outside: Callable[[], Elsewhere | None]
    """What pipelines may include from other hosts; None: nothing is declared."""
    places: PlaceBook
    caches: SealedNotes[CacheEntry]
    variables: VariableBook
    pages: PagesBook
    url: str
    """Where jobs and people reach this server: `http://127.0.0.1:PORT`."""
    registry: str
    """`host:port` in the names of released images, in Git, signatures and provenance: it outlives a change of port."""

    @property
    def options(self) -> Options:
        """The options in force now. Read once per decision."""
        return self.adopted.options

    @property
    def address(self) -> str:
        """`host:port` of this server."""
        return self.url.partition("://")[2]

    def new_id(self) -> str:
        """A fresh id that sorts by time."""
        return ids.ulid(int(self.clock.now().timestamp() * 1000), self.entropy.take(10))

    def repository(self, project: str) -> Repository:
        """A hosted repository; `NotFound`."""
        return self.host.repository(project)

    def subject(self, subject: str) -> tuple[Record, ...]:
        """A subject's records from the writer's state."""
        return self.ledger.subject(subject)

    def append(self, *drafts: Draft, expect: Mapping[str, int] | None = None) -> int:
        """Append and answer the last sequence number."""
        return self.ledger.append(drafts, expect=expect)[-1].seq

    def authorise(
        self,
        actor: Actor,
        verb: str,
        *,
        kind: str = "project",
        name: str = "",
        project: str = "",
        service: str = "",
        environment: str = "",
        run: str = "",
        quarantined: bool = False,
        public: bool = False,
        emergency: bool = False,
    ) -> None:
        """Raise `Denied` with the rule that would be needed, unless the actor may do `verb` to that resource."""
        if actor.kind == "system":
            return
        resource = Resource(
            kind=kind, name=name, project=project, service=service, environment=environment, run=run,
            quarantined=quarantined, public=public,
        )  # fmt: skip
        self.adopted.access.require(grant_of(actor), verb, resource, {"emergency": emergency})


def grant_of(actor: Actor) -> Grant:
    """The grant that an actor speaks with."""
    return Grant(
        identity=actor.id,
        kind=Kind(actor.kind),
        scopes=actor.scopes,
        project=actor.project,
        run=actor.run,
        job=actor.job,
    )


def actor_of(grant: Grant, directory: Directory) -> Actor:
    """Who a grant stands for, as doors and handlers know them."""
    identity = directory.by_id(grant.identity)
    return Actor(
        id=grant.identity,
        name=identity.name if identity else grant.identity,
        groups=tuple(sorted(identity.groups)) if identity else (),
        kind=grant.kind.value,
        language=identity.language if identity else "",
        scopes=grant.scopes,
        project=grant.project,
        run=grant.run,
        job=grant.job,
    )
