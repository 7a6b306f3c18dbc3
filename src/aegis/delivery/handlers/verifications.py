"""Verifications: end-to-end tests of what has just been deployed, against the environment it was deployed to."""

from __future__ import annotations

import json

from aegis.core.errors import AegisError
from aegis.core.types import PromotionState
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.promotions import promotion_of, propose_due, release_of
from aegis.delivery.handlers.runs import Wish, verification
from aegis.delivery.views import Result


@handles(ask.VerifyEnvironment)
def verify(context: Context, command: ask.VerifyEnvironment, asking: Asking) -> Result:
    """Start the tests that the environment declares; without any the release goes on at once."""
    promotion = promotion_of(context, command.promotion).promotion
    environment = context.options.environment(promotion.environment)
    if promotion.state is not PromotionState.DEPLOYED:
        return Result(seq=context.ledger.head().seq, message=f"promotion is {promotion.state}")
    if environment.verify is None:
        return propose_due(context, ask.ProposePromotion(release=promotion.release), asking)
    release = release_of(context, promotion.release)
    info = context.repository(release.project).log(release.commit, limit=1)[0]
    wish = Wish(
        run=asking.cause or context.new_id(),
        project=release.project,
        ref=release.ref,
        commit=release.commit,
        source="api",
        started_by=promotion.requested_by,
        change="",
        message=info.message,
        author=f"{info.author_name} <{info.author_email}>",
        release=release.id,
        environment=environment.name,
    )
    return verification(context, wish, json.dumps(addresses(context, environment.name), sort_keys=True), asking)


def addresses(context: Context, environment: str) -> dict[str, str]:
    """Where each service of an environment is reached."""
    found = {}
    for service in context.options.services:
        try:
            found[service] = context.traffic.url(service, environment)
        except AegisError:
            # A service that was never placed there has no address; the tests say so if they need it.
            continue
    return found
