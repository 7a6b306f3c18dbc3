"""Which network the jobs of a run may have on this server: policy, project, and the addresses that the server itself gives them.

What a job says of addresses counts for nothing. Only the server's tests of an environment reach that environment.
"""

from __future__ import annotations

from dataclasses import replace

from aegis.core.types import Run
from aegis.delivery.context import Context
from aegis.delivery.handlers.verifications import addresses
from aegis.execution.network import Network, place_of


def job_network(context: Context, machine: Network, run: Run) -> Network:
    """The widest network of the run's jobs; `machine` has the registries that this machine's own settings name."""
    declared = context.adopted.runner.network
    urls = [context.url, *(addresses(context, run.environment).values() if run.environment else ())]
    places = [found for found in map(place_of, urls) if found is not None]
    project = context.options.projects.get(run.project)
    policy = declared.policy if project is None else declared.policy.tighter(project.network)
    return replace(declared.joined((*places, *machine.places)), policy=policy)
