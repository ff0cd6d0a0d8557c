"""Runs in the peer's environment: one JSON request per line in, one answer per line out.

Request: {"model", "task", "pictures": [paths], "options": {}, "out": FILE.npz, "runtime"}
The answer's arrays, by the number of the picture: boxes_N [n, 6], masks_N [n, h, w] as bits,
shape_N of the masks, keypoints_N [n, points, numbers]. Line: {"ok": true, "seconds": ...}.
"""

import ast
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(
    {
        "YOLO_OFFLINE": "True",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": tempfile.mkdtemp(prefix="peer-"),
    }
)
answers, sys.stdout = sys.stdout, sys.stderr  # the peer prints

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402

torch.set_num_threads(int(os.environ.get("PEER_THREADS", "2")))
models = {}


def as_openvino(path):
    """The same network in the form the peer runs on OpenVINO, beside the answers."""
    import onnx
    import openvino
    import yaml

    folder = Path(tempfile.mkdtemp(prefix="peer-")) / "network_openvino_model"
    openvino.save_model(
        openvino.convert_model(path), folder / "network.xml", compress_to_fp16=False
    )
    known = {each.key: each.value for each in onnx.load(path).metadata_props}
    facts = {name: ast.literal_eval(known[name]) for name in ("stride", "batch", "imgsz", "names")}
    facts |= {"task": known["task"], "args": {"dynamic": False}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(facts))
    return str(folder)


def precision_of(model):
    """What OpenVINO computes in, as it says itself; None for other runtimes."""
    backend = getattr(model.predictor.model, "backend", model.predictor.model)
    for value in vars(backend).values():
        if hasattr(value, "get_property") and hasattr(value, "create_infer_request"):
            return value.get_property("INFERENCE_PRECISION_HINT").to_string()
    return None


def predict(request):
    key = (request["model"], request["task"], request.get("runtime"))
    if key not in models:
        path = request["model"]
        source = as_openvino(path) if request.get("runtime") == "openvino" else path
        models[key] = YOLO(source, task=request["task"])
    options = {"verbose": False, "save": False, **request["options"]}
    began = time.perf_counter()
    results = [models[key].predict(each, **options)[0] for each in request["pictures"]]
    seconds = time.perf_counter() - began
    found = {}
    for number, result in enumerate(results):
        found[f"boxes_{number}"] = result.boxes.data.numpy()
        if result.masks is not None:
            masks = result.masks.data.numpy() > 0
            found[f"masks_{number}"] = np.packbits(masks.reshape(-1))
            found[f"shape_{number}"] = np.array(masks.shape)
        if result.keypoints is not None:
            found[f"keypoints_{number}"] = result.keypoints.data.numpy()
    if request.get("out"):
        np.savez(request["out"], **found)
    total = sum(len(result.boxes) for result in results)
    precision = precision_of(models[key])
    return {"ok": True, "seconds": seconds, "detections": total, "precision": precision}


for line in sys.stdin:
    try:
        answer = predict(json.loads(line))
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        answer = {"ok": False, "error": repr(error)}
    print(json.dumps(answer), file=answers, flush=True)
