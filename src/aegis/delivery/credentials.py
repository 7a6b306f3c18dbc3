"""What only one attempt of one job may hold: its token and the addresses that carry it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from aegis.access.tokens import mint_job_token
from aegis.core.plan import JobSpec, Variable
from aegis.core.ports import Clock
from aegis.core.types import JobRun, Run
from aegis.delivery.options import Options
from aegis.execution.runners import JobCredentials

MARGIN_SECONDS = 600


class JobTokens:
    """Makes credentials. Tokens are signed, name their attempt, and end with it or with the job's time."""

    def __init__(self, secret: bytes, clock: Clock, url: str, options: Callable[[], Options]) -> None:
        self._secret = secret
        self._clock = clock
        self._url = url
        self._options = options

    def credentials(self, run: Run, spec: JobSpec, job: JobRun) -> JobCredentials:
        """See `Coordinator`."""
        token = mint_job_token(
            self._secret,
            run=run.id,
            job=job.id,
            attempt=job.attempt,
            project=run.project,
            expires_at=self._clock.now() + timedelta(seconds=spec.timeout + MARGIN_SECONDS),
        )
        address = urlsplit(self._url)
        inside = f"{address.scheme}://job:{token}@{address.netloc}"
        project = self._options().projects.get(run.project)
        index = project.index if project is not None else "default"
        variables = (
            Variable(key="CI_JOB_TOKEN", value=token, raw=True, masked=True),
            Variable(key="AEGIS_INDEX_URL", value=f"{inside}/pypi/{index}/simple/", raw=True),
            Variable(key="AEGIS_UPLOAD_URL", value=f"{self._url}/pypi/quarantine/legacy/", raw=True),
            Variable(key="CI_REGISTRY_USER", value="job", raw=True),
            Variable(key="CI_REGISTRY_PASSWORD", value=token, raw=True, masked=True),
        )
        return JobCredentials(token=token, variables=variables, trusted=self._options().is_protected(run.ref))
