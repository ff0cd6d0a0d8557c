"""``/v1/admin/rate-cards``: see, preview and publish versions; who is on which card."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from app.api.auth import admins_only, current_operator, current_principal
from app.api.idempotency import bind, earlier_resource, requested
from app.api.price_schemas import (
    CardChoice,
    PreviewObject,
    RateCardList,
    RateCardObject,
    RateCardRequest,
    TenantCards,
)
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.catalog.preview import PREVIEW_PERIOD, comparison_view
from app.catalog.sentence import price_sentence
from app.tenants.changes import choose_card
from app.tenants.service import get_tenant
from billing.cards import ANY_ENGINE, assignments_of, split_id
from billing.preview import preview
from billing.publishing import Version, proposed, publish, versions

blueprint = APIBlueprint("rate_cards", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)


@blueprint.get("/rate-cards")
@blueprint.output(RateCardList)
def index() -> Response:
    """List every published version of every card."""
    with services().unit_of_work() as session:
        found = versions(session)
    return reply({"data": [_view(each) for each in found], "next_cursor": None, "has_more": False})


@blueprint.post("/rate-cards")
@blueprint.input(RateCardRequest, arg_name="wanted")
@blueprint.output(RateCardObject, status_code=201)
def add(wanted: RateCardRequest) -> Response:
    """Publish a version of a card; from then on it never changes.

    Jobs keep the version they were quoted with. The same version again answers the same.
    """
    owner, now = current_principal().key_id, utc_now()
    key = requested(request.get_json())
    with services().unit_of_work() as session:
        card_id = earlier_resource(session, owner=owner, idempotency=key)
        if card_id is None:
            card_id = publish(
                session,
                wanted.data(),
                effective_from=wanted.effective_from,
                actor=current_operator(),
                now=now,
            ).id
            bind(session, owner=owner, idempotency=key, resource_id=card_id)
        name, _ = split_id(card_id)
        found = next(each for each in versions(session, card=name) if each.card.id == card_id)
    return reply(_view(found), 201)


@blueprint.post("/rate-cards/preview")
@blueprint.input(RateCardRequest, arg_name="wanted")
@blueprint.output(PreviewObject)
def look_ahead(wanted: RateCardRequest) -> Response:
    """Price last week's work with a card before it is published; nothing is stored."""
    now = utc_now()
    with services().unit_of_work() as session:
        card = proposed(session, wanted.data())
        found = preview(session, card, since=now - PREVIEW_PERIOD, until=now)
    document = {
        "rate_card": found.card_id,
        "since": moment(found.since),
        "total": comparison_view(found.total),
        "by_model": [comparison_view(each) for each in found.by_model],
        "by_tenant": [comparison_view(each) for each in found.by_tenant],
    }
    return reply(document)


@blueprint.post("/tenants/<tenant_id>/card")
@blueprint.input(CardChoice, arg_name="wanted")
@blueprint.output(TenantCards)
def choose(tenant_id: str, wanted: CardChoice) -> Response:
    """Put a tenant on a card of its own, for one engine or for all that the card prices."""
    kit = services()
    engine = wanted.engine or ANY_ENGINE
    if wanted.engine is not None:
        kit.catalog.needs_consent(wanted.engine)  # refuses an unknown engine
    with kit.unit_of_work() as session:
        get_tenant(session, tenant_id)
        choose_card(
            session,
            tenant_id,
            card=wanted.card,
            engine=engine,
            actor=current_operator(),
            now=utc_now(),
        )
        cards = assignments_of(session, tenant_id)
    return reply({"tenant": tenant_id, "cards": cards})


def _view(version: Version) -> dict[str, Any]:
    return {
        "id": version.card.id,
        "object": "rate_card",
        "card": version.card.card,
        "version": version.card.version,
        "state": version.state(utc_now()),
        "effective_from": moment(version.effective_from),
        "effective_until": moment(version.effective_until),
        "published_at": moment(version.published_at),
        "published_by": version.published_by,
        "sentence": price_sentence(version.card),
        "body": dict(version.body),
    }
