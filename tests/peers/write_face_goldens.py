"""Write what insightface says, as numbers: ``tests/engines/faces/goldens/insightface.json``.

    PIXELMETER_MODEL_MIRROR=... PIXELMETER_TEST_MEDIA=... python tests/peers/write_face_goldens.py

Numbers only: no pixel and no weight of others is kept. Of a swapped crop the means of 8 x 8 parts
are kept, of many faces the first ones.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

from face_peer import Answer, ask  # noqa: E402
from face_questions import QUESTIONS, photographs, request  # noqa: E402

GOLDENS = ROOT / "tests" / "engines" / "faces" / "goldens" / "insightface.json"
ROWS_MAX = 8
PARTS = 8


def rows_of(answer: Answer, number: int, place: int) -> list[list[float]]:
    """x1, y1, x2, y2, score and the five points of the best faces."""
    rows, points = (answer[f"{name}_{number}_{place}"] for name in ("rows", "points"))
    both = np.concatenate([rows, points.reshape(len(rows), -1)], axis=1)[:ROWS_MAX]
    return np.round(both.astype(float), 4).tolist()


def parts_of(crop: np.ndarray) -> list[float]:
    """Means of a crop's parts, per colour."""
    side = crop.shape[0] // PARTS
    cells = crop.astype(float).reshape(PARTS, side, PARTS, side, 3).mean(axis=(1, 3))
    return np.round(cells.ravel(), 2).tolist()


def numbers_of(answer: Answer, points: list[list[Any]], names: list[str]) -> dict[str, Any]:
    """JSON-ready, rounded well below what is compared."""
    told: dict[str, Any] = {"detect": {}, "faces": {}}
    for number, question in enumerate(QUESTIONS):
        told["detect"][question.name] = {
            name: {
                "count": len(answer[f"rows_{number}_{place}"]),
                "rows": rows_of(answer, number, place),
            }
            for place, name in enumerate(names)
        }
    for place, name in enumerate(names):
        told["faces"][name] = [
            {
                "points": np.round(five, 4).tolist(),
                "matrix112": np.round(answer[f"matrix112_{place}_{number}"], 7).tolist(),
                "matrix128": np.round(answer[f"matrix128_{place}_{number}"], 7).tolist(),
                "embedding": np.round(answer[f"embedding_{place}_{number}"][:16], 6).tolist(),
                "swapped": parts_of(answer[f"swapped_{place}_{number}"]),
            }
            for number, five in enumerate(points[place])
        ]
    told["latent"] = np.round(answer["latent_0_0"][0].astype(float), 8).tolist()
    return told


def main() -> int:
    media, mirror = (
        Path(os.environ[f"PIXELMETER_{name}"]) for name in ("TEST_MEDIA", "MODEL_MIRROR")
    )
    with tempfile.TemporaryDirectory() as folder:
        asked = request(media, mirror, Path(folder))
        # what is kept of the points is what both are asked about
        asked["points"] = [
            [np.round(five, 4).tolist() for five in each] for each in asked["points"]
        ]
        numbers = numbers_of(
            ask(asked), asked["points"], [path.name for path in photographs(media)]
        )
    GOLDENS.parent.mkdir(exist_ok=True)
    lines = ",\n".join(
        f" {json.dumps(kind)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in each.items())
        + "\n }"
        for kind, each in numbers.items()
        if isinstance(each, dict)
    )
    latent = f' "latent": {json.dumps(numbers["latent"])}'
    GOLDENS.write_text("{\n" + lines + ",\n" + latent + "\n}\n")
    print(f"{GOLDENS}: {GOLDENS.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
