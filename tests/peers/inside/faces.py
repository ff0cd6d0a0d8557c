"""Runs in .peers/insightface: what its own classes say about networks, pictures and points.

    faces.py REQUEST.json ANSWER.npz

Request: {"pictures": [paths], "detect": [{"network", "class", "sizes", "max_num", "metric"}],
"points": [for each picture its faces' five points], "arcface": path, "inswapper": path}.
Answer, by the numbers of detection d, picture p and face f: rows_d_p [n, 5], points_d_p [n, 5, 2];
matrix112_p_f, crop112_p_f, embedding_p_f; matrix128_p_f, latent_p_f, fed_p_f, swapped_p_f and, of
the first face of each picture, pasted_p. The source of every swap is the first face of all.
"""

import contextlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from insightface.app.common import Face
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.inswapper import INSwapper
from insightface.model_zoo.retinaface import RetinaFace
from insightface.model_zoo.scrfd import SCRFD
from insightface.utils import face_align


class Recording:
    """A session that keeps what it was last fed."""

    def __init__(self, path):
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.fed = None

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, names, feeds, options=None):
        self.fed = {name: np.array(value) for name, value in feeds.items()}
        return self._session.run(names, feeds, options)


def detect(asked, pictures, number, found):
    if asked["class"] == "SCRFD":
        detector = SCRFD(asked["network"], static_shape_sessions=False)
    else:
        detector = RetinaFace(asked["network"])
    sizes = asked["sizes"] and [tuple(size) for size in asked["sizes"]]
    for place, pixels in enumerate(pictures):
        rows, points = detector.detect(
            pixels, input_size=sizes, max_num=asked["max_num"], metric=asked["metric"]
        )
        found[f"rows_{number}_{place}"] = rows
        found[f"points_{number}_{place}"] = points


def swap(request, pictures, found):
    arcface = ArcFaceONNX(request["arcface"])
    session = Recording(request["inswapper"])
    with contextlib.redirect_stdout(sys.stderr):
        swapper = INSwapper(request["inswapper"], session)
    source = None
    for place, pixels in enumerate(pictures):
        for number, points in enumerate(request["points"][place]):
            face = Face(kps=np.array(points, dtype=np.float64))
            key = f"{place}_{number}"
            matrix = face_align.estimate_norm(face.kps, 112)
            crop = face_align.norm_crop(pixels, face.kps, 112)
            found[f"matrix112_{key}"], found[f"crop112_{key}"] = matrix, crop
            found[f"embedding_{key}"] = arcface.get(pixels, face)
            source = source or Face(embedding=face.embedding)
            drawn, matrix = swapper.get(pixels, face, source, paste_back=False)
            found[f"matrix128_{key}"], found[f"swapped_{key}"] = matrix, drawn
            found[f"latent_{key}"] = session.fed["source"]
            found[f"fed_{key}"] = session.fed["target"]
            if number == 0:
                found[f"pasted_{place}"] = swapper.get(pixels, face, source, paste_back=True)


request = json.loads(Path(sys.argv[1]).read_text())
pictures = [cv2.imread(path) for path in request["pictures"]]
found = {}
for number, asked in enumerate(request["detect"]):
    detect(asked, pictures, number, found)
if "arcface" in request:
    swap(request, pictures, found)
np.savez(sys.argv[2], **found)
