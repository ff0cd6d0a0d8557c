"""The nodes that prompts may use, and their schemas as ``/object_info`` tells them. Pure data.

Names, inputs, types and bounds are ComfyUI's (Comfy-Org/ComfyUI a125cd8) and those of
kijai/ComfyUI-DDColor 30d5b8e, so that a workflow made for them is valid here unchanged. Wrappers
that load a checkpoint in a node of its own are taken under the names that their workflows use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

IMAGE, MASK, COLOUR_MODEL, UPSCALE_MODEL = "IMAGE", "MASK", "DDCOLOR_MODEL", "UPSCALE_MODEL"
SIDE_MAX: Final = 16_384


class Role(StrEnum):
    """What a node does."""

    LOAD = "load"  # an uploaded picture
    COLOUR_MODEL = "colour_model"  # names a checkpoint
    COLOUR = "colour"
    UPSCALE_MODEL = "upscale_model"  # names a network that enlarges
    UPSCALE = "upscale"
    SCALE = "scale"  # without a network
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a node; ``kind`` is a type's name, or the values to choose from."""

    kind: str | tuple[str, ...]
    required: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    open: bool = False  # of a choice: others may be named too

    def schema(self) -> list[Any]:
        """As ComfyUI tells it."""
        kind = self.kind if isinstance(self.kind, str) else list(self.kind)
        return [kind, dict(self.options)] if self.options else [kind]


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One class of nodes."""

    name: str
    role: Role
    inputs: Mapping[str, Input]
    outputs: tuple[tuple[str, str], ...]  # type and name
    category: str
    title: str
    description: str
    one_of: tuple[str, ...] = ()  # at least one of these inputs must be there

    def info(self, files: tuple[str, ...]) -> dict[str, Any]:
        """The schema; ``files`` are the pictures that LoadImage can choose."""
        groups: dict[str, dict[str, Any]] = {"required": {}}
        for name, each in self.inputs.items():
            group = groups.setdefault("required" if each.required else "optional", {})
            group[name] = each.schema()
        if self.role is Role.LOAD:
            groups["required"]["image"] = [list(files), {"image_upload": True}]
        return {
            "input": groups,
            "input_order": {group: list(names) for group, names in groups.items()},
            "output": [kind for kind, _ in self.outputs],
            "output_is_list": [False] * len(self.outputs),
            "output_name": [name for _, name in self.outputs],
            "name": self.name,
            "display_name": self.title,
            "description": self.description,
            "python_module": "nodes",
            "category": self.category,
            "output_node": self.role is Role.OUTPUT,
        }


# The models of ``colorize`` by the names of their published checkpoints.
CHECKPOINTS: Final[Mapping[str, str]] = {
    "ddcolor_paper_tiny.pth": "ddcolor-tiny",
    "ddcolor_paper.pth": "ddcolor-paper",
    "ddcolor_modelscope.pth": "ddcolor-modelscope",
    "ddcolor_artistic.pth": "ddcolor-artistic",
    "tiny": "tiny",
    "builtin": "builtin",
}
CHECKPOINT_DEFAULT: Final = "ddcolor_paper_tiny.pth"
UPSCALERS: Final = ("RealESRGAN_x2.pth", "RealESRGAN_x4.pth")
METHODS: Final = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
CHROMAS: Final = ("reference", "guided", "bilinear")
KINDS: Final = ("auto", "person", "building")

LOADER_NAMES: Final = ("DDColorModelLoader", "DDColor_ModelLoader", "DDColorLoader")
COLOURER_NAMES: Final = ("DDColorize", "DDColorColorize", "DDColor-ddcolorize")
CHECKPOINT_INPUTS: Final = ("model", "checkpoint", "model_name", "ckpt_name")
SIZE_INPUTS: Final = ("model_input_size", "input_size", "size")

_CHECKPOINT = {"default": CHECKPOINT_DEFAULT}
_SIZE = {"default": 512, "min": 32, "max": 4096, "step": 32}
_SIDE = {"default": 512, "min": 0, "max": SIDE_MAX, "step": 1}
_OPTIONAL_NAMES = {
    name: Input(tuple(CHECKPOINTS), required=False, options=_CHECKPOINT)
    for name in CHECKPOINT_INPUTS
}
# Not of the original: what our engine can do beside it.
_OURS = {
    "chroma": Input(CHROMAS, required=False, options={"default": CHROMAS[0]}),
    "type": Input(KINDS, required=False, options={"default": KINDS[0]}),
}
_PICTURE = {"image": Input(IMAGE)}
_MADE = ((IMAGE, "IMAGE"),)
_SCALED = {**_PICTURE, "upscale_method": Input(METHODS)}


def _colourers() -> list[NodeClass]:
    published = NodeClass(
        name="DDColor_Colorize",
        role=Role.COLOUR,
        inputs={
            **_PICTURE,
            "model_input_size": Input("INT", options=_SIZE),
            "checkpoint": Input(tuple(CHECKPOINTS), options=_CHECKPOINT),
            **_OURS,
        },
        outputs=((IMAGE, "colorized_image"),),
        category="DDColor",
        title="DDColor Colorize",
        description="Gives a picture colour. A checkpoint that is not on this server is replaced "
        "by the server's best model, and the output says so.",
    )
    inputs = {
        **_PICTURE,
        **_OPTIONAL_NAMES,
        "model": Input(COLOUR_MODEL, required=False),
        **{name: Input("INT", required=False, options=_SIZE) for name in SIZE_INPUTS},
        **_OURS,
    }
    others = [
        replace(published, name=name, inputs=inputs, one_of=CHECKPOINT_INPUTS)
        for name in COLOURER_NAMES
    ]
    return [published, *others]


def _loaders() -> list[NodeClass]:
    return [
        NodeClass(
            name=name,
            role=Role.COLOUR_MODEL,
            inputs=_OPTIONAL_NAMES,
            outputs=((COLOUR_MODEL, "model"),),
            category="DDColor",
            title="DDColor Model Loader",
            description="Names a checkpoint.",
            one_of=CHECKPOINT_INPUTS,
        )
        for name in LOADER_NAMES
    ]


def _scaler(name: str, title: str, **own: Input) -> NodeClass:
    return NodeClass(
        name=name,
        role=Role.SCALE,
        inputs={**_SCALED, **own},
        outputs=_MADE,
        category="image/upscaling",
        title=title,
        description="Brings the coloured picture to a size.",
    )


def _others() -> list[NodeClass]:
    return [
        NodeClass(
            name="LoadImage",
            role=Role.LOAD,
            inputs={"image": Input("STRING")},
            outputs=(*_MADE, (MASK, "MASK")),
            category="image",
            title="Load Image",
            description="An uploaded picture.",
        ),
        _scaler(
            "ImageScale",
            "Upscale Image",
            width=Input("INT", options=_SIDE),
            height=Input("INT", options=_SIDE),
            crop=Input(("disabled", "center")),
        ),
        _scaler(
            "ImageScaleBy",
            "Upscale Image By",
            scale_by=Input("FLOAT", options={"default": 1.0, "min": 0.01, "max": 8.0}),
        ),
        _scaler(
            "ImageScaleToTotalPixels",
            "Scale Image to Total Pixels",
            megapixels=Input("FLOAT", options={"default": 1.0, "min": 0.01, "max": 16.0}),
        ),
        NodeClass(
            name="UpscaleModelLoader",
            role=Role.UPSCALE_MODEL,
            inputs={"model_name": Input(UPSCALERS, open=True)},
            outputs=((UPSCALE_MODEL, "UPSCALE_MODEL"),),
            category="loaders",
            title="Load Upscale Model",
            description="Says how much larger: 2 or 4, as in x2 or 4x of the name.",
        ),
        NodeClass(
            name="ImageUpscaleWithModel",
            role=Role.UPSCALE,
            inputs={"upscale_model": Input(UPSCALE_MODEL), **_PICTURE},
            outputs=_MADE,
            category="image/upscaling",
            title="Upscale Image (using Model)",
            description="Enlarges the coloured picture with Real-ESRGAN.",
        ),
        NodeClass(
            name="SaveImage",
            role=Role.OUTPUT,
            inputs={
                "images": Input(IMAGE),
                "filename_prefix": Input("STRING", options={"default": "ComfyUI"}),
            },
            outputs=(),
            category="image",
            title="Save Image",
            description="Keeps a picture for seven days.",
        ),
        NodeClass(
            name="PreviewImage",
            role=Role.OUTPUT,
            inputs={"images": Input(IMAGE)},
            outputs=(),
            category="image",
            title="Preview Image",
            description="Shows a picture.",
        ),
    ]


def _all() -> dict[str, NodeClass]:
    return {each.name: each for each in (*_colourers(), *_loaders(), *_others())}


NODE_CLASSES: Final[Mapping[str, NodeClass]] = _all()


def object_info(files: tuple[str, ...], name: str | None = None) -> dict[str, Any]:
    """Every class, or the one that is named; an unknown name gives an empty object."""
    wanted = NODE_CLASSES if name is None else {name: NODE_CLASSES.get(name)}
    return {each: known.info(files) for each, known in wanted.items() if known is not None}
