"""Pictures that are odd but whole: coloured and said so, or refused in words. Probed and run."""

import numpy as np
import pytest
from PIL import Image

from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.errors import InvalidInputError
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.registry import Services, open_registry
from engines.spec import InputFiles, InputMedia


@pytest.fixture
def coloured(context, tmp_path):
    """Probe, plan and run as a worker does, with the built-in model."""
    limits = MediaLimits(max_scan_pixels=100_000_000)
    registry = open_registry(store=tmp_path / "store", limits=limits)
    engine = create(Services(registry=registry, sessions=registry.sessions, limits=limits))
    model = registry.resolve("colorize", "builtin")

    def run(path, **params):
        info, asked = probe(path, limits), ColorizeParams(type="building", **params)
        planned = engine.plan(model, asked, InputMedia(info))
        result = engine.run(model, asked, InputFiles(path, info), context)
        measured = result.usage.work.quantities
        assert all(measured[name] <= planned.quantities[name] for name in measured)
        with Image.open(result.files[0].path) as made:
            return result, made.convert("RGB").copy(), made.format

    yield run
    registry.sessions.close()


def test_a_fax_of_one_bit_is_coloured_and_stays_a_tiff(coloured, camera, tmp_path):
    path = tmp_path / "fax.tif"
    Image.fromarray(camera[:200, :300]).convert("1").save(path, compression="group4")
    result, made, kind = coloured(path)
    assert (made.size, kind) == ((300, 200), "TIFF")
    assert (result.data["was_grey"], result.data["bits"]) == (True, 8)
    light = np.asarray(made.convert("L")).astype(int)
    with Image.open(path) as fax:
        black = ~np.asarray(fax)
    assert light[black].max() < 40  # light is kept, so black ink stays black
    assert light[~black].min() > 200


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_a_print_in_colour_is_recoloured_and_said_so(mode, coloured, astronaut, tmp_path):
    path = tmp_path / "print.jpg"
    Image.fromarray(astronaut[:200, :300, ::-1].copy()).convert(mode).save(path, quality=95)
    result, made, kind = coloured(path)
    assert (made.size, kind) == ((300, 200), "JPEG")
    assert any("recoloured" in note for note in result.data["notes"])


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_a_speck_and_a_line_are_coloured(size, coloured, tmp_path):
    path = tmp_path / "speck.png"
    Image.new("L", size, 120).save(path)
    assert coloured(path)[1].size == size


@pytest.mark.parametrize("name", ["moving.png", "moving.webp", "moving.gif", "pages.tif"])
def test_what_moves_is_refused_unless_its_first_frame_is_asked_for(name, coloured, tmp_path):
    first, second = (Image.new("L", (60, 40), light) for light in (90, 160))
    path = tmp_path / name
    first.save(path, save_all=True, append_images=[second], duration=100)
    with pytest.raises(InvalidInputError) as caught:
        coloured(path)
    assert caught.value.code == "animated_image"
    _, made, _ = coloured(path, first_frame=True)
    assert abs(int(np.asarray(made.convert("L")).mean()) - 90) < 6
