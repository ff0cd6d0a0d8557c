"""The models an operator pins (``PIXELMETER_WARM_MODELS``), loaded when a worker starts.

On a thread of its own: Celery gives a child a minute to come up, and building a plan can take
longer. The worker counts as a free slot once this is done, or after a minute: what is not warm
then becomes so beside its jobs.
"""

import logging
import threading
from collections.abc import Sequence

from engines.errors import EngineError
from engines.manifest import ModelVersion
from engines.warming import warm
from workers.services import Services

log = logging.getLogger(__name__)

EXAMPLE = "PIXELMETER_WARM_MODELS=detect:yolov8n,colorize:tiny"


def pinned_models(services: Services, engines: Sequence[str]) -> list[tuple[str, ModelVersion]]:
    """The pinned models of the engines that this worker serves; what names none is logged."""
    found = []
    for entry in services.settings.warm_models:
        engine, colon, name = entry.partition(":")
        if not (engine and colon and name):
            log.error("cannot warm up %r: write ENGINE:MODEL, for example %s", entry, EXAMPLE)
            continue
        try:
            model = services.registry.resolve(engine, name)
        except EngineError as error:
            log.error("cannot warm up %s: %s; see `pixelmeter models list`", entry, error.detail)  # noqa: TRY400 - the sentence says it all
            continue
        if engine in engines:
            found.append((engine, model))
    return found


def begin_warming(
    services: Services, models: Sequence[tuple[str, ModelVersion]]
) -> threading.Thread:
    """Start to load them; whoever needs them warm joins the thread."""
    thread = threading.Thread(
        target=warm_models, args=(services, models), name="warm-up", daemon=True
    )
    thread.start()
    return thread


def warm_models(services: Services, models: Sequence[tuple[str, ModelVersion]]) -> None:
    """Load them; one that fails is logged with what to do, and its first job will try again."""
    for engine, model in models:
        try:
            warmed = warm(services.registry, engine, model)
        except EngineError as error:
            log.error("%s of %s is not warm: %s", model.id, engine, error.detail)  # noqa: TRY400
        except Exception:  # a worker without a warm model is better than none
            log.exception(
                "%s of %s is not warm; take it out of PIXELMETER_WARM_MODELS or try it with "
                "`python -m engines run`",
                model.id,
                engine,
            )
        else:
            _tell(engine, model, warmed.networks, warmed.runner, warmed.ms)


def _tell(engine: str, model: ModelVersion, networks: int, runner: str, ms: float) -> None:
    if not networks:
        log.info("%s of %s is built in: there is nothing to warm up", model.id, engine)
        return
    log.info(
        "%s of %s is warm: %d networks on %s in %.0f ms", model.id, engine, networks, runner, ms
    )
