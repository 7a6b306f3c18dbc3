"""What a shell completes beside options: the jobs of the pipeline here. It never fails: nothing is offered then."""

from __future__ import annotations

import click

from aegis.core.errors import AegisError


def jobs_of(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """The names of the jobs that `aegis run` would run here."""
    from aegis.bootstrap.pipeline import Occasion, locate, request
    from aegis.pipeline.compile import compile_pipeline

    try:
        plan = compile_pipeline(request(locate(ctx.params.get("file")), Occasion())).plan
    except AegisError:
        return []
    return [job.name for job in plan.jobs if job.name.startswith(incomplete)] if plan is not None else []
