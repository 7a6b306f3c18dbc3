"""`aegis.yaml` as strict models: what may be written, with its defaults.

It checks shapes and references between parts. What a value means is decided by the capability that gets it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from aegis.config.outside import IncludesModel, ObserveModel
from aegis.config.registries import RegistriesModel
from aegis.config.runner import RunnerModel
from aegis.config.signing import SigningModel
from aegis.config.strict import Seconds, Strict, known
from aegis.core.errors import AegisError
from aegis.core.ids import is_name, is_project
from aegis.execution.cron import parse
from aegis.gates.policy import from_document


class IdentityModel(Strict):
    """A person, or a robot that never approves."""

    name: str
    emails: tuple[str, ...] = ()
    language: Literal["en", "ko"] = "en"
    robot: bool = False


class VariableModel(Strict):
    """A variable of a project or group, with GitLab's attributes. `masked` promises only what can be kept."""

    value: str
    protected: bool = False
    masked: bool = False
    raw: bool = False
    environment_scope: str = Field("*", min_length=1, max_length=255)
    variable_type: Literal["env_var", "file"] = "env_var"

    @model_validator(mode="after")
    def _maskable(self) -> VariableModel:
        reference = self.value.startswith("secret://")
        if self.masked and not reference and (len(self.value) < 8 or re.search(r"\s", self.value)):
            raise ValueError("only a value of at least 8 characters without spaces can be masked")
        return self


def _entries(value: object) -> object:
    """A text, or a mapping, or a list of mappings with different scopes: always a list."""
    if isinstance(value, str):
        return [{"value": value}]
    return [value] if isinstance(value, dict) else value


def _named_variables(variables: dict[str, tuple[VariableModel, ...]]) -> dict[str, tuple[VariableModel, ...]]:
    for name, entries in variables.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of a variable: use letters, digits and _")
        scopes = [one.environment_scope for one in entries]
        if not scopes or len(set(scopes)) < len(scopes):
            raise ValueError(f"{name}: write one entry for each `environment_scope`")
    return variables


Variables = Annotated[
    dict[str, Annotated[tuple[VariableModel, ...], BeforeValidator(_entries)]], AfterValidator(_named_variables)
]


class ScheduleModel(Strict):
    """A pipeline that time starts: `cron` in a time zone, of a branch (the default one where none is named).

    `owner` is the identity it runs for; without one it may not start pipelines of other projects.
    """

    cron: str
    branch: str | None = None
    zone: str = "UTC"
    variables: dict[str, str] = {}
    owner: str | None = None
    active: bool = True

    @model_validator(mode="after")
    def _readable(self) -> ScheduleModel:
        try:
            parse(self.cron, self.zone)
        except AegisError as error:
            raise ValueError(error.message) from error
        return self


class ProjectModel(Strict):
    """A repository. `service` names the service it builds, `index` the package index it reads and releases to.

    Without `index` it is the one named after the project's group. `prereleases` is the index that a library's pre-releases go to.
    `network` can only tighten what the runner gives.
    """

    kind: Literal["library", "service", "platform"]
    service: str | None = None
    index: str | None = None
    prereleases: str | None = None
    default_branch: str = "main"
    resource_groups: dict[str, Literal["unordered", "oldest_first", "newest_first", "newest_ready_first"]] = {}
    schedules: dict[str, ScheduleModel] = {}
    variables: Variables = {}
    network: Literal["none", "registries", "all"] = "all"


class BranchModel(Strict):
    """A protected branch (wildcards allowed): groups that may push or merge; `release` branches cut versions."""

    push: tuple[str, ...] = ()
    merge: tuple[str, ...] = ()
    release: bool = False


class EmergencyModel(Strict):
    """The shorter way: always reviewed afterwards."""

    groups: tuple[str, ...]
    required: int = Field(1, ge=1)
    expires: Seconds = 3600.0
    review_within: Seconds = 86400.0


class ApprovalModel(Strict):
    """Who must say yes, how many of them, and for how long that counts."""

    groups: tuple[str, ...]
    required: int = Field(1, ge=1)
    expires: Seconds = 86400.0
    emergency: EmergencyModel | None = None


class EnvironmentModel(Strict):
    """Where services run. `from: branch` follows releases of `branch`; `from: promotion` takes what `source` has."""

    namespace: str
    from_: Literal["branch", "promotion"] = Field(alias="from")
    branch: str | None = None
    source: str | None = None
    propose: bool = True
    seed: bool = False
    verify: Literal["e2e"] | None = None
    requires: tuple[Literal["e2e"], ...] = ()
    approval: ApprovalModel | None = None

    @model_validator(mode="after")
    def _origin(self) -> EnvironmentModel:
        if self.from_ == "branch" and not self.branch:
            raise ValueError("`from: branch` needs `branch:`")
        if self.from_ == "promotion" and not self.source:
            raise ValueError("`from: promotion` needs `source:`, the environment it takes releases from")
        return self


class ResourcesModel(Strict):
    """Kubernetes quantities."""

    cpu: str = "500m"
    memory: str = "256Mi"


class ServiceEnvironmentModel(Strict):
    """What differs in one environment."""

    replicas: int = Field(1, ge=1, le=50)
    env: dict[str, str] = {}
    resources: ResourcesModel | None = None


class RolloutModel(Strict):
    """How new versions take over. Times are seconds; `alpha` bounds false rollbacks, `margin` is the rate ratio."""

    strategy: Literal["rolling", "canary", "blue-green"] = "rolling"
    steps: tuple[int, ...] = (5, 25, 50, 100)
    step_seconds: Seconds = 60.0
    minimum_requests: int = 100
    maximum_seconds: Seconds = 1800.0
    on_timeout: Literal["promote-if-clean", "hold", "rollback"] = "hold"
    watch_seconds: Seconds = 600.0
    alpha: float = Field(0.01, gt=0, lt=0.5)
    beta: float = Field(0.05, gt=0, lt=0.5)
    margin: float = Field(3.0, gt=1)
    tolerated_rate: float = Field(0.01, gt=0, lt=1)

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] != 100:
            raise ValueError("steps rise from at least 1 to 100, for instance [5, 25, 50, 100]")
        return steps


class ServiceModel(Strict):
    """A service as it is deployed."""

    port: int = Field(8000, ge=1, le=65535)
    health: str = "/healthz"
    seed: tuple[str, ...] = ()
    env: dict[str, str] = {}
    peers: dict[str, str] = {}
    """Variable to the service whose address it holds, within the same environment."""
    resources: ResourcesModel = ResourcesModel()
    environments: dict[str, ServiceEnvironmentModel] = {}
    rollout: dict[str, RolloutModel] = {}


class RetentionModel(Strict):
    """How long things are kept."""

    logs: Seconds = 90 * 86400.0
    release_logs: Seconds = 31557600.0
    deployments: Seconds = 2 * 31557600.0
    caches: Seconds = 30 * 86400.0
    audit: Seconds = 7 * 31557600.0


class LedgerModel(Strict):
    """Where the ledger is kept. `postgres` is an address without a password; empty: a file of the data directory."""

    postgres: str = ""

    @field_validator("postgres")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/")):
            raise ValueError("an address of a database is written postgres://USER@HOST/DATABASE")
        if parts.password:
            raise ValueError("no password here: PGPASSWORD or ~/.pgpass of the server's user hold it")
        return value


class Declaration(Strict):
    """The whole of `aegis.yaml`."""

    version: Literal[1]
    name: str = "Aegis"
    platform: str | None = None
    owners: tuple[str, ...] = ()
    identities: dict[str, IdentityModel] = {}
    groups: dict[str, tuple[str, ...]] = {}
    projects: dict[str, ProjectModel] = {}
    variables: dict[str, Variables] = {}
    """Of groups of projects (`shop` for `shop/orders`); `*` is every project."""
    branches: dict[str, BranchModel] = {}
    environments: dict[str, EnvironmentModel] = {}
    services: dict[str, ServiceModel] = {}
    gates: dict[str, Any] = {}
    """Read by `aegis.gates.policy`, which knows its keys."""
    runner: RunnerModel = RunnerModel()
    retention: RetentionModel = RetentionModel()
    ledger: LedgerModel = LedgerModel()
    includes: IncludesModel = IncludesModel()
    registries: RegistriesModel = RegistriesModel()
    signing: SigningModel = SigningModel()
    observe: ObserveModel = ObserveModel()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("the declaration is a mapping that begins with `version: 1`")  # noqa: TRY004 - pydantic's way
        return data

    @field_validator("gates")
    @classmethod
    def _gates(cls, gates: dict[str, Any]) -> dict[str, Any]:
        try:
            from_document(gates, "aegis.yaml")
        except AegisError as error:
            raise ValueError(f"{error.message}{f'; {error.hint}' if error.hint else ''}") from error
        return gates

    @model_validator(mode="after")
    def _names(self) -> Declaration:
        for kind, names in (("service", self.services), ("environment", self.environments)):
            wrong = next((name for name in names if not is_name(name)), None)
            if wrong is not None:
                raise ValueError(f"{kind} {wrong!r}: use lower-case letters, digits and '-'")
        wrong = next((name for name in self.projects if not is_project(name)), None)
        if wrong is not None:
            raise ValueError(f"project {wrong!r}: use group/name in lower case")
        return self

    @model_validator(mode="after")
    def _references(self) -> Declaration:
        people = set(self.identities) | set(self.groups)
        for group, members in self.groups.items():
            known(members, people, f"groups.{group}")
        known(self.owners, people, "owners")
        for name, branch in self.branches.items():
            known(branch.push + branch.merge, people, f"branches.{name}")
        prefixes = {project[:at] for project in self.projects for at, one in enumerate(project) if one == "/"}
        known(tuple(self.variables), {"*", *prefixes}, "variables")
        for project, model in self.projects.items():
            if model.service is not None:
                known((model.service,), set(self.services), f"projects.{project}.service")
            owners = tuple(one.owner for one in model.schedules.values() if one.owner is not None)
            known(owners, set(self.identities), f"projects.{project}.schedules")
        for name, environment in self.environments.items():
            if environment.source is not None:
                known((environment.source,), set(self.environments), f"environments.{name}.source")
            if environment.approval is not None:
                known(environment.approval.groups, people, f"environments.{name}.approval.groups")
        for name, service in self.services.items():
            known(tuple(service.peers.values()), set(self.services), f"services.{name}.peers")
            for part in (service.environments, service.rollout):
                known(tuple(part), set(self.environments), f"services.{name}")
        return self
