"""A person as the embedders here see them: what a list of blocked faces is made of."""

from pathlib import Path

from engines.errors import InvalidInputError
from engines.face_swap.loading import load_embedder, tells_persons_apart
from engines.face_swap.networks import Networks
from engines.face_swap.selection import source_face
from engines.face_swap.timing import LaneClock
from engines.faces.choice import Search
from engines.faces.nets.embedder import Vector, unit
from engines.media.images import read_image
from engines.metering import StageClock
from engines.registry import Services


def identify(services: Services, path: Path) -> dict[str, Vector]:
    """The vector [D] of the face of a picture by the name of each embedder whose weights are here.

    Found and embedded as a job finds and embeds a source.

    Raises:
        InvalidInputError: ``no_face_found``, ``several_source_faces``, the codes of pictures, and
            ``weights_missing`` where nothing here tells persons apart.
    """
    pixels = read_image(path, limits=services.limits).pixels
    found: dict[str, Vector] = {}
    for model in services.registry.manifest("face-swap").models:
        if not tells_persons_apart(services.registry, model):
            continue
        networks = Networks(services, model, LaneClock(StageClock()))
        embedder = load_embedder(networks)
        if embedder is None or embedder.name in found:
            continue
        face = source_face(networks.detector(Search()).detect(pixels), None, where="the picture")
        vector: Vector = embedder.embed(pixels, [face])[0]
        unit(vector)  # what says nothing about its person is refused
        found[embedder.name] = vector
    if not found:
        message = "nothing here tells persons apart; pull or add the weights of an embedder first"
        raise InvalidInputError(message, code="weights_missing")
    return found
