"""From a model's declaration and a job's parameters to the loaded tools of a run."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from engines.errors import InvalidInputError
from engines.face_swap.finishing import SHARES, Detailed, Finisher, Plain, Restored
from engines.face_swap.masks import Masker, OcclusionMasker, RegionMasker
from engines.face_swap.networks import Networks, declared, missing
from engines.face_swap.params import Enhancer, FaceSwapParams, Mask
from engines.face_swap.swapper import ClassicalSwapper, NetworkSwapper, Swapper
from engines.face_swap.tools import Tools
from engines.faces.nets.contracts import (
    Latent,
    SwapperContract,
    embedder_contract,
    enhancer_contract,
    swapper_contract,
)
from engines.faces.nets.emap import load_emap
from engines.faces.nets.embedder import Embedder
from engines.faces.nets.enhancer import Enhancer as EnhanceNetwork
from engines.faces.nets.latents import ConvertedLatents, EmapLatents, LatentMaker, UnitLatents
from engines.faces.nets.occlusion import OcclusionMasks
from engines.faces.nets.regions import RegionMasks
from engines.faces.nets.reserve import ReserveRunner
from engines.faces.nets.swapper import Swapper as SwapNetwork
from engines.loading import weights_source
from engines.manifest import ModelVersion, WeightsFile
from engines.registry import Registry
from engines.runners.base import Runner

EMAPS_FOLDER = "emaps"  # in the store
CLASSICAL, NO_SWAPPER = "classical", "none"
BOOSTED_SIDE_MAX = 512
# The highest level draws the face in this many pixels where nobody says how many.
BOOSTED_LEVELS, BOOSTED_SIDE = {3}, 256
XSEG_FILE, BISENET_FILE = "xseg_3.onnx", "bisenet_resnet_34.onnx"
ENHANCERS = {  # file, name in results, contract
    Enhancer.GFPGAN: ("GFPGANv1.4.onnx", "gfpgan@1.4", "gfpgan"),
    Enhancer.X4: ("realesr_animevideov3_x4.onnx", "realesr-animevideov3-x4@1", "x4"),
}


def load_tools(networks: Networks, wanted: FaceSwapParams) -> Tools:
    """What a run of a model with these parameters works with.

    Raises:
        WeightsError: ``weights_missing`` for a file that the model or a parameter needs,
            ``weights_corrupt``.
        ContractError: weights of another form, or without the matrix of inswapper.
    """
    embedder = load_embedder(networks)
    swapper = _swapper(networks, wanted, has_embedder=embedder is not None)
    masks = wanted.mask or (swapper.mask,)
    maskers = _maskers(networks, masks)
    return Tools(
        clock=networks.clock,
        detector=networks.detector(wanted.detector.search()),
        embedder=embedder,
        swapper=swapper,
        masks=masks,
        maskers=maskers,
        finisher=_finisher(networks, wanted, maskers),
        blend=wanted.blend,
        no_embedder=missing(
            networks.model, _embedder_file(networks.model), what="telling persons apart"
        ),
    )


def pixel_boost(model: ModelVersion, wanted: FaceSwapParams) -> int:
    """How many times its own size a model's crop is.

    Raises:
        InvalidInputError: code ``option_unsupported``.
    """
    name = str(model.options.get("swapper"))
    if wanted.pixel_boost is None and (
        name == CLASSICAL or wanted.enhance_level not in BOOSTED_LEVELS
    ):
        return 1
    if name == CLASSICAL:
        message = f"{model.id} works in the target's own pixels; leave pixel_boost out"
        raise InvalidInputError(message, code="option_unsupported")
    size = swapper_contract(name).size
    if wanted.pixel_boost is None:
        return max(1, BOOSTED_SIDE // size)
    possible = range(size, BOOSTED_SIDE_MAX + 1, size)
    if wanted.pixel_boost not in possible:
        message = f"{model.id} takes a pixel_boost of {', '.join(map(str, possible))}"
        raise InvalidInputError(message, code="option_unsupported")
    return wanted.pixel_boost // size


def check_swaps(model: ModelVersion) -> None:
    """Refuse a network that only works inside another; raises code ``model_unsuitable``."""
    if model.options.get("swapper") == NO_SWAPPER:
        message = f"{model.id} swaps nothing by itself; ask for a model that does"
        raise InvalidInputError(message, code="model_unsuitable")


def tells_persons_apart(registry: Registry, model: ModelVersion) -> bool:
    """Whether the embedder of a model is on this machine."""
    if "embedder" not in model.options:
        return False
    file = _embedder_file(model)
    if file in model.weights:
        return registry.available(model)
    return registry.extra_path(model, file.file) is not None


def load_embedder(networks: Networks) -> Embedder | None:
    """What tells persons apart; None where its weights are not here."""
    told = _embedder_options(networks.model)
    runner = networks.find(_embedder_file(networks.model), "embed")
    if runner is None:
        return None
    return Embedder(runner, embedder_contract(told["contract"]), name=told["name"])


def _embedder_options(model: ModelVersion) -> Mapping[str, str]:
    return cast("Mapping[str, str]", model.options["embedder"])


def _embedder_file(model: ModelVersion) -> WeightsFile:
    return declared(model, _embedder_options(model)["file"])


def _swapper(networks: Networks, wanted: FaceSwapParams, *, has_embedder: bool) -> Swapper:
    model = networks.model
    name = str(model.options["swapper"])
    if name == CLASSICAL:
        return ClassicalSwapper()
    if not has_embedder:
        raise missing(model, _embedder_file(model), what=model.id)
    contract = swapper_contract(name)
    network = SwapNetwork(_swap_runner(networks), contract, _latents(networks, contract))
    return NetworkSwapper(network, pixel_boost(model, wanted), matches_colours=wanted.color_match)


def _swap_runner(networks: Networks) -> Runner:
    """The swapper's network; with another in reserve where the manifest names one."""
    model = networks.model
    file = model.weights[0]
    runner = networks.need(file, "swap", what=model.id)
    reserve = model.options.get("reserve")
    if reserve is None:
        return runner
    spare = declared(model, str(reserve))
    why = f"{file.file} gave no numbers here; going on with full precision"
    return ReserveRunner(
        runner,
        partial(networks.need, spare, "swap", what=why),
        name=file.file,
        reserve=spare.file,
    )


def _latents(networks: Networks, contract: SwapperContract) -> LatentMaker:
    model, registry = networks.model, networks.services.registry
    match contract.latent:
        case Latent.EMAP:
            folder = registry.store_folder / EMAPS_FOLDER
            source = weights_source(registry, model)
            return EmapLatents(load_emap(source.path, source.sha256, folder))
        case Latent.CONVERTED:
            converter = registry.resolve("face-swap", str(model.options["converter"]))
            registry.require(converter)
            converting = networks.of(converter)
            return ConvertedLatents(converting.need(converter.weights[0], "embed", what=model.id))
        case Latent.UNIT:
            return UnitLatents()


def _maskers(networks: Networks, masks: Sequence[Mask]) -> tuple[Masker, ...]:
    """Those of the masks that are networks."""
    made: list[Masker] = []
    if Mask.OCCLUSION in masks:
        file = declared(networks.model, XSEG_FILE)
        runner = networks.need(file, "mask", what="mask occlusion")
        made.append(OcclusionMasker(OcclusionMasks([runner])))
    if Mask.REGION in masks:
        file = declared(networks.model, BISENET_FILE)
        runner = networks.need(file, "mask", what="mask region")
        made.append(RegionMasker(RegionMasks(runner)))
    return tuple(made)


def _finisher(networks: Networks, wanted: FaceSwapParams, maskers: tuple[Masker, ...]) -> Finisher:
    level = wanted.enhance_level
    if level not in SHARES:
        return Plain()
    if wanted.enhancer is Enhancer.DETAIL:
        return Detailed(level)
    is_auto = wanted.enhancer is Enhancer.AUTO
    file, name, contract = ENHANCERS[Enhancer.GFPGAN if is_auto else wanted.enhancer]
    weights = declared(networks.model, file)
    runner = networks.find(weights, "enhance")
    if runner is not None:
        network = EnhanceNetwork(runner, enhancer_contract(contract))
        return Restored(name, network, SHARES[level], maskers)
    if is_auto:
        return Detailed(level)
    raise missing(networks.model, weights, what=f"enhancer {wanted.enhancer.value}")
