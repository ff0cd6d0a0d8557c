"""Grain, scratches and size: what is asked for is done, and seams do not show."""

import cv2
import numpy as np
import pytest

from engines.colorize import realesrgan, restoration
from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.colorize.realesrgan import enlarged
from engines.colorize.restoration import denoised, descratched, grain
from engines.colorize.scratches import scratch_mask
from engines.media.rows import ArrayRows
from engines.registry import open_registry
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from tests.engines.colorize.conftest import services_of

RANDOM = np.random.default_rng(11)


def pause():
    return None


@pytest.fixture(scope="module")
def grainy(camera):
    noisy = camera + RANDOM.normal(0, 9, camera.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grain_goes_and_edges_stay(depth, grainy, camera, tmp_path):
    factor = 257 if depth == np.uint16 else 1
    rows = ArrayRows(grainy[:256, :256, None].astype(depth) * depth(factor))
    clean, found = denoised(rows, tmp_path / "a.raw", pause=pause)
    assert found == pytest.approx(9, abs=3)
    after = clean.read(0, 256)[..., 0].astype(float) / factor
    before, true = grainy[:256, :256].astype(float), camera[:256, :256].astype(float)
    assert np.abs(after - true).mean() < 0.75 * np.abs(before - true).mean()
    assert clean.dtype == depth


def test_without_grain_nothing_is_touched(tmp_path):
    smooth = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (64, 1))[..., None]
    clean, found = denoised(ArrayRows(smooth), tmp_path / "a.raw", pause=pause)
    assert found < 0.5
    assert (clean.read(0, 64) == smooth).all()


@pytest.mark.parametrize("change", [denoised, descratched])
def test_strips_do_not_show(change, grainy, tmp_path, monkeypatch):
    picture = grainy[:300, :160].copy()
    picture[:, 80] = 255
    rows = ArrayRows(picture[..., None])
    if change is denoised:
        monkeypatch.setattr(restoration, "_noise_of", lambda rows: 9.0)
    whole = change(rows, tmp_path / "a.raw", pause=pause)
    monkeypatch.setattr(restoration, "STRIP_PIXELS", 160 * 100)
    strips = change(rows, tmp_path / "b.raw", pause=pause)
    if change is denoised:
        whole, strips = whole[0], strips[0]
    difference = np.abs(whole.read(0, 300).astype(int) - strips.read(0, 300))
    assert difference.max() <= (0 if change is denoised else 2)


def test_scratches_are_found_and_filled_and_a_clean_picture_has_few(camera, tmp_path):
    damaged = camera.copy()
    for x in (100, 243, 400):
        cv2.line(damaged, (x, 0), (x + 6, 511), 250 if x != 243 else 5, 2)
    mask = scratch_mask(damaged)
    truth = np.abs(damaged.astype(int) - camera) > 40
    assert (mask[truth] > 0).mean() > 0.8
    filled = descratched(ArrayRows(damaged[..., None]), tmp_path / "a.raw", pause=pause)
    after = filled.read(0, 512)[..., 0].astype(int)
    assert (
        np.abs(after - camera)[truth].mean()
        < 0.35 * np.abs(damaged.astype(int) - camera)[truth].mean()
    )
    assert (scratch_mask(camera) > 0).mean() < 0.03


def quadruple(feeds):
    """Four times as large, blurred: every pixel depends on its neighbours."""
    picture = feeds["input"]
    soft = sum(np.roll(picture, shift, axis) for shift in (-2, 0, 2) for axis in (2, 3)) / 6
    return {"output": soft.repeat(4, axis=2).repeat(4, axis=3)}


@pytest.mark.parametrize("factor", [2, 4])
def test_tiles_of_the_enlarger_meet_without_a_seam(factor, astronaut, tmp_path, monkeypatch):
    float32 = np.dtype(np.float32)
    runner = FakeRunner(
        quadruple,
        inputs=(TensorSpec("input", (None, 3, None, None), float32),),
        outputs=(TensorSpec("output", (None, 3, None, None), float32),),
    )
    rows = ArrayRows(np.ascontiguousarray(astronaut[:150, :170]))
    whole = enlarged(runner, rows, factor, tmp_path / "a.raw", pause=pause)
    monkeypatch.setattr(realesrgan, "TILE_PX", 40)
    tiled = enlarged(runner, rows, factor, tmp_path / "b.raw", pause=pause)
    inner = np.s_[8:-8, 8:-8]  # the fake network wraps around at the rim of the picture
    first, second = whole.read(0, 150 * factor), tiled.read(0, 150 * factor)
    assert first.shape == (150 * factor, 170 * factor, 3)
    assert (first[inner] == second[inner]).all()


def test_the_real_network_enlarges_in_tiles_as_in_one(
    astronaut, tmp_path, model_mirror, monkeypatch
):
    from engines.runners.ort import open_onnx

    rows = ArrayRows(np.ascontiguousarray(astronaut[100:196, 180:290]))
    with open_onnx(model_mirror / realesrgan.FILE, threads=2) as runner:
        whole = enlarged(runner, rows, 4, tmp_path / "a.raw", pause=pause).read(0, 384)
        monkeypatch.setattr(realesrgan, "TILE_PX", 48)
        tiled = enlarged(runner, rows, 4, tmp_path / "b.raw", pause=pause).read(0, 384)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    back = cv2.resize(whole, (110, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(back.astype(int) - rows.read(0, 96)).mean() < 8


def test_a_job_tells_what_restored_it(ddcolor, as_files, context, grainy):
    engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
    params = ColorizeParams(type="building", input_size=128, denoise=True, scratch=True, upscale=2)
    result = engine.run(model, params, as_files(grainy[:160, :200]), context)
    assert (result.data["denoiser"], result.data["descratcher"]) == ("nlmeans@1", "inpaint@1")
    assert result.data["upscaler"] == "lanczos@1"
    assert result.data["grain"] > 4
    quantities = result.usage.work.quantities
    assert (quantities["denoised"], quantities["descratched"], quantities["upscaled"]) == (1, 1, 1)
    assert {"denoise", "scratch", "upscale"} <= set(result.usage.stages_ms)
    assert cv2.imread(str(result.files[0].path)).shape == (320, 400, 3)


def test_with_its_file_here_the_network_enlarges(model_mirror, tmp_path, as_files, context, camera):
    registry = open_registry(store=tmp_path / "store", mirror=str(model_mirror))
    model = registry.resolve("colorize", "builtin")
    params = ColorizeParams(type="building", upscale=4)
    result = create(services_of(registry)).run(model, params, as_files(camera[:64, :80]), context)
    registry.sessions.close()
    assert result.data["upscaler"] == realesrgan.NAME
    assert cv2.imread(str(result.files[0].path)).shape == (256, 320, 3)


def test_a_result_that_browsers_do_not_show_brings_previews(ddcolor, as_files, context, camera):
    engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
    params = ColorizeParams(type="building", input_size=128)
    result = engine.run(model, params, as_files(camera, "scan.tif"), context)
    assert [file.media_type for file in result.files] == ["image/tiff", "image/jpeg", "image/jpeg"]
    assert set(result.data["preview"].values()) == {file.name for file in result.files[1:]}
    assert grain(cv2.imread(str(result.files[1].path), 0)) >= 0


def test_a_result_has_the_size_asked_for_with_its_transparency(ddcolor, as_files, context):
    grey = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    alpha = np.where(np.arange(60) < 30, 0, 255).astype(np.uint8)
    pixels = np.dstack([grey, grey, grey, np.tile(alpha, (40, 1))])
    engine, model = create(ddcolor), ddcolor.registry.resolve("colorize", "ddcolor")
    params = ColorizeParams(type="building", input_size=64, output_size=(20, 90), upscale=2)
    result = engine.run(model, params, as_files(pixels), context)
    made = cv2.imread(str(result.files[0].path), cv2.IMREAD_UNCHANGED)
    assert made.shape == (20, 90, 4)
    assert (result.data["height"], result.data["width"]) == (20, 90)
    assert made[:, :40, 3].max() == 0
    assert made[:, 50:, 3].min() == 255
