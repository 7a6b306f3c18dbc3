"""What the declaration means to delivery: small frozen options, replaced as a whole when a policy is adopted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from aegis.access.approvals import ApprovalPolicy
from aegis.core.errors import NotFound
from aegis.execution.containers import ContainerPolicy
from aegis.execution.network import Network, NetworkPolicy
from aegis.execution.ports import JobLimits
from aegis.gates.policy import GatePolicy
from aegis.gitops.overlay import ServiceSpec
from aegis.pipeline.declared import DeclaredVariable
from aegis.registry.options import RegistryOptions
from aegis.rollout.strategy import Strategy
from aegis.source.branches import ProtectedBranch, ProtectedTag, matches
from aegis.supplychain.options import KeylessRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """A pipeline that time starts. `owner` is whom it runs for; empty: nobody's rights."""

    cron: str
    branch: str
    zone: str = "UTC"
    variables: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOptions:
    """A repository: `kind` is `library`, `service` or `platform`."""

    name: str
    kind: str
    service: str = ""
    index: str = "default"
    prereleases: str = ""
    """The index for packages of branches that cut no versions; empty: a library releases nothing there, a service to `index`."""
    default_branch: str = "main"
    resource_groups: Mapping[str, str] = field(default_factory=dict)
    """The process mode of each resource group; `unordered` where none is declared."""
    schedules: Mapping[str, ScheduleOptions] = field(default_factory=dict)
    variables: tuple[tuple[DeclaredVariable, ...], ...] = ()
    """Level by level, the lowest first: everybody's, the groups', its own."""
    network: NetworkPolicy = NetworkPolicy.ALL
    """The widest that its jobs may have, where the runner gives that much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOptions:
    """Where services run and how releases come there."""

    name: str
    namespace: str
    branch: str | None = None
    """Releases of this branch come by themselves; None: by promotion from `source`."""
    source: str | None = None
    propose: bool = True
    seed: bool = False
    verify: str | None = None
    requires: tuple[str, ...] = ()
    approval: ApprovalPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """The built-in runner (none with `concurrency` 0). `timeout` is seconds of a job that names none.

    `registries` are hosts that a container engine may pull from by itself.
    """

    executor: str = "namespaces"
    containers: ContainerPolicy = field(default_factory=ContainerPolicy)
    registries: tuple[str, ...] = ()
    concurrency: int = 2
    tags: tuple[str, ...] | None = None
    isolation_required: bool = True
    host_tools: bool = False
    reuse: bool = True
    timeout: float = 3600.0
    network: Network = field(default_factory=lambda: Network(policy=NetworkPolicy.REGISTRIES))
    limits: JobLimits = field(default_factory=JobLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludeOptions:
    """Where else pipelines may include from: hosts (names with wildcards), those of this network (`host:port`), an instance."""

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    gitlab: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceOptions:
    """The collector of traces: its address, headers by the references of their values, hosts and private `host:port`."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Seconds for which things are kept: logs and artifacts of jobs, those of runs that became releases, deployments."""

    logs: float = 90 * 86400.0
    release_logs: float = 31557600.0
    deployments: float = 2 * 31557600.0
    caches: float = 30 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that handlers decide by. `policy_digest` names the declaration in force."""

    name: str = "Aegis"
    policy_digest: str = ""
    platform: str | None = None
    projects: Mapping[str, ProjectOptions] = field(default_factory=dict)
    branches: tuple[ProtectedBranch, ...] = ()
    tags: tuple[ProtectedTag, ...] = (ProtectedTag(pattern="v*"),)
    """Version tags are this server's to set: a tag pushed by hand would move the version line."""
    release_branches: tuple[str, ...] = ("main",)
    environments: Mapping[str, EnvironmentOptions] = field(default_factory=dict)
    services: Mapping[str, ServiceSpec] = field(default_factory=dict)
    strategies: Mapping[tuple[str, str], Strategy] = field(default_factory=dict)
    gates: GatePolicy = field(default_factory=GatePolicy)
    advisories: str = ""
    job_timeout: int = 3600
    registries: RegistryOptions = field(default_factory=RegistryOptions)
    retention: Retention = field(default_factory=Retention)
    includes: IncludeOptions = field(default_factory=IncludeOptions)
    keyless: KeylessRule | None = None
    """The Sigstore that signs images; None: the server's own key does."""
    traces: TraceOptions | None = None
    gitops_project: str = "aegis/gitops"

    def project(self, name: str) -> ProjectOptions:
        """The declared project; `NotFound` with those there are."""
        found = self.projects.get(name)
        if found is None:
            raise NotFound(
                "no-such-project",
                f"{name!r} is not declared",
                hint=f"declare it under `projects:`; declared: {', '.join(sorted(self.projects)) or 'none'}",
            )
        return found

    def project_of(self, service: str) -> ProjectOptions:
        """The project that builds a service."""
        for project in self.projects.values():
            if project.service == service:
                return project
        raise NotFound("no-such-service", f"no project builds {service!r}", hint="declare `service:` under `projects:`")

    def service(self, name: str) -> ServiceSpec:
        """The declared service."""
        found = self.services.get(name)
        if found is None:
            raise NotFound(
                "no-such-service",
                f"there is no service {name!r}",
                hint=f"declared: {', '.join(sorted(self.services)) or 'none'}",
            )
        return found

    def environment(self, name: str) -> EnvironmentOptions:
        """The declared environment."""
        found = self.environments.get(name)
        if found is None:
            raise NotFound(
                "no-such-environment",
                f"there is no environment {name!r}",
                hint=f"declared: {', '.join(self.environments) or 'none'}",
            )
        return found

    def strategy(self, service: str, environment: str) -> Strategy:
        """How a new version takes over there; rolling where nothing is declared."""
        return self.strategies.get((service, environment)) or Strategy(kind="rolling")

    def is_protected(self, ref: str) -> bool:
        """Whether only certain people can move this branch or tag; a merge request's head never is."""
        kind, _, name = ref.removeprefix("refs/").partition("/")
        if kind == "heads":
            return any(matches(one.pattern, name) for one in self.branches)
        return kind == "tags" and any(matches(one.pattern, name) for one in self.tags)

    def is_release_branch(self, branch: str) -> bool:
        """Whether versions are cut from a branch."""
        return any(fnmatchcase(branch, pattern) for pattern in self.release_branches)

    def feeds(self, branch: str) -> tuple[EnvironmentOptions, ...]:
        """The environments that follow a branch."""
        return tuple(one for one in self.environments.values() if one.branch == branch)
