"""The loop that everybody writes: look, crop, embed, swap, paste, one frame after the other.

    python face_loop.py DETECT.onnx EMBED.onnx SWAP.onnx FRAMES.npy ROUNDS

Where the insightface package is installed (``.peers/insightface``), its own alignment and its
INSwapper.get with its paste; else the same steps with a paste of the whole frame written here.
Prints one line of JSON: which of the two, frames per second of each round, faces of one round.
"""

import contextlib
import io
import json
import sys
import time
import types

import cv2
import numpy as np
import onnxruntime as ort

THREADS = 2
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]], np.float32,
)  # fmt: skip


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Detector:
    """YuNet as its authors read it."""

    def __init__(self, path):
        self.session = session(path)

    def __call__(self, frame):
        scale = 640 / max(frame.shape[:2])
        small = cv2.resize(frame, None, fx=scale, fy=scale)
        canvas = np.zeros((640, 640, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        outputs = self.session.run(None, {"input": canvas.transpose(2, 0, 1)[None].astype("f4")})
        boxes, scores, points = [], [], []
        for level, stride in enumerate((8, 16, 32)):
            classes, objects, box, five = (outputs[kind * 3 + level][0] for kind in range(4))
            score = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
            keep = np.flatnonzero(score > 0.75)
            cells = np.stack([keep % (640 // stride), keep // (640 // stride)], 1) * stride
            centre, size = box[keep, :2] * stride + cells, np.exp(box[keep, 2:]) * stride
            boxes.append(np.concatenate([centre - size / 2, size], 1))
            scores.append(score[keep])
            points.append(five[keep].reshape(-1, 5, 2) * stride + cells[:, None])
        boxes, scores = np.concatenate(boxes) / scale, np.concatenate(scores)
        chosen = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.75, 0.3)
        return np.concatenate(points)[np.reshape(chosen, -1).astype(int)] / scale


def crop(frame, points, side):
    shift = np.array([(side - 112) / 2, 0], np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(points.astype("f4"), TEMPLATE + shift)
    return cv2.warpAffine(frame, matrix, (side, side)), matrix


def paste(frame, face, matrix):
    """A mask eroded and blurred in the frame, and the whole frame mixed anew."""
    size = frame.shape[1], frame.shape[0]
    back = cv2.invertAffineTransform(matrix)
    shown = cv2.warpAffine(face, back, size)
    mask = cv2.warpAffine(np.full(face.shape[:2], 255, np.float32), back, size)
    mask[mask > 20] = 255
    rows, columns = np.nonzero(mask == 255)
    side = int(np.sqrt(np.ptp(rows) * np.ptp(columns)))
    mask = cv2.erode(mask, np.ones((max(side // 10, 10),) * 2, np.uint8))
    mask = cv2.GaussianBlur(mask, (2 * max(side // 20, 5) + 1,) * 2, 0)[..., None] / 255
    return (mask * shown + (1 - mask) * frame.astype(np.float32)).astype(np.uint8)


class OwnSwap:
    """Written here."""

    name = "plain loop"

    def __init__(self, embed, swap, latent):
        self.embed, self.swap, self.latent = session(embed), session(swap), latent
        self.names = [each.name for each in self.swap.get_inputs()]

    def __call__(self, frame, points):
        face, _ = crop(frame, points, 112)
        blob = cv2.dnn.blobFromImage(face, 1 / 127.5, (112, 112), (127.5,) * 3, swapRB=True)
        self.embed.run(None, {self.embed.get_inputs()[0].name: blob})
        face, matrix = crop(frame, points, 128)
        blob = cv2.dnn.blobFromImage(face, 1 / 255, swapRB=True)
        new = self.swap.run(None, dict(zip(self.names, (blob, self.latent), strict=True)))[0][0]
        new = (np.clip(new, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
        return paste(frame, new, matrix)


class PackageSwap:
    """The package's own."""

    def __init__(self, embed, swap, latent):
        import insightface
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX
        from insightface.model_zoo.inswapper import INSwapper

        self.name = f"insightface {insightface.__version__} loop"
        with contextlib.redirect_stdout(io.StringIO()):
            self.embedder = ArcFaceONNX(embed, session(embed))
            self.swapper = INSwapper(swap, session(swap))
        self.source = types.SimpleNamespace(normed_embedding=latent[0])

    def __call__(self, frame, points):
        from insightface.app.common import Face

        face = Face(kps=points.astype(np.float32))
        self.embedder.get(frame, face)
        return self.swapper.get(frame, face, self.source, paste_back=True)


def main():
    detect, embed, swap, frames, rounds = sys.argv[1:]
    latent = np.random.default_rng(0).standard_normal((1, 512)).astype(np.float32)
    latent /= np.linalg.norm(latent)
    detector = Detector(detect)
    try:
        swapper = PackageSwap(embed, swap, latent)
    except ImportError:
        swapper = OwnSwap(embed, swap, latent)
    per_s, faces = [], 0
    for number in range(-1, int(rounds)):  # the first warms
        frames_now = np.load(frames)
        began, faces = time.perf_counter(), 0
        for original in frames_now:
            frame = original
            for points in detector(frame):
                frame = swapper(frame, points)
                faces += 1
        if number >= 0:
            per_s.append(len(frames_now) / (time.perf_counter() - began))
    print(json.dumps({"name": swapper.name, "per_s": per_s, "faces": faces}))


main()
