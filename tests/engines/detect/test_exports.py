import json
import zipfile

import numpy as np
import pytest

from engines.detect.detection import Detection
from engines.detect.exports import Exports
from engines.detect.mask import Mask
from engines.detect.params import DetectParams, ExportFormat

CAT = Detection(1, "cat", 0.87654321, (10.0, 20.0, 30.0, 60.0))
SQUARE = Mask(size=(100, 200), top=20, left=10, bits=np.ones((40, 20), bool))
SHAPED = Detection(0, "dog", 0.5, (10.0, 20.0, 30.0, 60.0), mask=SQUARE)
POSED = Detection(0, "dog", 0.5, (0.0, 0.0, 20.0, 10.0), keypoints=((10, 5, 0.9), (20, 10, 0.1)))


def exported(folder, pictures, *, many=False):
    formats = (ExportFormat.COCO, ExportFormat.YOLO)
    exports = Exports(formats, folder, size=(200, 100), labels=("dog", "cat"), many=many)
    with exports:
        for name, found in pictures:
            exports.add(name, found)
    return {file.name: file.path for file in exports.files}


def test_coco_tells_pictures_annotations_and_categories(tmp_path):
    files = exported(tmp_path, [("a.jpg", [CAT, SHAPED]), ("b.jpg", []), ("c.jpg", [POSED])])
    told = json.loads(files["coco.json"].read_text())
    assert [image["file_name"] for image in told["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert told["images"][0] == {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}
    assert told["categories"] == [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}]
    cat, shaped, posed = told["annotations"]
    assert (cat["id"], cat["image_id"], cat["category_id"]) == (1, 1, 1)
    assert cat["bbox"] == [10, 20, 20, 40]
    assert (cat["area"], cat["score"], cat["iscrowd"]) == (800, 0.87654, 0)
    assert shaped["area"] == 800
    assert shaped["segmentation"]["size"] == [100, 200]
    assert (posed["image_id"], posed["num_keypoints"]) == (3, 2)
    assert posed["keypoints"] == [10, 5, 2, 20, 10, 1]


def test_yolo_lines_are_shares_of_the_picture(tmp_path):
    files = exported(tmp_path, [("a.jpg", [CAT, SHAPED, POSED])])
    cat, shaped, posed = files["labels.txt"].read_text().splitlines()
    assert cat == "1 0.100000 0.400000 0.100000 0.400000"
    numbers = [float(each) for each in shaped.split()[1:]]
    assert sorted(set(numbers[::2])) == [0.05, pytest.approx(29 / 200)]
    assert sorted(set(numbers[1::2])) == [0.2, 0.59]
    assert posed.split()[5:8] == ["0.050000", "0.050000", "0.900000"]


def test_a_video_has_a_file_of_lines_for_every_frame(tmp_path):
    files = exported(tmp_path, [("000000", [CAT]), ("000001", [])], many=True)
    with zipfile.ZipFile(files["labels.zip"]) as archive:
        assert archive.namelist() == ["000000.txt", "000001.txt"]
        assert archive.read("000001.txt") == b""


def test_one_format_may_be_asked_for_without_a_list():
    assert DetectParams(export="coco").export == ("coco",)
    assert DetectParams(export=["yolo", "coco"]).export == ("yolo", "coco")
    with pytest.raises(ValueError, match="coco"):
        DetectParams(export="voc")
