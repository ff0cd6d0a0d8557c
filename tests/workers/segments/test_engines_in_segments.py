"""The engines that take videos apart, through the whole platform: one run and eight segments."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.jobs.states import JobStatus
from engines.media.index import index_video
from engines.media.provenance import read_origin
from engines.media.video import read_frames
from tests.workers.segments.cinema import Cinema

DETECT = {"engine": "detect", "model": "builtin", "params": {"img_size": 64, "annotate": True}}
COLORIZE = {
    "engine": "colorize",
    "model": "builtin",
    "params": {"type": "building", "smoothing": 0, "label": True},
}


@pytest.mark.parametrize("asked", [DETECT, COLORIZE], ids=lambda asked: asked["engine"])
def test_a_stateless_engine_gives_the_same_frames_in_one_run_and_in_eight_segments(
    cinema: Cinema, asked: dict[str, Any]
) -> None:
    asked = {**asked, "params": {**asked["params"], "quality": "lossless"}}
    whole = cinema.platform.submit(**asked, segments=1)
    assert cinema.start(whole) is JobStatus.SUCCEEDED
    parts = cinema.platform.submit(**asked, segments=8)
    assert cinema.start(parts) is JobStatus.PROCESSING
    cinema.run_all(parts)
    assert cinema.finalize(parts) is JobStatus.SUCCEEDED
    one, eight = results(cinema, whole), results(cinema, parts)
    assert frames(eight[0]) == frames(one[0])
    assert len(frames(one[0])) == 64
    assert [path.read_bytes() for path in eight[1:]] == [path.read_bytes() for path in one[1:]]
    for job_id, path in ((whole, one[0]), (parts, eight[0])):
        assert (read_origin(path).aigc or {})["ProduceID"] == job_id
    assert priced(cinema, parts) == priced(cinema, whole)
    for job_id in (whole, parts):
        cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def results(cinema: Cinema, job_id: str) -> list[Path]:
    """The outputs of a job, the video first."""
    with cinema.platform.sessions() as session:
        keys = session.scalars(
            text(
                "SELECT storage_key FROM file WHERE job_id = :id ORDER BY kind = 'video' DESC, name"
            ),
            {"id": job_id},
        ).all()
    return [cinema.services.storage.local(key, cinema.services.settings.home) for key in keys]


def frames(path: Path) -> list[tuple[float, str]]:
    index = index_video(path)
    return [
        (frame.pts_s, hashlib.sha256(frame.pixels.tobytes()).hexdigest())
        for frame in read_frames(path, index)
    ]


def priced(cinema: Cinema, job_id: str) -> dict[str, Any]:
    """What was measured, without the times."""
    found = cinema.usage_record(job_id)["quantities"]
    return {name: number for name, number in found.items() if not name.startswith("gpu_ms")}
