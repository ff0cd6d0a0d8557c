"""Detections as files for training tools: a COCO dataset, YOLO text lines.

Both are written picture by picture, so that memory does not grow with a video.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from engines.detect.detection import Detection
from engines.detect.mask import coco_rle, outlines
from engines.detect.params import ExportFormat
from engines.spec import OutputFile

_SEEN_ABOVE = 0.5  # of a keypoint's visibility: COCO's 2 (seen), else 1 (labelled, not seen)
_PAIR = 2


class Export(Protocol):
    """A file that grows by one picture or frame at a time."""

    def add(self, name: str, detections: Sequence[Detection]) -> None:
        """The next picture."""

    @property
    def file_name(self) -> str:
        """Of the finished file."""

    def add_part(self, path: Path, names: Sequence[str]) -> None:
        """What the same export of the next part of a video holds, its pictures named anew."""

    def close(self) -> OutputFile:
        """Finish the file."""


class Exports:
    """The files a caller asked for; a context manager.

    Args:
        formats: as asked.
        folder: where the files are written.
        size: width and height of the pictures.
        labels: class names by id.
    """

    def __init__(
        self,
        formats: Sequence[ExportFormat],
        folder: Path,
        *,
        size: tuple[int, int],
        labels: Sequence[str],
        many: bool,
    ) -> None:
        self._exports: list[Export] = []
        if ExportFormat.COCO in formats:
            self._exports.append(CocoFile(folder / "coco.json", size=size, labels=labels))
        if ExportFormat.YOLO in formats and many:
            self._exports.append(YoloArchive(folder / "labels.zip", size=size))
        elif ExportFormat.YOLO in formats:
            self._exports.append(YoloFile(folder / "labels.txt", size=size))
        self.files: tuple[OutputFile, ...] = ()

    def __enter__(self) -> Self:
        """Give the exports."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish every file; afterwards ``files`` names them."""
        self.files = tuple(export.close() for export in self._exports)

    def add(self, name: str, detections: Sequence[Detection]) -> None:
        """The next picture, with the name it has in the files."""
        for export in self._exports:
            export.add(name, detections)

    def add_part(self, paths: Mapping[str, Path], names: Sequence[str]) -> None:
        """The same exports of the next part of a video, by file name; its pictures' names."""
        for export in self._exports:
            export.add_part(paths[export.file_name], names)


class CocoFile:
    """A dataset as COCO defines it, with the ``score`` of each annotation."""

    def __init__(self, path: Path, *, size: tuple[int, int], labels: Sequence[str]) -> None:
        self._path, self._size = path, size
        self._categories = [{"id": at, "name": name} for at, name in enumerate(labels) if name]
        with ExitStack() as stack:
            self._file: TextIO = stack.enter_context(path.open("w", encoding="utf-8"))
            self._file.write('{"annotations": [')
            self._open = stack.pop_all()
        self._names: list[str] = []
        self._annotations = 0
        self.file_name = path.name

    def add(self, name: str, detections: Sequence[Detection]) -> None:
        """The next picture."""
        self._names.append(name)
        for detection in detections:
            self._write(len(self._names), coco_annotation(detection))

    def add_part(self, path: Path, names: Sequence[str]) -> None:
        """The annotations of the next part, counted on from ours; its categories are ours."""
        before = len(self._names)
        self._names.extend(names)
        with path.open(encoding="utf-8") as lines:
            for line in lines:  # one annotation a line, then everything else, as written below
                if line.startswith('{"id"'):
                    annotation = json.loads(line.rstrip(",\n"))
                    del annotation["id"]
                    self._write(before + annotation.pop("image_id"), annotation)
                elif line.startswith("], "):
                    self._categories = json.loads("{" + line[len("], ") :])["categories"]

    def _write(self, image: int, annotation: Mapping[str, Any]) -> None:
        self._annotations += 1
        numbered = {"id": self._annotations, "image_id": image, **annotation}
        comma = "," if self._annotations > 1 else ""
        self._file.write(f"{comma}\n{json.dumps(numbered, separators=(',', ':'))}")

    def close(self) -> OutputFile:
        """Write images and categories behind the annotations."""
        width, height = self._size
        images = [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, name in enumerate(self._names, start=1)
        ]
        categories = json.dumps(self._categories)
        self._file.write(f'\n], "images": {json.dumps(images)}, "categories": {categories}}}\n')
        self._open.close()
        return OutputFile(self._path, "application/json", self._path.name)


class YoloFile:
    """The lines of one picture."""

    def __init__(self, path: Path, *, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        self._lines: list[str] = []
        self.file_name = path.name

    def add(self, name: str, detections: Sequence[Detection]) -> None:  # noqa: ARG002 - one picture
        """The picture."""
        self._lines += [yolo_line(each, self._size) for each in detections]

    def add_part(self, path: Path, names: Sequence[str]) -> None:  # noqa: ARG002 - of a picture
        """A picture has no parts."""
        raise ValueError("only videos are done in parts")

    def close(self) -> OutputFile:
        """Write them."""
        self._path.write_text("".join(self._lines), encoding="utf-8")
        return OutputFile(self._path, "text/plain", self._path.name)


class YoloArchive:
    """A ZIP with a file of lines for every frame, named by its number."""

    def __init__(self, path: Path, *, size: tuple[int, int]) -> None:
        self._path, self._size = path, size
        with ExitStack() as stack:
            self._archive = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
            self._open = stack.pop_all()
        self.file_name = path.name

    def add(self, name: str, detections: Sequence[Detection]) -> None:
        """The next frame."""
        lines = "".join(yolo_line(each, self._size) for each in detections)
        self._archive.writestr(f"{name}.txt", lines)

    def add_part(self, path: Path, names: Sequence[str]) -> None:
        """The frames of the next part, under their names in the whole."""
        with zipfile.ZipFile(path) as part:
            for entry, name in zip(part.infolist(), names, strict=True):
                self._archive.writestr(f"{name}.txt", part.read(entry))

    def close(self) -> OutputFile:
        """Write the directory of the archive."""
        self._open.close()
        return OutputFile(self._path, "application/zip", self._path.name)


def coco_annotation(detection: Detection) -> dict[str, Any]:
    """Category, box as x y width height, area, score; mask and keypoints where there are any."""
    x1, y1, x2, y2 = detection.box
    annotation: dict[str, Any] = {
        "category_id": detection.class_id,
        "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": round((x2 - x1) * (y2 - y1), 3),
        "iscrowd": 0,
        "score": round(detection.confidence, 5),
    }
    if detection.mask is not None:
        annotation["segmentation"] = coco_rle(detection.mask)
        annotation["area"] = int(detection.mask.bits.sum())
    if detection.keypoints is not None:
        points = [(*point[:_PAIR], _visibility(point)) for point in detection.keypoints]
        annotation["keypoints"] = [round(value, 3) for point in points for value in point]
        annotation["num_keypoints"] = len(points)
    return annotation


def yolo_line(detection: Detection, size: tuple[int, int]) -> str:
    """``class cx cy w h`` as shares of the picture; an outline instead of the box for masks."""
    width, height = size
    x1, y1, x2, y2 = detection.box
    values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    if detection.mask is not None and (shapes := outlines(detection.mask)):
        mask_height, mask_width = detection.mask.size
        values = [
            share for x, y in shapes[0].tolist() for share in (x / mask_width, y / mask_height)
        ]
    for point in detection.keypoints or ():
        values += [point[0] / width, point[1] / height, *point[_PAIR:]]
    return f"{detection.class_id} {' '.join(f'{value:.6f}' for value in values)}\n"


def _visibility(point: tuple[float, ...]) -> int:
    return 2 if len(point) == _PAIR or point[_PAIR] > _SEEN_ABOVE else 1
