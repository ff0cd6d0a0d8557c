"""Runs in the peer's environment: export an architecture with random but lively, seeded weights.

    export.py NAME FILE.onnx OPTIONS_JSON     e.g. yolov8n-seg out.onnx '{"dynamic": true}'

Fresh weights give the same faint score everywhere. So the statistics of the normalising layers are
taken from noise, and the last layers of the head get weights that make scores and boxes differ.
"""

import json
import os
import shutil
import sys
import tempfile

os.environ.update(
    {
        "YOLO_OFFLINE": "True",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": tempfile.mkdtemp(prefix="peer-"),
    }
)

import torch
from torch import nn
from ultralytics import YOLO

SEED, SIDE = 7, 320
CLASS_SPREAD, CLASS_BIAS = 0.04, -2.0


def noise():
    layers = (
        nn.functional.interpolate(torch.rand(2, 3, side, side), (SIDE, SIDE), mode="bilinear") - 0.5
        for side in (5, 20, 80, SIDE)
    )
    return sum(layers).mul(0.6).add(0.5).clamp(0, 1)


def enliven(network):
    torch.manual_seed(SEED)
    head = network.model[-1]
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            classes = layer.out_channels == head.nc
            layer.weight.normal_(0, (CLASS_SPREAD if classes else 1.0) / layer.in_channels**0.5)
            layer.bias.normal_(0, 0.5 if classes else 0.2)
            if classes:
                layer.bias += CLASS_BIAS
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
            layer.reset_running_stats()
    network.train()
    for _ in range(4):
        network(noise())
    network.eval()


name, target, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
folder = tempfile.mkdtemp(prefix="peer-")
os.chdir(folder)  # the exporter writes where it stands
model = YOLO(f"{name}.yaml")
with torch.no_grad():
    enliven(model.model)
shutil.move(model.export(format="onnx", verbose=False, **options), target)
