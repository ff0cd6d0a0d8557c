"""Names of classes."""

import ast
from collections.abc import Mapping, Sequence

_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, "
    "elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, "
    "skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, "
    "apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
COCO: tuple[str, ...] = tuple(_COCO.split(", "))


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The name of a class, or its number where the model names none."""
    return labels[class_id] if class_id < len(labels) else str(class_id)


def names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The class names an ONNX export carries as a Python dict in ``names``; none if unreadable."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return ()
    return tuple(str(names[class_id]) for class_id in range(len(names)))
