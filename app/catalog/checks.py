"""What a request may not be: parameters, media, and how an engine's no is told. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from app.errors import FieldError, InvalidRequestError, ProblemError
from billing.cards import CardBook
from billing.errors import UnknownPriceError
from billing.rates import RateCard
from engines.errors import EngineError
from engines.manifest import Manifest
from engines.media.limits import MediaLimits
from engines.spec import Engine, InputMedia, MediaKind

ERRORS_MAX: Final = 50


def card_of(book: CardBook, tenant_id: str, engine: str) -> RateCard | None:
    """The card that prices an engine for a tenant; None when nobody priced it."""
    try:
        return book.card_for(tenant_id, engine)
    except UnknownPriceError:
        return None


def check_params(engine: Engine, params: Mapping[str, Any]) -> BaseModel:
    """The parameters as their engine understands them; ``invalid_params`` with a pointer each."""
    try:
        return engine.params_model.model_validate(dict(params))
    except ValidationError as error:
        findings = error.errors(include_url=False, include_context=False, include_input=False)
        places = [
            FieldError(_pointer("/params", finding["loc"]), finding["msg"], finding["type"])
            for finding in findings[:ERRORS_MAX]
        ]
        first = places[0]
        raise InvalidRequestError(
            f"{engine.manifest.name} does not take these parameters; at {first.pointer}: "
            f"{first.detail}. GET /v1/models lists what it takes.",
            code="invalid_params",
            errors=places,
        ) from error


def check_media(manifest: Manifest, media: InputMedia, limits: MediaLimits) -> None:
    """Refuse kinds, counts and sizes of media that the engine does not take."""
    _check_kinds(manifest, media)
    _check_pixels(manifest, media, limits)


def _check_kinds(manifest: Manifest, media: InputMedia) -> None:
    if media.target.kind not in manifest.media:
        raise InvalidRequestError(
            f"{manifest.name} works on {' and '.join(manifest.media)} targets, "
            f"not on {media.target.media_type}.",
            code="unsupported_media",
            errors=[FieldError("/input/target", f"is a {media.target.kind}")],
        )
    count = len(media.sources)
    right = {"none": count == 0, "one": count == 1, "many": count >= 1}[manifest.sources]
    if not right:
        wanted = {"none": "no source", "one": "one source", "many": "one or more sources"}
        raise InvalidRequestError(
            f"{manifest.name} takes {wanted[manifest.sources]}, not {count}.",
            code="wrong_source_count",
            errors=[FieldError("/input/source", f"{count} given")],
        )
    for index, source in enumerate(media.sources):
        if source.kind is not MediaKind.IMAGE:
            raise InvalidRequestError(
                f"A source must be a picture, not {source.media_type}.",
                code="unsupported_media",
                errors=[FieldError(f"/input/source/{index}", f"is a {source.kind}")],
            )


def _check_pixels(manifest: Manifest, media: InputMedia, limits: MediaLimits) -> None:
    """Uploads are as large as the engine that takes the largest; the others refuse here."""
    if manifest.large_pictures:
        limits = limits.scans
    pictures = {"/input/target": media.target}
    pictures |= {f"/input/source/{index}": each for index, each in enumerate(media.sources)}
    for pointer, info in pictures.items():
        if info.kind is not MediaKind.IMAGE:
            continue
        is_wide = max(info.width, info.height) > limits.max_image_side
        if is_wide or info.width * info.height > limits.max_image_pixels:
            raise InvalidRequestError(
                f"{manifest.name} takes pictures of at most {limits.max_image_pixels} pixels and "
                f"{limits.max_image_side} per side, not {info.width}x{info.height}: scale it down.",
                code="image_too_large",
                errors=[FieldError(pointer, f"has {info.width}x{info.height} pixels")],
            )


def _pointer(prefix: str, location: tuple[int | str, ...]) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "/".join((prefix, *parts))


def refused(error: EngineError, pointer: str) -> ProblemError:
    """What an engine says no with, as a problem of the request."""
    detail = error.detail
    places = [FieldError(pointer, detail, error.code)] if pointer else []
    return InvalidRequestError(detail, code=error.code, errors=places)
