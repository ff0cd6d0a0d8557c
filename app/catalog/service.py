"""What may be called and at what price: engine manifests joined with rate cards.

``prepare`` turns a request and facts about its media into the most work the job can be, without
touching a pixel; ``quote`` prices that work. Both refuse with the caller's own field names.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.catalog.checks import card_of, check_media, check_params, refused
from app.catalog.conditions import Conditions
from app.catalog.description import engine_view
from app.catalog.shelf import CardShelf
from app.errors import FieldError, InvalidRequestError
from billing.cards import CardBook
from billing.errors import UnknownPriceError
from billing.multipliers import multipliers_for
from billing.quote import Quote, quote
from billing.rates import Multiplier, Work
from engines.errors import EngineError, InvalidInputError
from engines.manifest import ModelVersion
from engines.registry import Registry
from engines.spec import Engine, InputMedia, ModelChooser

RESOLVED_TTL_S: Final = 2.0
PRICES_MAX: Final = 10_000
# Compute per unit of work on a plain CPU, in milliseconds: only fair dispatch counts in it.
ESTIMATED_MS: Final[Mapping[str, int]] = {"images": 300, "frames": 60, "faces": 200}
ESTIMATED_MS_MIN: Final = 100
ESTIMATED_MS_MAX: Final = 3_600_000


_PriceKey = tuple[
    str,
    str,
    frozenset[tuple[str, float]],
    frozenset[tuple[str, str | int]],
    tuple[Multiplier, ...],
]


@dataclass(frozen=True, slots=True)
class PreparedWork:
    """A request that its engine understands, and the most work it can become."""

    engine: str
    model: ModelVersion
    params: dict[str, Any]  # with every default filled in
    work: Work

    @property
    def estimated_ms(self) -> int:
        """A rough compute time for fairness between tenants; no promise and no price."""
        total = sum(self.work.quantities.get(name, 0) * ms for name, ms in ESTIMATED_MS.items())
        return round(min(max(total, ESTIMATED_MS_MIN), ESTIMATED_MS_MAX))


class Catalog:
    """The engines of this installation and their prices; shared by the threads of a process."""

    def __init__(
        self,
        registry: Registry,
        shelf: CardShelf,
        *,
        conditions: Conditions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._shelf = shelf
        self._conditions = conditions or Conditions()
        self._clock = clock
        self._lock = threading.Lock()
        self._resolved: dict[tuple[str, str | None], tuple[float, ModelVersion]] = {}
        self._engines: dict[str, Engine] = {}
        self._names: set[str] | None = None
        self._prices: tuple[CardBook | None, dict[_PriceKey, Quote]] = (None, {})

    def describe(
        self,
        session: Session,
        *,
        tenant_id: str,
        now: datetime,
        own: Mapping[str, Sequence[ModelVersion]] | None = None,
    ) -> list[dict[str, Any]]:
        """Every engine with its models, parameters and this tenant's prices, by name.

        ``own`` are the tenant's models by engine; they come after the platform's.
        """
        book = self._shelf.current(session, now=now)
        return [
            engine_view(
                manifest,
                params=self._registry.engine(name).params_model.model_json_schema(),
                card=card_of(book, tenant_id, name),
                available=self._registry.available,
                active=partial(self._registry.is_active, name),
                own=(own or {}).get(name, ()),
            )
            for name, manifest in sorted(self._registry.manifests().items())
        ]

    def prepare(
        self,
        *,
        engine: str,
        model: str | None,
        params: Mapping[str, Any],
        media: InputMedia,
        own: ModelVersion | None = None,
    ) -> PreparedWork:
        """Check engine, model, parameters and media, and say the most work this can be.

        ``own`` is the model when it is one of the tenant's own, which nobody here knows.

        Raises:
            InvalidRequestError: ``unknown_engine``, ``unknown_model``, ``invalid_params`` (with a
                pointer per field), or what the engine says about the media.
        """
        found, version, checked = self._check(engine, model, params, own)
        check_media(found.manifest, media, self._registry.limits)
        try:
            plan = found.plan(version, checked, media)
        except InvalidInputError as error:
            raise refused(error, "") from error
        return PreparedWork(
            engine=engine,
            model=version,
            params=checked.model_dump(mode="json"),
            work=Work(plan.quantities, plan.attributes),
        )

    def check(
        self,
        *,
        engine: str,
        model: str | None,
        params: Mapping[str, Any],
        own: ModelVersion | None = None,
    ) -> None:
        """Refuse what ``prepare`` would refuse whatever the media are: before they are fetched."""
        self._check(engine, model, params, own)

    def knows(self, model: str) -> bool:
        """Whether a name is one of the platform's models or their aliases, in any engine."""
        if self._names is None:
            manifests = self._registry.manifests().values()
            aliases = {alias for manifest in manifests for alias in manifest.aliases}
            self._names = aliases | {each.name for every in manifests for each in every.models}
        return model in self._names

    def version(self, engine: str, model: str) -> ModelVersion:
        """What a name of the platform's means now; ``unknown_engine`` or ``unknown_model``."""
        return self._resolve(engine, model)

    def require_weights(self, model: ModelVersion) -> None:
        """Refuse a model that cannot run here; a quote needs no weights, a job does.

        Raises:
            InvalidRequestError: code ``weights_missing``, with the command that brings them.
        """
        try:
            self._registry.require(model)
        except EngineError as error:
            raise refused(error, "/model") from error

    def needs_consent(self, engine: str) -> bool:
        """Whether jobs of this engine put one person's face on another: those take sources."""
        return self._engine(engine).manifest.sources != "none"

    def quote(
        self,
        session: Session,
        *,
        tenant_id: str,
        prepared: PreparedWork,
        batch_items: int = 1,
        now: datetime,
    ) -> Quote:
        """Price prepared work with the card and the multipliers valid for this tenant now.

        ``batch_items`` is how many items are sent together; it is the platform that counts them.

        Raises:
            InvalidRequestError: code ``price_missing``; a model without a price is never free.
        """
        book = self._shelf.current(session, now=now)
        rules = book.rules.rules_for(tenant_id)
        circumstances = self._conditions.now(
            session, rules, tenant_id=tenant_id, batch_items=batch_items, now=now
        )
        try:
            card = book.card_for(tenant_id, prepared.engine)
            factors = multipliers_for(card, rules, circumstances)
            return self._price(book, tenant_id, prepared, factors)
        except UnknownPriceError as error:
            raise InvalidRequestError(
                error.detail, code=error.code, errors=[FieldError("/model", error.detail)]
            ) from error

    def _price(
        self,
        book: CardBook,
        tenant_id: str,
        prepared: PreparedWork,
        factors: tuple[Multiplier, ...],
    ) -> Quote:
        """Evaluate a card, or remember: the same work under the same book costs the same."""
        work = prepared.work
        key = (
            tenant_id,
            prepared.engine,
            frozenset(work.quantities.items()),
            frozenset(work.attributes.items()),
            factors,
        )
        # Book and prices change hands together: no thread files a price under another book.
        priced_book, prices = self._prices
        if priced_book is not book or len(prices) > PRICES_MAX:
            prices = {}
            self._prices = (book, prices)
        if key not in prices:
            prices[key] = quote(
                book, tenant=tenant_id, engine=prepared.engine, work=work, multipliers=factors
            )
        return prices[key]

    def _check(
        self,
        engine: str,
        model: str | None,
        params: Mapping[str, Any],
        own: ModelVersion | None = None,
    ) -> tuple[Engine, ModelVersion, BaseModel]:
        found = self._engine(engine)
        if own is not None:
            return found, own, check_params(found, params)
        # first the model, whose name may be what is wrong; then the one that the parameters prefer
        version, checked = self._resolve(engine, model), check_params(found, params)
        if model is None and isinstance(found, ModelChooser):
            version = self._resolve(engine, found.preferred_model(checked))
        return found, version, checked

    def _engine(self, name: str) -> Engine:
        """The engine, which the registry creates once: remembered without asking it again."""
        if name not in self._engines:
            try:
                self._engines[name] = self._registry.engine(name)
            except InvalidInputError as error:
                raise refused(error, "/engine") from error
        return self._engines[name]

    def _resolve(self, engine: str, model: str | None) -> ModelVersion:
        """Look the model up; remembered for a moment, as it reads the model folder."""
        key, now = (engine, model), self._clock()
        with self._lock:
            known = self._resolved.get(key)
        if known is not None and now < known[0]:
            return known[1]
        try:
            version = self._registry.resolve(engine, model)
        except InvalidInputError as error:
            raise refused(error, "/model") from error
        with self._lock:
            self._resolved[key] = (now + RESOLVED_TTL_S, version)
        return version
