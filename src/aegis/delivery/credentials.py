"""What only one attempt of one job may hold: its token and the addresses that carry it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from aegis.access.id_tokens import Key, Subject, claims, token
from aegis.access.tokens import mint_job_token
from aegis.core.errors import Denied
from aegis.core.plan import JobSpec, Variable
from aegis.core.ports import Clock
from aegis.core.types import JobRun, Run
from aegis.delivery.options import Options
from aegis.delivery.variable_book import ROOT, VariableBook
from aegis.execution.runners import JobCredentials
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import parse

MARGIN_SECONDS = 26 * 3600
"""A job's token ends with its job. The time in it only bounds that, and must outlast a wall clock that is set by a day meanwhile."""


class JobTokens:
    """Makes credentials. Tokens are signed, name their attempt, and end with it or with the job's time."""

    def __init__(self, secret: bytes, clock: Clock, url: str, options: Callable[[], Options], key: Key) -> None:
        self._secret = secret
        self._clock = clock
        self._url = url
        self._options = options
        self._key = key

    def credentials(self, run: Run, spec: JobSpec, job: JobRun) -> JobCredentials:
        """See `Coordinator`."""
        own = mint_job_token(
            self._secret,
            run=run.id,
            job=job.id,
            attempt=job.attempt,
            project=run.project,
            expires_at=self._clock.now() + timedelta(seconds=spec.timeout + MARGIN_SECONDS),
        )
        address = urlsplit(self._url)
        inside = f"{address.scheme}://job:{own}@{address.netloc}"
        project = self._options().projects.get(run.project)
        index = project.index if project is not None else "default"
        variables = (
            Variable(key="CI_JOB_TOKEN", value=own, raw=True, masked=True),
            Variable(key="AEGIS_INDEX_URL", value=f"{inside}/pypi/{index}/simple/", raw=True),
            Variable(key="AEGIS_UPLOAD_URL", value=f"{self._url}/pypi/quarantine/legacy/", raw=True),
            Variable(key="CI_REGISTRY_USER", value="job", raw=True),
            Variable(key="CI_REGISTRY_PASSWORD", value=own, raw=True, masked=True),
        )
        trusted = self._options().is_protected(run.ref)
        signed = identity_variables(self._key, self._url, self._clock, run, spec, job, trusted=trusted)
        return JobCredentials(token=own, variables=(*variables, *signed), trusted=trusted)


def identity_variables(
    key: Key, issuer: str, clock: Clock, run: Run, spec: JobSpec, job: JobRun, *, trusted: bool
) -> tuple[Variable, ...]:
    """The signed tokens that a job's `id_tokens` asks for, as masked variables."""
    environment = spec.environment.name if spec.environment is not None else ""
    subject = Subject(run=run, job=job, protected=trusted, environment=environment, seconds=spec.timeout)
    now = clock.now()
    return tuple(
        Variable(key=one.name, value=token(key, claims(subject, one.audiences, issuer, now)), raw=True, masked=True)
        for one in spec.id_tokens
    )


class JobSecrets:
    """Resolves `secret://` references of jobs: only those below the project's own path, only for protected refs."""

    def __init__(self, store: SecretStore, options: Callable[[], Options], variables: VariableBook) -> None:
        self._store = store
        self._options = options
        self._variables = variables

    def __call__(self, run: Run, spec: JobSpec, reference: str) -> str:
        """See `ResolveSecret`; `Denied` where the job may not have it."""
        asked = parse(reference)
        if asked.path.startswith(ROOT):
            return self._variables.resolve(run, asked, protected=self._options().is_protected(run.ref))
        if asked.path != run.project and not asked.path.startswith(f"{run.project}/"):
            raise Denied(
                "secret-of-others",
                f"job {spec.name!r} asks for {asked}, which is not a secret of {run.project}",
                hint=f"keep it below {run.project}/",
            )
        if not self._options().is_protected(run.ref):
            raise Denied(
                "secret-protected",
                f"{asked} is only for protected branches and tags, and {run.ref} is none",
                hint="leave the job out there with `rules`, or protect the branch",
            )
        return self._store.get(asked)
