"""Pictures with several frames in every engine: refused, or the first frame where asked for."""

import numpy as np
import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.media.frames import check_single
from engines.media.images import describe_image, read_image
from engines.spec import InputFiles, InputMedia, MediaInfo, MediaKind

ENGINES = ("detect", "colorize", "face-swap")


def facts(*, kind=MediaKind.IMAGE, frames=None):
    return MediaInfo(kind=kind, media_type="image/gif", bytes=1, width=64, height=64, frames=frames)


@pytest.fixture
def planned(registry):
    def plan(name, target, source=None, **params):
        engine = registry.engine(name)
        sources = (source or facts(),) if name == "face-swap" else ()
        typed = engine.params_model(**params)
        return engine.plan(registry.resolve(name, None), typed, InputMedia(target, sources))

    return plan


@pytest.mark.parametrize("name", ENGINES)
def test_a_moving_picture_is_refused_before_it_costs_anything(planned, name):
    with pytest.raises(InvalidInputError, match=r"2 frames or pages.*first_frame") as refused:
        planned(name, facts(frames=2))
    assert refused.value.code == "animated_image"
    first = planned(name, facts(frames=2), first_frame=True)
    assert first == planned(name, facts())  # one picture, priced as one


def test_a_moving_source_is_refused_whatever_is_asked_of_the_target(planned):
    with pytest.raises(InvalidInputError) as refused:
        planned("face-swap", facts(), facts(frames=2), first_frame=True)
    assert refused.value.code == "animated_image"


def test_a_video_is_no_picture():
    check_single(facts(kind=MediaKind.VIDEO, frames=100))


@pytest.fixture
def moving(tmp_path, photo):
    """A photograph, then nothing but white; and the photograph alone, as the same type."""

    def write(suffix):
        with Image.open(photo) as image:
            first = image.convert("RGB").resize((128, 128))
        if suffix == "gif":
            first = first.quantize(64)
        many, one = tmp_path / f"many.{suffix}", tmp_path / f"one.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        white = Image.new(first.mode, first.size, 255 if suffix == "gif" else "white")
        first.save(many, save_all=True, append_images=[white], **options)
        first.save(one, **options)
        return many, one

    return write


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
@pytest.mark.parametrize("name", ENGINES[:2])
def test_the_result_is_that_of_the_first_frame_alone(services, context, moving, name, suffix):
    registry = services.registry
    engine, model = registry.engine(name), registry.resolve(name, "builtin")
    asked = engine.params_model(
        first_frame=True, **({"annotate": True} if name == "detect" else {"type": "building"})
    )
    results = []
    for path in moving(suffix):
        target = InputFiles(path, describe_image(path, limits=services.limits))
        result = engine.run(model, asked, target, context)
        picture = next(each for each in result.files if each.media_type.startswith("image/"))
        results.append(read_image(picture.path).pixels)  # one frame: this refuses several
    assert np.array_equal(*results)
    assert results[0].std() > 20  # not the white one


@pytest.mark.parametrize("name", ENGINES[:2])
def test_a_run_refuses_too_if_nobody_planned_it(services, context, moving, name):
    registry, (many, _) = services.registry, moving("gif")
    engine, model = registry.engine(name), registry.resolve(name, "builtin")
    target = InputFiles(many, describe_image(many, limits=services.limits))
    with pytest.raises(InvalidInputError) as refused:
        engine.run(model, engine.params_model(), target, context)
    assert refused.value.code == "animated_image"


def test_a_face_is_swapped_into_the_first_frame(services, context, tmp_path, photo):
    with Image.open(photo) as image:
        first = image.convert("RGB")
    many, one = tmp_path / "many.png", tmp_path / "one.png"
    first.save(many, save_all=True, append_images=[Image.new("RGB", first.size, "white")])
    first.save(one)
    registry = services.registry
    engine, model = registry.engine("face-swap"), registry.resolve("face-swap", None)
    swapped = []
    for path in (many, one):
        facts_of = describe_image(path, limits=services.limits)
        files = InputFiles(path, facts_of, sources=(photo,))
        result = engine.run(model, engine.params_model(first_frame=True), files, context)
        swapped.append(read_image(result.files[0].path).pixels)
    assert np.array_equal(*swapped)
    files = InputFiles(one, facts_of, sources=(many,))
    with pytest.raises(InvalidInputError) as refused:
        engine.run(model, engine.params_model(first_frame=True), files, context)
    assert refused.value.code == "animated_image"
