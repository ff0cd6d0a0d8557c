"""Engines, models and prices as ``GET /v1/models`` shows them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from app.catalog.sentence import price_sentence
from billing.rates import RateCard, Term
from engines.manifest import Manifest, ModelVersion


def engine_view(
    manifest: Manifest,
    *,
    params: Mapping[str, Any],
    card: RateCard | None,
    available: Callable[[ModelVersion], bool],
    active: Callable[[ModelVersion], bool],
    own: Sequence[ModelVersion] = (),
) -> dict[str, Any]:
    """One engine: what it takes, its models in order of preference, its price to this tenant.

    ``params`` is a JSON schema; a null ``price`` means that nobody has priced the engine, so that
    its jobs are refused.
    """
    return {
        "name": manifest.name,
        "object": "engine",
        "title": manifest.title,
        "description": manifest.description,
        "media": list(manifest.media),
        "sources": manifest.sources,
        "params": dict(params),
        "aliases": dict(manifest.aliases),
        "models": [
            _model(model, available=available(model), active=active(model))
            for model in manifest.models
        ]
        + [_model(model, available=True, active=_is_newest(model, own)) for model in own],
        "price": None if card is None else price_view(card),
    }


def price_view(card: RateCard) -> dict[str, Any]:
    """A rate card in tokens; factors that are no decimals are shown rounded, never used so."""
    return {
        "rate_card": card.id,
        "sentence": price_sentence(card),
        "terms": [_term(term) for term in card.terms],
        "rounding": {
            "quantum": _number(card.rounding.quantum),
            "minimum": _number(card.rounding.minimum),
        },
        "batch_discounts": [
            {"items": step.items, "percent": _number(step.percent)} for step in card.batch_discounts
        ],
    }


def _is_newest(model: ModelVersion, own: Sequence[ModelVersion]) -> bool:
    """What a plain name of the tenant's means."""
    versions = [int(each.version) for each in own if each.name == model.name]
    return int(model.version) == max(versions)


def _model(model: ModelVersion, *, available: bool, active: bool) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "version": model.version,
        "runner": model.runner,
        "active": active,  # what the plain name means
        "available": available,  # False: it can be quoted; the operator has to bring weights
        "base": model.base,  # of a tenant's own: the model whose contract and price it has
        "licences": sorted({file.licence for file in (*model.weights, *model.extras)}),
    }


def _term(term: Term) -> dict[str, Any]:
    return {
        "name": term.name,
        "quantity": term.quantity,
        "unit": term.unit,
        "tokens": _number(-term.tokens if term.rebate else term.tokens),
        "when": {name: sorted(values) for name, values in term.when.items()},
        "factors": {
            name: {value: _number(factor) for value, factor in table.items()}
            for name, table in term.tables.items()
        },
        "multiply": list(term.multiply),
        "divide": [*term.divide, *([] if term.over == 1 else [_number(term.over)])],
        "rounded_each": None if term.each is None else _number(term.each),
    }


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else round(float(value), 6)
