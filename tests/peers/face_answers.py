"""What our classes answer to the questions that are put to insightface, under the same names."""

from pathlib import Path

import numpy as np
from face_questions import ARCFACE, INSWAPPER, QUESTIONS, Question, networks, photographs

from engines.faces.align.box_mask import box_mask
from engines.faces.align.paste import paste
from engines.faces.detectors.letterbox import size_of
from engines.faces.detectors.rows import Metric, keep_most
from engines.faces.detectors.scrfd import Scrfd
from engines.faces.face import Face, Pixels
from engines.faces.nets.contracts import embedder_contract, swapper_contract
from engines.faces.nets.emap import export_emap
from engines.faces.nets.embedder import Embedder
from engines.faces.nets.latents import EmapLatents
from engines.faces.nets.swapper import Swapper
from engines.media.images import read_image
from engines.runners.ort import open_onnx

METRICS = {"default": Metric.CENTRAL, "max": Metric.LARGEST}

Arrays = dict[str, np.ndarray]


def detected(media: Path, folder: Path) -> Arrays:
    """rows_d_p [n, 5] and points_d_p [n, 5, 2] of every question and photograph."""
    pictures = [read_image(path).pixels for path in photographs(media)]
    found: Arrays = {}
    for number, (path, question) in enumerate(zip(networks(folder), QUESTIONS, strict=True)):
        detector = Scrfd(open_onnx(path, threads=2), name="stub@1", sizes=question.sizes)
        for place, faces in enumerate(detector.detect_many(pictures)):
            kept = _kept(faces, question, pictures[place])
            found[f"rows_{number}_{place}"] = np.array([[*face.box, face.score] for face in kept])
            found[f"points_{number}_{place}"] = np.array([face.points for face in kept])
    return found


def _kept(faces: list[Face], question: Question, pixels: Pixels) -> list[Face]:
    return keep_most(
        faces, most=question.most, picture=size_of(pixels), metric=METRICS[question.metric]
    )


def swapped(media: Path, mirror: Path, points: list[list[list[list[float]]]]) -> Arrays:
    """Matrices, crops, embeddings, latents, swapped crops and pasted pictures of these faces."""
    embedder = Embedder(
        open_onnx(mirror / ARCFACE, threads=2), embedder_contract("arcface-w600k"), name="stub@1"
    )
    swapper = Swapper(
        open_onnx(mirror / INSWAPPER, threads=2),
        swapper_contract("inswapper-128"),
        EmapLatents(export_emap(mirror / INSWAPPER)),
    )
    found: Arrays = {}
    source = None
    for place, path in enumerate(photographs(media)):
        pixels = read_image(path).pixels
        for number, five in enumerate(points[place]):
            face, key = np.array(five), f"{place}_{number}"
            crop = embedder.crop(pixels, face)
            found[f"matrix112_{key}"], found[f"crop112_{key}"] = crop.matrix, crop.pixels
            vectors = embedder.embed_crops(crop.pixels[None])
            found[f"embedding_{key}"] = vectors[0]
            source = vectors if source is None else source
            latents = swapper.latent(source)
            target = swapper.crop(pixels, face)
            drawn = swapper.swap(target.pixels[None], latents)[0]
            found[f"matrix128_{key}"], found[f"latent_{key}"] = target.matrix, latents
            found[f"swapped_{key}"] = drawn
            if number == 0:
                pasted = pixels.copy()
                paste(pasted, drawn, target.matrix, box_mask(128))
                found[f"pasted_{place}"] = pasted
    return found
