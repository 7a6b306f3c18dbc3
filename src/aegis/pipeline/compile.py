"""From a project's files and one occasion (a push, a tag, a merge request, …) to a `Plan`. Pure.

The order of passes: configuration → workflow → rules per job → edges → variables → plan. Each pass has a module of its
own; this one only carries values from one to the next and turns problems into an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from aegis.core.errors import Where
from aegis.core.plan import Excluded, JobEnvironment, JobSpec, Plan, Variable
from aegis.pipeline import graph, jobs, predefined
from aegis.pipeline.conditions import Conditions, Context, Match, Scope, flat, why_none
from aegis.pipeline.configuration import Configuration, Definition, configure, yaml_variables
from aegis.pipeline.declared import ScopedVariable
from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, plain
from aegis.pipeline.inspection import Inspection
from aegis.pipeline.keywords import NOT_CARRIED_OUT, PARTS_NOT_CARRIED_OUT
from aegis.pipeline.layers import Layers
from aegis.pipeline.matrix import Instance
from aegis.pipeline.only import Target, judge
from aegis.pipeline.request import Compilation, CompileRequest
from aegis.pipeline.variables import RUN_TIME, Expansion, circles, layered, visible

_PUSHES = frozenset({"push", "merge_request_event", "external_pull_request_event"})


def compile_pipeline(request: CompileRequest, report: Report | None = None) -> Compilation:
    """The plan of one pipeline, or what keeps it from being one. Never raises for what a file holds.

    `report` collects what is wrong; another one than the usual may take some of it less seriously.
    """
    report = report if report is not None else Report()
    context = _context(request)
    configuration = configure(request, context, report)
    if configuration is None:
        return _answer(None, None, report)
    names = graph.Names(configuration)
    _check(configuration, names, report)
    if report.errors:
        return _answer(None, configuration, report)
    return _Compiler(request, context, configuration, names, report).run()


def check_pipeline(request: CompileRequest) -> Compilation:
    """What `lint` says: the file as such, whatever it would be run for. `plan` is always None."""
    return inspect_pipeline(request).compilation


def inspect_pipeline(request: CompileRequest, report: Report | None = None) -> Inspection:
    """The same with what it was said of: for editors and for advice."""
    report = report if report is not None else Report()
    context = _context(request)
    configuration = configure(request, context, report)
    names = None
    if configuration is not None:
        names = graph.Names(configuration)
        _check(configuration, names, report)
    return Inspection(
        compilation=_answer(None, configuration, report),
        configuration=configuration,
        names=names,
        context=context,
        root_file=request.root,
    )


def _context(request: CompileRequest) -> Context:
    values = visible(
        layered(
            (Variable(key=name, value=value) for name, value in predefined.of_request(request).items()),
            request.project_variables,
            request.pipeline_variables,
        )
    )
    outside = (
        *request.project_variables,
        *(one.variable for one in request.scoped_variables),
        *request.pipeline_variables,
    )
    masked = (one.key for one in outside if one.masked or one.secret)
    known = request.source in _PUSHES and request.ref_kind != "tag"
    return Context(
        files=request.files,
        values=values,
        changed=request.changed if known else None,
        comparisons=request.comparisons,
        masked=frozenset(masked),
        elsewhere=request.elsewhere,
    )


def _answer(
    plan: Plan | None,
    configuration: Configuration | None,
    report: Report,
    *,
    excluded: tuple[Excluded, ...] = (),
    skipped: str = "",
) -> Compilation:
    return Compilation(
        plan=None if report.errors else plan,
        errors=tuple(sorted(report.errors, key=_order)),
        warnings=tuple(sorted(report.warnings, key=_order)),
        merged=_Merged(configuration.root) if configuration is not None else {},
        excluded=excluded,
        stages=configuration.stages if configuration is not None else (),
        skipped=skipped,
    )


def _order(diagnostic: Any) -> tuple[str, int, int]:
    where: Where | None = diagnostic.where
    return (where.file, where.line, where.column) if where is not None else ("", 0, 0)


class _Merged(Mapping[str, Any]):
    """The merged configuration as plain values, made only when somebody looks."""

    def __init__(self, root: Map) -> None:
        self._root = root

    def __getitem__(self, key: str) -> Any:
        node = self._root.get(key)
        if node is None:
            raise KeyError(key)
        return plain(node)

    def __iter__(self) -> Any:
        return iter(self._root.entries)

    def __len__(self) -> int:
        return len(self._root.entries)


def _check(configuration: Configuration, names: graph.Names, report: Report) -> None:
    graph.check(configuration, names, report)
    workflow_rules = configuration.workflow is not None and configuration.workflow.has("rules")
    owners: dict[str, str] = {}
    for name, definition in configuration.jobs.items():
        definition.unsupported = unsupported(definition)
        for word in definition.unsupported:
            key = definition.node.key(word.partition(":")[0])
            report.warn(
                "not-carried-out",
                f"`{name}: {word}` is understood, but cannot be carried out here",
                key.where if key is not None else definition.key.where,
            )
        for instance in definition.instances:
            if owners.setdefault(instance.name, name) != name:
                report.error("duplicate-name", f"`{instance.name}` is made by two jobs", definition.key.where)
        rules = flat(definition.node.get("rules"))
        if rules and not workflow_rules and set(rules[-1].entries) == {"when"} and _when(rules[-1]) != "never":
            report.warn(
                "several-pipelines",
                f"`{name}` may run in several pipelines for one action: its last rule always matches and there are no workflow rules",
                rules[-1].where,
                "add `workflow: rules`",
            )


def _when(rule: Map) -> str:
    node = rule.get("when")
    return node.text if isinstance(node, Scalar) else ""


def unsupported(definition: Definition) -> tuple[str, ...]:
    """The job's keywords that have no effect here."""
    found = [word for word in NOT_CARRIED_OUT.intersection(definition.values) if _uses(definition.get(word))]
    if graph.mirrors(definition.get("needs")):
        found.append("needs")
    for word, part in PARTS_NOT_CARRIED_OUT:
        whole = definition.values.get(word)
        if isinstance(whole, Map) and _uses(whole.get(part)):
            found.append(f"{word}:{part}")
    return tuple(sorted(found))


def _uses(node: Node | None) -> bool:
    return node is not None and not (isinstance(node, Scalar) and node.value in {None, False})


def _outranked(request: CompileRequest) -> tuple[ScopedVariable, ...]:
    """The scoped variables that the pipeline was not given itself."""
    above = {one.key for one in request.pipeline_variables}
    return tuple(one for one in request.scoped_variables if one.variable.key not in above)


class _TooManyVariables(Exception):
    """The jobs would not fit into memory."""


class _Compiler:
    """One compilation of a valid configuration."""

    def __init__(
        self,
        request: CompileRequest,
        context: Context,
        configuration: Configuration,
        names: graph.Names,
        report: Report,
    ) -> None:
        self.request = request
        self.configuration = configuration
        self.names = names
        self.report = report
        self.conditions = Conditions(context, report)
        self.layers = Layers(
            low={key: Variable(key=key, value=value) for key, value in predefined.of_request(request).items()},
            root=dict(configuration.variables),
            high=layered(request.project_variables, request.pipeline_variables),
            scoped=_outranked(request),
        )
        self.workflow_rules = configuration.workflow is not None and configuration.workflow.has("rules")
        dotenv = any(_leaves_dotenv(one) for one in configuration.jobs.values())
        self.variables_left = request.limits.variables
        self.open_names = (lambda _: True) if dotenv else RUN_TIME.__contains__
        kind = "merge_request" if request.merge_request is not None else request.ref_kind
        self.target = Target(kind, request.ref, request.source, request.project)

    def run(self) -> Compilation:
        """The answer."""
        auto_cancel, skipped = self._workflow()
        if skipped:
            excluded = tuple(
                Excluded(name=name, reason=skipped, where=one.key.where)
                for name, one in self.configuration.jobs.items()
            )
            return _answer(None, self.configuration, self.report, excluded=excluded, skipped=skipped)
        name = self._name()
        if name is not None:
            self.layers.low["CI_PIPELINE_NAME"] = Variable(key="CI_PIPELINE_NAME", value=name, raw=True)
        chosen, excluded_jobs = self._select()
        try:
            specs = self._build(chosen)
        except _TooManyVariables:
            most = self.request.limits.variables
            self.report.error(
                "too-big", f"all jobs together have more than {most} variables", self.configuration.root.where
            )
            return _answer(None, self.configuration, self.report)
        excluded = tuple(excluded_jobs)
        stages = {spec.stage for spec in specs}
        if not stages - {".pre", ".post"}:
            why = "no job is in it" if not stages else "its jobs are all in .pre or .post"
            return _answer(
                None, self.configuration, self.report, excluded=excluded, skipped=f"there is no pipeline: {why}"
            )
        circle = graph.find_circle({spec.name: [need.job for need in spec.needs or ()] for spec in specs})
        if circle is not None:
            place = next(spec.where for spec in specs if spec.name == circle[0])
            self.report.error("circular-needs", f"`needs` goes in a circle: {' → '.join((*circle, circle[0]))}", place)
        present = tuple(one for one in self.configuration.stages if one in stages)
        plan = self._plan(specs, excluded, present, auto_cancel, name)
        return _answer(plan, self.configuration, self.report, excluded=excluded)

    def _workflow(self) -> tuple[Map | None, str]:
        """Applies workflow rules: their variables, the `auto_cancel` that holds, and why nothing runs (else empty)."""
        workflow = self.configuration.workflow
        if workflow is None:
            return None, ""
        auto = workflow.get("auto_cancel")
        cancel = auto if isinstance(auto, Map) else None
        if not self.workflow_rules:
            return cancel, ""
        rules = flat(workflow.get("rules"))
        variables = self._common()
        match = self.conditions.first(rules, self._scope(visible(variables), variables))
        if match is None:
            return cancel, f"workflow: {why_none(rules)}"
        if match.text("when") == "never":
            return cancel, f"workflow: {match.reason}: when never"
        self.layers.root.update(yaml_variables(match.rule.get("variables")))
        ruled = match.rule.get("auto_cancel")
        return (ruled if isinstance(ruled, Map) else cancel), ""

    def _name(self) -> str | None:
        """The pipeline's name, made of what all jobs know."""
        workflow = self.configuration.workflow
        name = workflow.get("name") if workflow is not None else None
        if not isinstance(name, Scalar) or not name.value:
            return None
        return Expansion(self._common(), self.open_names).text(name.text)

    def _common(self) -> dict[str, Variable]:
        """What every job has, whatever it is."""
        return {**self.layers.low, **self.layers.root, **self.layers.high}

    def _scope(self, seen: Mapping[str, str], variables: Mapping[str, Variable]) -> Scope:
        return Scope(seen, lambda: {one.key: one.value for one in Expansion(variables, self.open_names).final()})

    def _job_scope(self, definition: Definition, instance: Instance) -> Scope:
        """What the rules of one instance see; all its variables are put together only where a path names one."""

        def place() -> JobEnvironment | None:
            return self._place(definition, instance)

        def expanded() -> Mapping[str, str]:
            variables = self.layers.of(definition, instance, None, place())
            return {one.key: one.value for one in Expansion(variables, self.open_names).final()}

        return Scope(self.layers.seen(definition, instance, place), expanded)

    def _select(self) -> tuple[dict[str, jobs.Chosen], list[Excluded]]:
        """The instances that are in the pipeline by name, and those that are not with their reasons."""
        chosen: dict[str, jobs.Chosen] = {}
        excluded: list[Excluded] = []
        for definition in self.configuration.jobs.values():
            for instance in definition.instances:
                found = self._judge(definition, instance)
                if isinstance(found, jobs.Chosen):
                    chosen[instance.name] = found
                else:
                    excluded.append(Excluded(name=instance.name, reason=found, where=definition.key.where))
        return chosen, excluded

    def _judge(self, definition: Definition, instance: Instance) -> jobs.Chosen | str:
        rules = flat(definition.node.get("rules"))
        only, exclude = definition.node.get("only"), definition.node.get("except")
        if not rules and only is None and exclude is None and self.target.kind != "merge_request":
            return jobs.choose(definition, instance, None, "no rules: every branch and tag")
        scope = self._job_scope(definition, instance)
        if rules:
            match = self.conditions.first(rules, scope)
            if match is None:
                return why_none(rules)
            chosen = jobs.choose(definition, instance, match, match.reason)
            return f"{match.reason}: when never" if chosen.when == "never" else chosen
        judgement = judge(
            None if _empty(only) else only,
            None if _empty(exclude) else exclude,
            self.target,
            self.conditions,
            scope,
            defaults=not self.workflow_rules,
        )
        return jobs.choose(definition, instance, None, judgement.reason) if judgement.included else judgement.reason

    def _place(self, definition: Definition, instance: Instance) -> JobEnvironment | None:
        if definition.get("environment") is None:
            return None
        variables = self.layers.of(definition, instance, None, None)
        return jobs.environment(definition, Expansion(variables, self.open_names))

    def _build(self, chosen: dict[str, jobs.Chosen]) -> tuple[JobSpec, ...]:
        return tuple(self._job(one, chosen) for one in chosen.values())

    def _with_own(
        self, definition: Definition, instance: Instance, match: Match | None, place: JobEnvironment | None
    ) -> tuple[dict[str, Variable], dict[str, Variable]]:
        """All variables of a job, and those of them that are its own."""
        own = self.layers.own(definition, instance, match, place)
        root = self.layers.inherited(definition)
        if root is self.layers.root:
            return {**self.layers.common(), **own}, own
        return {**self.layers.low, **root, **self.layers.high, **own}, own

    def _job(self, one: jobs.Chosen, present: Mapping[str, jobs.Chosen]) -> JobSpec:
        definition, instance = one.definition, one.instance
        variables, own = self._with_own(definition, instance, one.match, None)
        self.variables_left -= len(variables)
        if self.variables_left < 0:
            raise _TooManyVariables
        if definition.get("environment") is not None:
            place = jobs.environment(definition, Expansion(variables, self.open_names))
            variables, own = self._with_own(definition, instance, one.match, place)
            place = jobs.address(place, Expansion(variables, self.open_names))
        else:
            place = None
        if one.when == "manual" and "CI_JOB_MANUAL" not in variables:
            variables["CI_JOB_MANUAL"] = own["CI_JOB_MANUAL"] = Variable(key="CI_JOB_MANUAL", value="true")
        expansion = self.layers.expansion(definition, variables, own, self.open_names)
        for circle in circles(variables, expansion.referring) if expansion.referring else ():
            names = ", ".join(f"`{name}`" for name in circle)
            self.report.error(
                "circular-variables",
                f"`{definition.name}`: {names} refer to one another in a circle",
                definition.key.where,
            )
        rule = one.match.rule if one.match is not None else None
        edges = (
            graph.needs_of(definition, rule, instance.values, names=self.names, present=present, report=self.report),
            graph.dependencies_of(definition, self.names, present),
        )
        expansion = Expansion(variables, self.open_names)
        built = jobs.build(
            one, variables=variables, expansion=expansion, place=place, edges=edges,
            given=self._given(definition, instance, one.match) if definition.node.has("trigger") else {},
        )  # fmt: skip
        for name in expansion.too_long:
            where = definition.key.where
            self.report.error(
                "variable-too-long",
                f"`{definition.name}`: `{name or 'a value'}` is longer than 128 KiB once expanded",
                where,
            )
        return built

    def _given(self, definition: Definition, instance: Instance, match: Match | None) -> dict[str, Variable]:
        """What the pipeline file gives a trigger job: the variables that it forwards."""
        given = self.layers.given(definition, instance, match)
        known = {**self.layers.low, **given, **self.layers.high}
        return {one.key: one for one in Expansion(known, self.open_names).final() if one.key in given}

    def _plan(
        self,
        specs: tuple[JobSpec, ...],
        excluded: tuple[Excluded, ...],
        stages: tuple[str, ...],
        auto_cancel: Map | None,
        name: str | None,
    ) -> Plan:
        from aegis.core import codec, ids  # noqa: PLC0415 - `lint` makes no plan and need not load the codec

        words = sorted({word for one in self.configuration.jobs.values() for word in one.unsupported})
        plan = Plan(
            id="",
            project=self.request.project,
            commit=self.request.commit,
            ref=self.request.ref,
            source=self.request.source,
            stages=stages,
            jobs=specs,
            excluded=excluded,
            name=name,
            policy_digest=self.request.policy_digest,
            auto_cancel=_word(auto_cancel, "on_new_commit", "conservative"),
            on_job_failure=_word(auto_cancel, "on_job_failure", "none"),
            given=self.request.pipeline_variables,
            unsupported=tuple(words),
        )
        return replace(plan, id=ids.sha256(codec.encode((replace(plan, jobs=()), *_parts(specs)))))


def _parts(specs: tuple[JobSpec, ...]) -> Iterator[object]:
    """All of the jobs for the plan's digest. Variables that jobs share are written once; a job that lacks one writes all."""
    if not specs:
        return
    shared = {id(one) for one in specs[0].variables} & {id(one) for one in specs[-1].variables}
    yield [one for one in specs[0].variables if id(one) in shared]
    values = attrgetter(*(one.name for one in fields(JobSpec) if one.name != "variables"))
    for spec in specs:
        own = [one for one in spec.variables if id(one) not in shared]
        whole = len(own) + len(shared) != len(spec.variables)
        yield values(spec), whole, spec.variables if whole else own


def _word(node: Map | None, key: str, default: str) -> str:
    value = node.get(key) if node is not None else None
    return value.text if isinstance(value, Scalar) and value.value is not None else default


def _empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value is None)


def _leaves_dotenv(definition: Definition) -> bool:
    artifacts = definition.get("artifacts")
    reports = artifacts.get("reports") if isinstance(artifacts, Map) else None
    return isinstance(reports, Map) and reports.has("dotenv")
