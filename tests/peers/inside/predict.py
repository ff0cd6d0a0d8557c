"""Runs in the peer's environment: one JSON request per line in, one answer per line out.

Request: {"model", "task", "pictures": [paths], "options": {}, "out": FILE.npz}
The answer's arrays, by the number of the picture: boxes_N [n, 6], masks_N [n, h, w] as bits,
shape_N of the masks, keypoints_N [n, points, numbers]. Line: {"ok": true, "seconds": ...}.
"""

import json
import os
import sys
import tempfile
import time

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


def predict(request):
    key = (request["model"], request["task"])
    if key not in models:
        models[key] = YOLO(request["model"], task=request["task"])
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
    return {"ok": True, "seconds": seconds, "detections": total}


for line in sys.stdin:
    try:
        answer = predict(json.loads(line))
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        answer = {"ok": False, "error": repr(error)}
    print(json.dumps(answer), file=answers, flush=True)
