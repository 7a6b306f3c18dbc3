"""Puts together `aegis dev`: the environment of a developer in a working tree, made step by step and taken away without a trace.

What was made is written down before and after each step (`.aegis/dev/state.json`), so that whatever interrupts it, `up` goes on
and `down` finds everything. It reads this machine's environment; what belongs to the environment is decided in
`projects.development`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters import git_hooks
from aegis.adapters.git_hooks import Before, GitHooks
from aegis.adapters.project_programs import LocalPrograms
from aegis.adapters.services_containers import ENGINES, ContainerServices, find_engine
from aegis.bootstrap import project as shop
from aegis.bootstrap.pipeline import Local, Occasion, locate, request
from aegis.core import codec
from aegis.core.errors import AegisError, CheckFailed, ExternalError, UserError
from aegis.core.plan import Plan
from aegis.execution.environment import expand
from aegis.projects import development
from aegis.projects.ports import RunningService, ServiceWish

PARTS: Final = ("environment", "hooks", "services", "seeds")
_FOLDER: Final = ".aegis"
_STATE: Final = "state.json"
_UNSEEN: Final = frozenset({".git", ".aegis", ".venv", "node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the environment as it is: a word for its state, and a sentence."""

    name: str
    state: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What `up` made, by now. `files` are what installing left beside the environment, relative to the root."""

    made_folder: bool
    made_environment: bool = False
    files: tuple[str, ...] = ()
    hooks: Before | None = None
    seeded: str = ""
    engine: str = ""
    """What runs services; empty: none were ever started."""


@dataclass(slots=True)
class Development:
    """The developer's environment of one working tree. One process at a time works on it."""

    root: Path
    local: Local | None
    say: Callable[[str], None]
    _engine: ContainerServices | None = field(default=None, init=False)
    _plan: Plan | None = field(default=None, init=False)
    _services_now: tuple[RunningService, ...] | None = field(default=None, init=False)

    # -- what is asked for ----------------------------------------------------------------------------------------

    def up(self, without: Sequence[str] = (), *, seed_again: bool = False) -> Iterator[Part]:
        """Make what is not there; each part is given as soon as it stands. A part that cannot be made ends it."""
        if self._read() is None:
            self._write(State(made_folder=not (self.root / _FOLDER).exists()))
        for name, make in (("environment", self._environment), ("hooks", self._hooks), ("services", self._services)):
            if name not in without:
                yield make()
        if "seeds" not in without:
            yield self._seeds(again=seed_again)

    def preview(self, without: Sequence[str] = ()) -> tuple[Part, ...]:
        """What `up` would do; nothing is touched."""
        declared, wishes = self._declared(), self._wishes()
        names = ", ".join(f"{one.alias} ({one.image})" for one in wishes)
        texts = {
            "environment": "make .venv from the lock, or from what the project declares",
            "hooks": f"check before a commit, and before a push run {self._before_push(declared) or 'nothing'}",
            "services": f"start {names}" if names else "the pipeline has none",
            "seeds": "; ".join(" ".join(one) for one in self._seed_commands(declared)) or "none are declared",
        }
        return tuple(Part(name=name, state="created", text=texts[name]) for name in PARTS if name not in without)

    def status(self) -> tuple[Part, ...]:
        """What there is; empty without an environment."""
        state = self._read()
        if state is None:
            return ()
        parts = [self._environment_state(state), self._hooks_state(state)]
        parts += [self._service_state(wish) for wish in self._wishes()]
        if self._seed_commands(self._declared()):
            done = state.seeded == self._seed_mark(self._running())
            word, text = ("success", "sown") if done else ("pending", "not sown into what runs now")
            parts.append(Part(name="seeds", state=word, text=text, hint="" if done else "aegis dev up"))
        return tuple(parts)

    def variables(self) -> dict[str, str]:
        """What a developer's shell should have: the environment's programs, and where services are."""
        running = self._running()
        values = dict(self._declared().variables)
        for job in self._jobs():
            values |= development.reached(development.variables_of(job), running)
        found = {**values, **development.addresses(running)}
        if (self.root / shop.VENV).is_dir():
            programs = self.root / shop.VENV / "bin"
            found["VIRTUAL_ENV"] = str(self.root / shop.VENV)
            rest = [one for one in os.environ.get("PATH", "").split(os.pathsep) if one != str(programs)]
            found["PATH"] = os.pathsep.join((str(programs), *rest))
        return found

    def down(self, *, keep_images: bool = False) -> Iterator[Part]:
        """Take away what `up` made; what stood there before is as it was."""
        state = self._read()
        if state is None:
            return
        yield self._services_down(keep_images=keep_images)
        yield self._hooks_down(state)
        yield self._environment_down(state)
        shutil.rmtree(self._folder)
        if state.made_folder and {one.name for one in (self.root / _FOLDER).iterdir()} <= {".gitignore"}:
            shutil.rmtree(self.root / _FOLDER)

    # -- the environment ------------------------------------------------------------------------------------------

    def _environment(self) -> Part:
        venv = self.root / shop.VENV
        if not self._is_python():
            return Part(name="environment", state="skipped", text="this is no Python project")
        if venv.exists() and not (venv / shop.STAMP).exists() and not self._state().made_environment:
            return Part(
                name="environment", state="warn", text=f"{shop.VENV} is not of Aegis's making and stays as it is",
                hint="remove it, then: aegis dev up",
            )  # fmt: skip
        if not venv.exists():
            self._change(made_environment=True)
        self.say("installing the environment …")
        before = self._listed()
        try:
            done = shop.install(shop.workshop(str(self.root), quiet=True))
        finally:
            made = tuple(sorted({*self._state().files, *(self._listed() - before)}))
            self._change(files=made)
        how = "hashes verified" if done.verified else "nothing verified"
        word = "installed" if done.fresh else "is up to date"
        return Part(name="environment", state="success", text=f"{shop.VENV} {word} from {done.source} ({how})")

    def _environment_state(self, state: State) -> Part:
        venv = self.root / shop.VENV
        if not self._is_python():
            return Part(name="environment", state="skipped", text="this is no Python project")
        if not venv.is_dir():
            return Part(name="environment", state="failed", text=f"there is no {shop.VENV}", hint="aegis dev up")
        whose = "made here" if state.made_environment else "was there before"
        return Part(name="environment", state="success", text=f"{shop.VENV}, {whose}")

    def _environment_down(self, state: State) -> Part:
        for name in reversed(state.files):
            path = self.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not state.made_environment:
            return Part(name="environment", state="skipped", text="was there before and stays")
        shutil.rmtree(self.root / shop.VENV, ignore_errors=True)
        return Part(name="environment", state="success", text=f"{shop.VENV} removed")

    def _is_python(self) -> bool:
        return any(
            (self.root / one).is_file() for one in ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
        )

    def _listed(self) -> set[str]:
        """What stands in the tree: the outermost of what is new is enough to remove it."""
        found: set[str] = set()
        for folder, folders, files in os.walk(self.root):
            folders[:] = [one for one in folders if one not in _UNSEEN]
            found.update(os.path.relpath(os.path.join(folder, one), self.root) for one in (*folders, *files))  # noqa: PTH118
        return found

    # -- hooks ----------------------------------------------------------------------------------------------------

    def _hooks(self) -> Part:
        hooks = self._git()
        if hooks is None:
            return Part(name="hooks", state="skipped", text="this is no Git repository")
        folder = self._folder / "hooks"
        place = folder if self._state().hooks is not None and hooks.folder() == folder else hooks.folder()
        if place != folder:
            self._lay_hooks(folder, place)
            self._change(hooks=hooks.take(folder))
        before = self._before_push(self._declared())
        return Part(
            name="hooks", state="success",
            text=f"before a commit: lint, secrets{self._more()}; before a push: {before or 'nothing'}",
        )  # fmt: skip

    def _more(self) -> str:
        return "".join(f", {' '.join(one)}" for one in self._declared().pre_commit)

    def _lay_hooks(self, folder: Path, before: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, script in development.hook_scripts(str(self.root), sys.executable, str(before)).items():
            (folder / name).write_text(script, encoding="utf-8")
            (folder / name).chmod(0o755)

    def _hooks_state(self, state: State) -> Part:
        hooks = self._git()
        if hooks is None or state.hooks is None:
            return Part(name="hooks", state="skipped", text="none")
        if hooks.folder() != self._folder / "hooks":
            text = f"Git looks in {hooks.folder()} now"
            return Part(name="hooks", state="warn", text=text, hint="aegis dev up")
        return Part(name="hooks", state="success", text="before commits and pushes; those of before still run")

    def _hooks_down(self, state: State) -> Part:
        hooks = self._git()
        if hooks is None or state.hooks is None:
            return Part(name="hooks", state="skipped", text="there were none")
        if hooks.give_back(state.hooks, self._folder / "hooks"):
            return Part(name="hooks", state="success", text="as they were")
        return Part(name="hooks", state="warn", text=f"Git looks in {hooks.folder()} meanwhile, which stays")

    def _git(self) -> GitHooks | None:
        if self.local is None or self.local.tree is None:
            return None
        named = os.environ.get("GIT_CONFIG_GLOBAL")
        user = Path(named) if named else Path.home() / ".gitconfig"
        return GitHooks(self.local.tree.root, self.local.tree.git_directory, str(user) if user.is_file() else "")

    def hook(self, name: str, given: str) -> None:
        """What a hook does; `CheckFailed` keeps the commit or the push from happening."""
        (self._pre_commit if name == "pre-commit" else self._pre_push)(given)

    def _pre_commit(self, _: str) -> None:
        if self.local is None or self.local.tree is None:
            raise UserError("no-repository", "this is no Git repository")
        index = os.environ.get("GIT_INDEX_FILE", "")
        files = git_hooks.staged(self.local.tree.root, self.local.tree.git_directory, index)
        if development.pipeline_files(files):
            self._aegis("lint", "--no-advice", why="the pipeline is not valid")
        if files:
            self._aegis("scan", "secrets", "--staged", "--fail-on", "low", why="a secret would be committed")
        for command in self._declared().pre_commit:
            self._program(command, why=f"{' '.join(command)} failed")

    def _pre_push(self, given: str) -> None:
        if not development.pushes(given):
            return
        jobs = self._before_push(self._declared())
        if not jobs:
            self.say("no job is known to be quick yet: after `aegis run` the quick ones run before each push")
            return
        self._aegis("run", *jobs, "--logs", "none", why=f"before a push {', '.join(jobs)} must pass")

    def _before_push(self, declared: development.Declared) -> tuple[str, ...]:
        if declared.pre_push is not None:
            return declared.pre_push
        if self.local is None or not (self.root / _FOLDER / "ledger.db").is_file():
            return ()
        from aegis.bootstrap.history import usual_seconds  # noqa: PLC0415 - only where something has run

        plan = self._compiled()
        return development.quick_jobs(plan, usual_seconds(self.root, plan.project)) if plan is not None else ()

    def _aegis(self, *words: str, why: str) -> None:
        self._program((sys.executable, "-m", "aegis", *words), why=why)

    def _program(self, command: Sequence[str], *, why: str) -> None:
        own: dict[str, str] = {}
        with contextlib.suppress(UserError):  # a pipeline that is not valid is what a hook may have to tell
            own = self.variables()
        done = LocalPrograms(self.root, {**os.environ, **own}, to_errors=True).run(command)
        if done.code:
            raise CheckFailed(
                "hook-failed", why, hint="mend it; in an emergency: git commit --no-verify, git push --no-verify"
            )

    # -- services -------------------------------------------------------------------------------------------------

    def _services(self) -> Part:
        wishes = self._wishes()
        if not wishes:
            return Part(name="services", state="skipped", text="the pipeline has none")
        engine = self._services_engine()
        self._change(engine=engine.name)
        there = {one.alias: one for one in engine.services(self._key)}
        running = []
        for wish in wishes:
            mark, one = development.specification(wish), there.pop(wish.alias, None)
            if one is None or not one.running or one.specification != mark:
                self.say(f"starting {wish.alias} ({wish.image}) with {engine.name} …")
                one = engine.start(self._key, wish, mark)
            running.append(one)
        for left in there.values():
            engine.remove(left, image=False)
        self._services_now = tuple(running)
        places = ", ".join(_placed(one) for one in running)
        return Part(name="services", state="success", text=f"{places} ({engine.name})")

    def _service_state(self, wish: ServiceWish) -> Part:
        name = f"service {wish.alias}"
        one = next((one for one in self._running() if one.alias == wish.alias), None)
        if one is None:
            return Part(name=name, state="failed", text="does not run", hint="aegis dev up")
        return Part(name=name, state="running", text=_placed(one))

    def _services_down(self, *, keep_images: bool) -> Part:
        if not self._state().engine:
            return Part(name="services", state="skipped", text="there were none")
        engine = self._services_engine()
        found = engine.services(self._key)
        for one in found:
            engine.remove(one, image=one.pulled and not keep_images)
        names = ", ".join(one.alias for one in found)
        return Part(
            name="services",
            state="success" if found else "skipped",
            text=f"{names} removed" if found else "there were none",
        )

    def _services_engine(self) -> ContainerServices:
        if self._engine is None:
            state = self._read()
            wanted = (state.engine,) if state is not None and state.engine else ENGINES
            self._engine = find_engine(wanted, os.environ.get("PATH", ""), os.environ)
            self._engine.say = self.say
        return self._engine

    def _running(self) -> tuple[RunningService, ...]:
        """The services that run; none where none were started, or their engine does not answer."""
        state = self._read()
        if state is None or not state.engine:
            return ()
        if self._services_now is None:
            try:
                found = self._services_engine().services(self._key)
            except ExternalError:
                found = ()
            self._services_now = tuple(one for one in found if one.running)
        return self._services_now

    @property
    def _key(self) -> str:
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    # -- seeds ----------------------------------------------------------------------------------------------------

    def _seeds(self, *, again: bool) -> Part:
        commands = self._seed_commands(self._declared())
        if not commands:
            return Part(name="seeds", state="skipped", text="none are declared")
        mark = self._seed_mark(self._running())
        if self._state().seeded == mark and not again:
            return Part(name="seeds", state="success", text="were sown already (--seed sows again)")
        surroundings = {**os.environ, **self.variables()}
        for command in commands:
            self.say(f"sowing: {' '.join(command)}")
            done = LocalPrograms(self.root, surroundings, to_errors=True).run(command)
            if done.code:
                raise CheckFailed(
                    "seed-failed",
                    f"the seed `{' '.join(command)}` ended with {done.code}",
                    hint="mend it; then: aegis dev up",
                )
        self._change(seeded=mark)
        return Part(name="seeds", state="success", text=f"{len(commands)} sown")

    def _seed_commands(self, declared: development.Declared) -> tuple[tuple[str, ...], ...]:
        """Those of `[tool.aegis.dev]`; else what a declaration beside the project lets environments be sown with."""
        if declared.seeds or not (self.root / "aegis.yaml").is_file():
            return declared.seeds
        from aegis.config.load import load  # noqa: PLC0415 - only where there is one

        found = load((self.root / "aegis.yaml").read_bytes(), file="aegis.yaml")
        return tuple(one.seed for one in found.services.values() if one.seed)

    def _seed_mark(self, running: Sequence[RunningService]) -> str:
        """Other seeds, or services started anew, are sown again."""
        parts = (self._seed_commands(self._declared()), sorted(one.id for one in running))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    # -- what is declared -----------------------------------------------------------------------------------------

    def _declared(self) -> development.Declared:
        file = self.root / "pyproject.toml"
        if not file.is_file():
            return development.declared({})
        try:
            document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise UserError("pyproject", f"pyproject.toml is not valid TOML: {error}") from error
        return development.declared(document.get("tool", {}))

    def _compiled(self) -> Plan | None:
        if self._plan is None and self.local is not None and self.local.file:
            from aegis.pipeline.compile import compile_pipeline  # noqa: PLC0415 - start-up is a feature

            found = compile_pipeline(request(self.local, Occasion(predefined={"AEGIS_LOCAL": "true"})))
            if found.errors:
                first = found.errors[0]
                raise UserError(first.code, first.message, hint=first.hint or "aegis lint", where=first.where)
            self._plan = found.plan
        return self._plan

    def _jobs(self) -> tuple[Any, ...]:
        plan = self._compiled()
        return tuple(job for job in plan.jobs if job.services) if plan is not None else ()

    def _wishes(self) -> tuple[ServiceWish, ...]:
        found = []
        for job in self._jobs():
            own = development.variables_of(job)
            wishes = [
                ServiceWish(
                    alias=one.alias or development.alias_of(expand(one.name, own)),
                    image=expand(one.name, own),
                    variables={**own, **one.variables},
                    command=one.command or (),
                    entrypoint=one.entrypoint,
                )
                for one in job.services
            ]
            found.append((job, wishes))
        return development.services_of(found)

    # -- what is written down -------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self.root / _FOLDER / "dev"

    def _read(self) -> State | None:
        file = self._folder / _STATE
        return codec.decode(file.read_bytes(), State) if file.is_file() else None

    def _state(self) -> State:
        found = self._read()
        if found is None:
            raise AssertionError("asked for before it was written")
        return found

    def _change(self, **fields: Any) -> None:
        self._write(replace(self._state(), **fields))

    def _write(self, state: State) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignored = self.root / _FOLDER / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
        made = self._folder / f"{_STATE}.new"
        made.write_bytes(codec.encode(state))
        made.replace(self._folder / _STATE)


def _placed(one: RunningService) -> str:
    ports = ", ".join(f"{inside} at {one.host}:{outside}" for inside, outside in sorted(one.ports.items()))
    return f"{one.alias}: {ports or 'no ports'}"


def here(path: str, say: Callable[[str], None]) -> Development:
    """The environment of the working tree that `path` lies in; without a pipeline there are no services."""
    try:
        local = locate(path)
    except AegisError:
        from aegis.adapters import files_worktree  # noqa: PLC0415 - only here

        tree = files_worktree.find(Path(path))
        if tree is None:
            return Development(root=Path(path).resolve(), local=None, say=say)
        return Development(root=tree.root, local=Local(directory=tree.root, file="", tree=tree), say=say)
    return Development(root=local.directory, local=local, say=say)
