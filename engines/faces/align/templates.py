"""Where the five points of a face lie in the crop that a network was trained on."""

from enum import StrEnum

import numpy as np

from engines.faces.face import Points


class Template(StrEnum):
    """A standard position; a network works only on crops of the one it was trained on."""

    ARCFACE_112_V1 = "arcface_112_v1"  # GHOST, SimSwap
    ARCFACE_112_V2 = "arcface_112_v2"  # ArcFace and other embedders
    ARCFACE_128 = "arcface_128"  # inswapper; arcface_112_v2 with eight pixels on both sides
    FFHQ_512 = "ffhq_512"  # GFPGAN and other restorers
    MTCNN_512 = "mtcnn_512"  # HiFiFace
    DFL_WHOLE_FACE = "dfl_whole_face"  # DeepFaceLab


# x and y in shares of the crop's side: facts that InsightFace (arcface_dst), FFHQ and FaceFusion
# publish beside the networks that were trained on them.
_SHARES = {
    Template.ARCFACE_112_V1: (
        (0.35473214, 0.45658929),
        (0.64526786, 0.45658929),
        (0.50000000, 0.61154464),
        (0.37913393, 0.77687500),
        (0.62086607, 0.77687500),
    ),
    Template.ARCFACE_112_V2: (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    Template.ARCFACE_128: (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
    Template.FFHQ_512: (
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.72541100),
        (0.61150205, 0.72490465),
    ),
    Template.MTCNN_512: (
        (0.36562865, 0.46733799),
        (0.63305391, 0.46585885),
        (0.50019127, 0.61942959),
        (0.39032951, 0.77598822),
        (0.61178945, 0.77476328),
    ),
    Template.DFL_WHOLE_FACE: (
        (0.35342266, 0.39285716),
        (0.62797622, 0.39285716),
        (0.48660713, 0.54017860),
        (0.38839287, 0.68750011),
        (0.59821427, 0.68750011),
    ),
}


def template_points(template: Template, *, size: int) -> Points:
    """The five points [5, 2] in pixels of a square crop with sides of ``size``."""
    return np.array(_SHARES[template], dtype=np.float64) * size
