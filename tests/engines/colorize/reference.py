"""The published DDColor pipeline on whole arrays, step by step; the engine is held against it."""

import cv2
import numpy as np
import onnxruntime


def reference(picture: np.ndarray, network: bytes, *, height: int, width: int) -> np.ndarray:
    """BGR 8 bits in, BGR 8 bits out; ``height`` and ``width`` are the network's."""
    image = (picture / 255.0).astype(np.float32)
    light = cv2.cvtColor(image, cv2.COLOR_BGR2Lab)[:, :, :1]
    resized = cv2.resize(image, (width, height))
    small_light = cv2.cvtColor(resized, cv2.COLOR_BGR2Lab)[:, :, :1]
    nothing = np.zeros_like(small_light)
    grey_lab = np.concatenate([small_light, nothing, nothing], axis=-1)
    grey = cv2.cvtColor(grey_lab, cv2.COLOR_LAB2RGB)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (ab,) = session.run(None, {"input": grey.transpose(2, 0, 1)[None]})
    full = nearest(ab[0], picture.shape[0], picture.shape[1]).transpose(1, 2, 0)
    bgr = cv2.cvtColor(np.concatenate([light, full], axis=-1), cv2.COLOR_LAB2BGR)
    return (np.clip(bgr, 0, 1) * 255.0).round().astype(np.uint8)


def nearest(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """What torch's interpolate does by default: source = floor(target * source size / size)."""
    y_step = values.shape[1] / np.float32(height)
    x_step = values.shape[2] / np.float32(width)
    ys = [int(np.floor(np.float32(y) * y_step)) for y in range(height)]
    xs = [int(np.floor(np.float32(x) * x_step)) for x in range(width)]
    ys = np.minimum(ys, values.shape[1] - 1)
    xs = np.minimum(xs, values.shape[2] - 1)
    return values[:, ys][:, :, xs]
