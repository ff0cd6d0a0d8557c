import json

from engines.detect.detection import Detection
from engines.detect.summary import FrameLog


def seen(label, confidence, class_id=0):
    return Detection(class_id, label, confidence, (1.0, 2.0, 3.123456789, 4.0))


def test_every_frame_is_in_the_file_and_classes_are_counted(tmp_path):
    log = FrameLog(tmp_path / "detections.json")
    with log:
        log.add(0.0, [seen("person", 0.9), seen("person", 0.5), seen("cat", 0.4, 15)])
        log.add(0.04, [])
        log.add(0.0800000001, [seen("person", 0.95)])
    frames = json.loads(log.path.read_text())["frames"]
    assert [(each["frame"], each["pts_s"]) for each in frames] == [(0, 0.0), (1, 0.04), (2, 0.08)]
    assert [len(each["predictions"]) for each in frames] == [3, 0, 1]
    assert frames[0]["predictions"][0]["box"] == [1.0, 2.0, 3.12346, 4.0]
    summary = log.summary()
    assert summary["frames"] == 3
    assert summary["classes"] == {
        "cat": {"detections": 1, "frames": 1, "most_at_once": 1},
        "person": {"detections": 3, "frames": 2, "most_at_once": 2},
    }
    best = [(each["label"], each["confidence"], each["frame"]) for each in summary["predictions"]]
    assert best == [("person", 0.95, 2), ("cat", 0.4, 0)]


def test_a_video_without_anything_is_still_json(tmp_path):
    with FrameLog(tmp_path / "detections.json") as log:
        pass
    assert json.loads(log.path.read_text()) == {"frames": []}
    assert log.summary() == {"frames": 0, "classes": {}, "predictions": []}
