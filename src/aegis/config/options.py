"""A declaration turned into options: what each capability decides by. Pure."""

from __future__ import annotations

from aegis.access.approvals import ApprovalPolicy
from aegis.access.identities import Directory, Identity
from aegis.access.policy import Access, AccessOptions, BranchRule
from aegis.config.declaration import Declaration, EnvironmentModel, RolloutModel, ServiceModel
from aegis.config.outside import TracesModel
from aegis.config.signing import KeylessModel
from aegis.config.variables import levels
from aegis.core.errors import UserError
from aegis.delivery.options import (
    EnvironmentOptions,
    IncludeOptions,
    Options,
    ProjectOptions,
    Retention,
    RunnerOptions,
    ScheduleOptions,
    TraceOptions,
)
from aegis.execution.containers import ContainerPolicy
from aegis.execution.network import Network, NetworkPolicy, place_of
from aegis.execution.ports import JobLimits
from aegis.gates.policy import from_document
from aegis.gitops.overlay import EnvironmentSpec, Resources, ServiceSpec
from aegis.registry.options import CleanUpRule, HostedRule, ImageMirrorRule, IndexRule, RegistryOptions
from aegis.rollout.strategy import OnTimeout, Strategy
from aegis.source.branches import ProtectedBranch
from aegis.supplychain.options import KeylessRule

DEVELOPERS = "developers"
OPERATOR = "operator"


def directory(declared: Declaration) -> Directory:
    """The identities and groups; `UserError` where they contradict one another."""
    identities = [
        Identity(id=name, name=one.name, emails=one.emails, language=one.language, robot=one.robot)
        for name, one in declared.identities.items()
    ]
    if OPERATOR in declared.identities or OPERATOR in declared.groups:
        raise UserError("identity-reserved", f"{OPERATOR!r} is whoever runs the server; choose another name")
    # Whoever can read `server.json` administers the server, and as a robot never counts as a second pair of eyes.
    identities.append(Identity(id=OPERATOR, name="Local operator", robot=True))
    return Directory(identities, declared.groups)


def access(declared: Declaration, people: Directory) -> Access:
    """Who may do what."""
    approvals = {name: one.approval for name, one in declared.environments.items() if one.approval}
    emergencies = {name: one.emergency for name, one in approvals.items() if one.emergency}
    developers = (DEVELOPERS,) if DEVELOPERS in declared.groups else AccessOptions().developers
    options = AccessOptions(
        administrators=(*declared.owners, OPERATOR),
        developers=(*developers, *declared.owners, OPERATOR),
        branches=tuple(
            BranchRule(branch=name, push=one.push, merge=one.merge) for name, one in declared.branches.items()
        ),
        deployers={"*": (*developers, *declared.owners, OPERATOR)},
        approvers={name: one.groups for name, one in approvals.items()},
        emergency_approvers={name: one.groups for name, one in emergencies.items()},
    )
    return Access(people, options)


def delivery(declared: Declaration, digest: str, advisories: str) -> Options:
    """What handlers decide by."""
    return Options(
        name=declared.name,
        policy_digest=digest,
        platform=declared.platform,
        projects={
            name: ProjectOptions(
                name=name,
                kind=one.kind,
                service=one.service or "",
                index=one.index or name.split("/")[0],
                prereleases=one.prereleases or "",
                default_branch=one.default_branch,
                resource_groups=dict(one.resource_groups),
                schedules={
                    label: ScheduleOptions(
                        cron=each.cron,
                        branch=each.branch or one.default_branch,
                        zone=each.zone,
                        variables=dict(each.variables),
                        owner=each.owner or "",
                        active=each.active,
                    )
                    for label, each in one.schedules.items()
                },
                variables=levels(declared, name),
                network=NetworkPolicy(one.network),
            )
            for name, one in declared.projects.items()
        },
        branches=tuple(
            ProtectedBranch(pattern=name, push=one.push, merge=one.merge) for name, one in declared.branches.items()
        ),
        release_branches=tuple(name for name, one in declared.branches.items() if one.release) or ("main",),
        environments={name: _environment(name, one) for name, one in declared.environments.items()},
        services={name: _service(name, one, declared) for name, one in declared.services.items()},
        strategies={
            (name, environment): _strategy(model)
            for name, one in declared.services.items()
            for environment, model in one.rollout.items()
        },
        gates=from_document(declared.gates, "aegis.yaml"),
        advisories=advisories,
        job_timeout=int(declared.runner.timeout),
        registries=registries(declared),
        includes=IncludeOptions(
            hosts=declared.includes.hosts, private=declared.includes.private, gitlab=declared.includes.gitlab or ""
        ),
        keyless=_keyless(declared.signing.keyless),
        traces=_traces(declared.observe.traces),
        retention=Retention(
            logs=declared.retention.logs,
            release_logs=declared.retention.release_logs,
            deployments=declared.retention.deployments,
            caches=declared.retention.caches,
        ),
    )


def _traces(model: TracesModel | None) -> TraceOptions | None:
    if model is None:
        return None
    hosts, private = model.places(model.endpoint)
    return TraceOptions(endpoint=model.endpoint, headers=model.headers, hosts=hosts, private=private)


def registries(declared: Declaration) -> RegistryOptions:
    """The rules of the registries."""
    model = declared.registries
    return RegistryOptions(
        indexes={
            name: IndexRule(
                then=one.then,
                own=one.own,
                mirror=one.mirror or "",
                fresh=one.fresh,
                user=one.user,
                password=one.password or "",
            )
            for name, one in model.packages.items()
        },
        mirrors={
            name: ImageMirrorRule(url=one.url, fresh=one.fresh, user=one.user, password=one.password or "")
            for name, one in model.mirrors.items()
        },
        cleanup=tuple(
            CleanUpRule(
                repositories=one.repositories, tags=one.tags, keep=one.keep, older=one.older_than, untagged=one.untagged
            )
            for one in model.cleanup
        ),
        gitlab=tuple(
            HostedRule(url=one.url, project=one.project, token=one.token, packages=one.packages) for one in model.gitlab
        ),
        every=model.every,
        scrub=model.scrub,
        **_hosts(declared),
    )


def _hosts(declared: Declaration) -> dict[str, tuple[str, ...]]:
    """The hosts that mirrors and clean-ups may reach: named in public, or by host and port in this network."""
    public: dict[str, None] = {}
    private: dict[str, None] = {}
    model = declared.registries
    packages = [(one, one.mirror) for one in model.packages.values() if one.mirror]
    images = [(one, one.url) for one in model.mirrors.values()]
    for source, url in (*packages, *images, *((one, one.url) for one in model.gitlab)):
        reached, near = source.places(url)
        public |= dict.fromkeys(reached)
        private |= dict.fromkeys(near)
    return {"hosts": tuple(public), "private": tuple(private)}


def _keyless(model: KeylessModel | None) -> KeylessRule | None:
    if model is None:
        return None
    from aegis.supplychain.keyless import KeylessAuthority  # noqa: PLC0415 - cryptography, which few declarations need

    reached = [model.places(url) for url in (model.fulcio, model.rekor)]
    rule = KeylessRule(
        fulcio=model.fulcio,
        rekor=model.rekor,
        identity=model.identity,
        issuer=model.issuer,
        authorities=model.authorities,
        log_key=model.log_key,
        certificate_log_key=model.certificate_log_key or "",
        hosts=tuple(dict.fromkeys(one for hosts, _ in reached for one in hosts)),
        private=tuple(dict.fromkeys(one for _, near in reached for one in near)),
    )
    try:
        KeylessAuthority(rule)
    except ValueError as error:
        raise UserError(
            "signing-keyless", f"signing.keyless: {error}", hint="write certificates and keys in PEM form"
        ) from error
    return rule


def runner(declared: Declaration) -> RunnerOptions:
    """How the built-in runner works."""
    model = declared.runner
    containers = model.containers
    return RunnerOptions(
        executor=model.executor,
        registries=containers.registries,
        containers=ContainerPolicy(
            privileged=containers.privileged,
            root=containers.root,
            socket=containers.socket,
            pull_policies=containers.pull_policies,
            image=containers.image,
        ),
        concurrency=model.concurrency,
        tags=model.tags,
        isolation_required=model.isolation == "required",
        host_tools=model.host_tools,
        reuse=model.reuse,
        timeout=model.timeout,
        network=_network(declared),
        limits=JobLimits(total_memory=model.limits.memory, cpus=model.limits.cpus, processes=model.limits.processes),
    )


def _network(declared: Declaration) -> Network:
    """What jobs may reach beside the server and what the machine itself names."""
    hosts = [one for one in (model.mirror for model in declared.registries.packages.values()) if one]
    hosts += [one.url for one in declared.registries.mirrors.values()]
    mirrors = [found for found in map(place_of, hosts) if found is not None]
    policy = NetworkPolicy(declared.runner.network)
    return Network(policy=policy, places=tuple(dict.fromkeys((*declared.runner.network_hosts, *mirrors))))


def _environment(name: str, model: EnvironmentModel) -> EnvironmentOptions:
    return EnvironmentOptions(
        name=name,
        namespace=model.namespace,
        branch=model.branch if model.from_ == "branch" else None,
        source=model.source,
        propose=model.propose,
        seed=model.seed,
        verify=model.verify,
        requires=model.requires,
        approval=_approval(name, model),
    )


def _approval(name: str, model: EnvironmentModel) -> ApprovalPolicy:
    approval = model.approval
    if approval is None:
        return ApprovalPolicy(environment=name, automatic=True)
    emergency = approval.emergency
    if emergency is None:
        return ApprovalPolicy(
            environment=name, required=approval.required, groups=approval.groups, expires_seconds=approval.expires
        )
    return ApprovalPolicy(
        environment=name,
        required=approval.required,
        groups=approval.groups,
        expires_seconds=approval.expires,
        emergency_required=emergency.required,
        emergency_groups=emergency.groups,
        emergency_expires_seconds=emergency.expires,
        review_within_seconds=emergency.review_within,
    )


def _service(name: str, model: ServiceModel, declared: Declaration) -> ServiceSpec:
    environments = []
    for environment, place in declared.environments.items():
        own = model.environments.get(environment)
        size = (own.resources if own and own.resources else None) or model.resources
        rollout = model.rollout.get(environment)
        environments.append(
            EnvironmentSpec(
                name=environment,
                namespace=place.namespace,
                replicas=own.replicas if own else 1,
                resources=Resources(cpu_limit=size.cpu, memory_limit=size.memory),
                variables=dict(own.env) if own else {},
                strategy=rollout.strategy if rollout else "rolling",
                seed=place.seed,
            )
        )
    return ServiceSpec(
        name=name,
        environments=tuple(environments),
        port=model.port,
        health_path=model.health,
        variables=dict(model.env),
        peers=dict(model.peers),
        seed_command=model.seed,
    )


def _strategy(model: RolloutModel) -> Strategy:
    return Strategy(
        kind=model.strategy,
        steps=model.steps,
        step_seconds=model.step_seconds,
        minimum_requests=model.minimum_requests,
        maximum_seconds=model.maximum_seconds,
        on_timeout=OnTimeout(model.on_timeout),
        alpha=model.alpha,
        beta=model.beta,
        margin=model.margin,
        tolerated_rate=model.tolerated_rate,
        watch_seconds=model.watch_seconds,
    )
