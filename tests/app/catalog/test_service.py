"""What may be called and at what price; each refusal names its field."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.errors import InvalidRequestError
from billing.cards import CardBook, assign, publish_catalogue
from engines.manifest import shipped_folders
from engines.registry import Registry
from engines.spec import InputMedia, MediaInfo, MediaKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def _picture(width: int = 800, height: int = 600) -> MediaInfo:
    return MediaInfo(
        kind=MediaKind.IMAGE, media_type="image/png", bytes=1, width=width, height=height
    )


VIDEO = MediaInfo(
    kind=MediaKind.VIDEO,
    media_type="video/mp4",
    bytes=1,
    width=640,
    height=480,
    duration_s=10.0,
    frames=250,
    fps=25.0,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(shipped_folders(), store=tmp_path / "models")


@pytest.fixture
def catalog(registry: Registry) -> Catalog:
    return Catalog(registry, CardShelf())


@pytest.fixture
def priced(session: Session) -> Session:
    publish_catalogue(session, NOW)
    session.commit()
    return session


def _quote(catalog: Catalog, session: Session, tenant_id: str = "ten_1", **wanted: Any) -> float:
    wanted = {"model": None, "params": {}, "media": InputMedia(_picture()), **wanted}
    prepared = catalog.prepare(**wanted)
    return (
        catalog.quote(session, tenant_id=tenant_id, prepared=prepared, now=NOW).amount / 1_000_000
    )


@pytest.mark.parametrize(
    ("model", "params", "tokens"),
    [
        ("yolov8s", {"img_size": 640}, 1.0),
        ("yolov8l", {"img_size": 960}, 5.625),
        ("yolov8n", {"img_size": 320}, 0.175),
        ("yolov8s@1", {"img_size": [640, 640]}, 1.0),
    ],
)
def test_the_worked_prices_of_detection(
    catalog: Catalog, priced: Session, model: str, params: dict[str, Any], tokens: float
) -> None:
    assert _quote(catalog, priced, engine="detect", model=model, params=params) == tokens


@pytest.mark.parametrize(
    ("size", "params", "tokens"),
    [
        ((800, 600), {"type": "person"}, 11),
        ((1920, 1080), {"type": "building"}, 19),
        ((1920, 1080), {"type": "building", "upscale": 2}, 24),
        ((800, 600), {"type": "auto"}, 16),  # the dearer of the two
    ],
)
def test_the_worked_prices_of_colour(
    catalog: Catalog,
    priced: Session,
    size: tuple[int, int],
    params: dict[str, Any],
    tokens: float,
) -> None:
    media = InputMedia(_picture(*size))
    assert _quote(catalog, priced, engine="colorize", params=params, media=media) == tokens


@pytest.mark.parametrize(
    ("params", "tokens"),
    [({}, 6), ({"enhance_level": 2}, 9), ({"enhance_level": 3}, 11),
     ({"enhance_level": 2, "faces": "many", "max_faces": 3}, 19)],
)  # fmt: skip
def test_the_worked_prices_of_face_fusion(
    catalog: Catalog, priced: Session, params: dict[str, Any], tokens: float
) -> None:
    media = InputMedia(_picture(), (_picture(),))
    assert _quote(catalog, priced, engine="face-swap", params=params, media=media) == tokens


def test_a_video_is_priced_by_its_frames(catalog: Catalog, priced: Session) -> None:
    tokens = _quote(
        catalog,
        priced,
        engine="detect",
        model="yolov8s",
        params={"img_size": 640},
        media=InputMedia(VIDEO),
    )
    assert tokens == 250


def test_a_tenant_may_have_a_card_of_its_own(catalog: Catalog, priced: Session) -> None:
    assign(priced, tenant="ten_flat", engine="detect", card="flat")
    wanted = {"engine": "detect", "model": "yolov8l", "params": {"img_size": 960}}
    assert _quote(catalog, priced, "ten_flat", **wanted) == 1
    assert _quote(catalog, priced, "ten_other", **wanted) == 5.625


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"engine": "paint"}, "unknown_engine", "/engine"),
        ({"model": "yolov99"}, "unknown_model", "/model"),
        ({"model": "yolov8s@9"}, "unknown_model", "/model"),
        ({"params": {"conf": "high"}}, "invalid_params", "/params/conf"),
        ({"params": {"a/b~c": 1}}, "invalid_params", "/params/a~1b~0c"),
        ({"params": {"img_size": 33}}, "invalid_params", "/params/img_size"),
        ({"media": InputMedia(_picture(), (_picture(),))}, "wrong_source_count", "/input/source"),
        ({"engine": "face-swap"}, "wrong_source_count", "/input/source"),
        ({"media": InputMedia(_picture(8000, 6000))}, "image_too_large", "/input/target"),
        ({"media": InputMedia(_picture(30_000, 100))}, "image_too_large", "/input/target"),
        (
            {"engine": "face-swap", "media": InputMedia(_picture(), (VIDEO,))},
            "unsupported_media",
            "/input/source/0",
        ),
    ],
)
def test_each_refusal_names_its_field(
    catalog: Catalog, changes: dict[str, Any], code: str, pointer: str
) -> None:
    wanted = {"engine": "detect", "model": None, "params": {}, "media": InputMedia(_picture())}
    with pytest.raises(InvalidRequestError) as refusal:
        catalog.prepare(**{**wanted, **changes})
    assert refusal.value.code == code
    assert any(place.pointer.startswith(pointer) for place in refusal.value.errors)


def test_prepared_parameters_have_every_default(catalog: Catalog) -> None:
    prepared = catalog.prepare(
        engine="detect", model="builtin", params={"conf": 0.5}, media=InputMedia(_picture())
    )
    assert prepared.params["conf"] == 0.5
    assert prepared.params["max_det"] == 300
    assert prepared.model.id == "builtin@1"
    assert prepared.estimated_ms > 0


def test_a_model_without_weights_can_be_quoted_but_not_run(
    catalog: Catalog, registry: Registry
) -> None:
    missing = registry.resolve("detect", "yolov8n")
    with pytest.raises(InvalidRequestError, match="pixelmeter models pull yolov8n") as refusal:
        catalog.require_weights(missing)
    assert refusal.value.code == "weights_missing"
    catalog.require_weights(registry.resolve("detect", "builtin"))


def test_no_model_means_the_first_that_can_run_here(catalog: Catalog) -> None:
    prepared = catalog.prepare(engine="detect", model=None, params={}, media=InputMedia(_picture()))
    assert prepared.model.id == "builtin@1"


def test_an_engine_without_a_price_is_refused_not_free(catalog: Catalog, session: Session) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        _quote(catalog, session, engine="detect", model="builtin")
    assert refusal.value.code == "price_missing"


def test_only_engines_that_take_sources_need_consent(catalog: Catalog) -> None:
    assert catalog.needs_consent("face-swap") is True
    assert catalog.needs_consent("detect") is False


def test_the_description_lists_engines_models_parameters_and_prices(
    catalog: Catalog, priced: Session
) -> None:
    found = {
        engine["name"]: engine for engine in catalog.describe(priced, tenant_id="ten_1", now=NOW)
    }
    assert list(found) == ["colorize", "detect", "face-swap"]
    detect = found["detect"]
    models = {model["id"]: model["available"] for model in detect["models"]}
    assert models["builtin@1"] is True
    assert models["yolov8n@1"] is False
    assert "conf" in detect["params"]["properties"]
    assert detect["price"]["rate_card"] == "yolo@1"
    assert detect["price"]["terms"][0]["factors"]["model"]["yolov8l"] == 2.5
    assert detect["price"]["rounding"] == {"quantum": 0.001, "minimum": 0.01}


def test_a_description_without_prices_says_so(catalog: Catalog, session: Session) -> None:
    for engine in catalog.describe(session, tenant_id="ten_1", now=NOW):
        assert engine["price"] is None


def test_the_book_is_read_again_after_a_moment(session: Session) -> None:
    time, loads = [0.0], []

    def load(session: Session, now: datetime) -> CardBook:
        loads.append(now)
        return CardBook(cards={}, current={}, assignments={})

    shelf = CardShelf(ttl_s=5, load=load, clock=lambda: time[0])
    first = shelf.current(session, now=NOW)
    time[0] = 4.9
    assert shelf.current(session, now=NOW) is first
    time[0] = 5.0
    assert shelf.current(session, now=NOW) is not first
    assert len(loads) == 2
