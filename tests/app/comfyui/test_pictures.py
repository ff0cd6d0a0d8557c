"""From a graph to the size and the parameters of its picture."""

import pytest

from app.comfyui.graph import parse
from app.comfyui.pictures import UnsupportedError, shown_by
from tests.app.comfyui.conftest import graph


def shown(*nodes, **inputs):
    """What SaveImage shows with these nodes between it and the colouring."""
    document = graph("photo.png", **inputs)
    before = "2"
    for number, (name, values) in enumerate(nodes, start=10):
        document[str(number)] = {"class_type": name, "inputs": {"image": [before, 0], **values}}
        before = str(number)
    document["3"]["inputs"]["images"] = [before, 0]
    document["90"] = {
        "class_type": "UpscaleModelLoader",
        "inputs": {"model_name": "RealESRGAN_x4plus.pth"},
    }
    return shown_by(parse(document), "3")


def scale(width=0, height=0, crop="disabled", method="lanczos"):
    values = {"upscale_method": method, "width": width, "height": height, "crop": crop}
    return "ImageScale", values


def by(factor):
    return "ImageScaleBy", {"upscale_method": "bicubic", "scale_by": factor}


NETWORK = ("ImageUpscaleWithModel", {"upscale_model": ["90", 0]})


@pytest.mark.parametrize(
    ("nodes", "params"),
    [
        ((), {"upscale": 1}),
        ((scale(),), {"upscale": 1}),
        ((by(1.0),), {"upscale": 1}),
        ((scale(320),), {"output_size": [240, 320], "output_filter": "lanczos"}),
        ((scale(0, 60, method="area"),), {"output_size": [60, 80], "output_filter": "bilinear"}),
        ((scale(100, 100, "center"),), {"output_size": [100, 100], "output_fit": "crop"}),
        ((by(0.5), by(0.5)), {"output_size": [120, 160], "output_filter": "bicubic"}),
        ((NETWORK,), {"upscale": 4}),
        ((NETWORK, by(0.5)), {"upscale": 4, "output_size": [960, 1280]}),
        (
            (("ImageScaleToTotalPixels", {"upscale_method": "lanczos", "megapixels": 1.0}),),
            {"output_size": [887, 1182]},
        ),
    ],
)
def test_the_result_has_the_size_that_the_nodes_make(nodes, params):
    found = shown(*nodes).sizing_params(640, 480)
    assert params.items() <= {"upscale": 1, **found}.items()
    assert ("output_size" in found) is ("output_size" in params)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("4x-UltraSharp.pth", 4),
        ("RealESRGAN_x2plus.pth", 2),
        ("anime.pth", None),
        ("24x.pth", None),
    ],
)
def test_the_factor_is_in_the_name_of_the_network(name, factor):
    document = graph("photo.png")
    document["4"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": name}}
    inputs = {"upscale_model": ["4", 0], "image": ["2", 0]}
    document["5"] = {"class_type": "ImageUpscaleWithModel", "inputs": inputs}
    document["3"]["inputs"]["images"] = ["5", 0]
    if factor is None:
        with pytest.raises(UnsupportedError, match="x2 or x4"):
            shown_by(parse(document), "3")
    else:
        assert shown_by(parse(document), "3").upscale == factor


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [((NETWORK, NETWORK), "one network"), ((scale(9, 9, "center"), by(2)), "crop")],
)
def test_what_no_job_can_be_says_why(nodes, reason):
    with pytest.raises(UnsupportedError, match=reason):
        shown(*nodes)


@pytest.mark.parametrize(
    ("size", "side"), [(512, 512), (460, 448), (680, 672), (33, 32), (4096, 4096)]
)
def test_a_size_between_steps_goes_to_the_nearest(size, side):
    assert shown(model_input_size=size).colouring.input_size == side


@pytest.mark.parametrize("colourer", ["DDColorize", "DDColor-ddcolorize"])
@pytest.mark.parametrize("loader", ["DDColorModelLoader", "DDColor_ModelLoader"])
@pytest.mark.parametrize("name", ["model_name", "checkpoint"])
def test_a_loader_names_the_checkpoint_for_its_colouring(colourer, loader, name):
    document = graph("photo.png")
    document["4"] = {"class_type": loader, "inputs": {name: "ddcolor_artistic.pth"}}
    document["2"] = {
        "class_type": colourer,
        "inputs": {"image": ["1", 0], "model": ["4", 0], "size": 960},
    }
    colouring = shown_by(parse(document), "3").colouring
    assert (colouring.checkpoint, colouring.input_size) == ("ddcolor_artistic.pth", 960)
