"""Tracks of real videos, with the real detector and embedder."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from engines.faces.detectors.yunet import YuNet
from engines.faces.nets.contracts import embedder_contract
from engines.faces.nets.embedder import Embedder, unit
from engines.faces.tracking.cuts import CutFinder
from engines.faces.tracks import Moment, Seen, Settings, Tracker

BATCH = 8
YUNET, MOBILE = "face_detection_yunet_2023mar.onnx", "mobilefacenet_foamliu_dynbatch.onnx"


def frames_of(path) -> Iterator[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    while (read := video.read())[0]:
        yield read[1]
    video.release()


@pytest.fixture(scope="module")
def eyes(network):
    detector = YuNet(network(YUNET), name="yunet@2023mar")
    embedder = Embedder(network(MOBILE), embedder_contract("mobilefacenet"), name="mobilefacenet@1")

    def see(pixels, *, recognise=True) -> list[Seen]:
        faces = detector.detect(pixels)
        if not recognise:
            return [Seen(face) for face in faces]
        vectors = unit(embedder.embed(pixels, faces)) if faces else ()
        return [Seen(*pair) for pair in zip(faces, vectors, strict=True)]

    return see


@pytest.fixture(scope="module")
def followed(eyes):
    """Frames, tracked faces of each, and how many frames were looked at."""

    def follow(frames, *, fps: float, settings: Settings):
        tracker, cuts = Tracker(settings), CutFinder()
        shown, looked = [], 0
        for start in range(0, len(frames), BATCH):
            batch = frames[start : start + BATCH]

            def look(glances, batch=batch):
                nonlocal looked
                looked += len(glances)
                return [eyes(batch[each.place], recognise=each.recognise) for each in glances]

            moments = [
                Moment((start + place) / fps, is_cut=cuts.step(pixels))
                for place, pixels in enumerate(batch)
            ]
            shown += tracker.follow(moments, look)
        return shown, looked

    return follow


@pytest.mark.parametrize("every", [1, 4])
def test_two_heads_that_roll_and_turn_away_are_never_exchanged(every, followed, test_media):
    frames = list(frames_of(test_media / "video" / "two_faces_headpose.mp4"))
    shown, looked = followed(frames, fps=12.5, settings=Settings(every=every))
    assert len(shown) == len(frames) == 58
    woman, man = sorted(shown[0], key=lambda each: each.face.box[0])
    for number, frame in enumerate(shown):
        left, right = sorted(frame, key=lambda each: each.face.box[0])
        assert (left.track, right.track) == (woman.track, man.track), number
        assert left.face.box[2] < right.face.box[0]
    assert looked <= (58 if every == 1 else 45)


def test_after_hard_cuts_the_right_person_is_told_on_exactly_its_frames(followed, test_media):
    frames = list(frames_of(test_media / "video" / "cuts_two_identities.mp4"))
    shown, looked = followed(frames, fps=25, settings=Settings(every=4))
    table = [[each.track for each in frame] for frame in shown]
    # one person, another, nobody, and the first one mirrored
    assert table == [[0]] * 38 + [[1]] * 38 + [[]] * 25 + [[0]] * 38
    assert looked < 60


@pytest.mark.parametrize(
    "name", ["asl_help.mkv", "two_walking.mp4", "astro_vfr.mp4", "two_faces_headpose.mp4"]
)
def test_moving_people_and_flashes_are_no_cuts(name, test_media):
    cuts = CutFinder()
    assert not any(cuts.step(pixels) for pixels in frames_of(test_media / "video" / name))


@pytest.mark.parametrize("every", [1, 4])
def test_points_of_a_face_that_does_not_move_tremble_less_than_half_a_pixel(
    every, followed, eyes, face_picture
):
    """A camera on a stand: the same view, with the noise of its sensor."""
    picture = cv2.resize(face_picture("astronaut.png"), (640, 640)).astype(float)
    rng = np.random.default_rng(11)
    frames = [
        np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        for _ in range(40)
    ]
    shown, _ = followed(frames, fps=25, settings=Settings(every=every))
    points = np.array([frame[0].face.points for frame in shown])
    found = np.array([eyes(pixels)[0].face.points for pixels in frames])
    trembling = np.abs(np.diff(found, axis=0)).max()
    assert np.abs(np.diff(points[5:], axis=0)).max() < 0.5
    assert points[5:].std(axis=0).max() < 0.5
    assert np.abs(np.diff(points, axis=0)).max() < 0.6 * trembling


def test_a_moving_face_is_shown_where_it_is(followed, eyes, test_media):
    frames = list(frames_of(test_media / "video" / "astro_sync_2997.mp4"))[:45]
    fps = 30 / 1.001
    shown, _ = followed(frames, fps=fps, settings=Settings(every=1))
    raw, _ = followed(frames, fps=fps, settings=Settings(every=1, steadiness=None))
    steady, found = (
        np.array([frame[0].face.points.mean(axis=0) for frame in each]) for each in (shown, raw)
    )
    kernel = np.ones(5) / 5
    true = np.stack([np.convolve(found[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)
    velocity = np.gradient(true, axis=0)
    behind = -((steady[2:-2] - true) * velocity).sum() / (velocity**2).sum()
    assert np.abs(velocity).max() > 2  # pixels a frame
    assert behind < 0.35  # frames
    width = shown[0][0].face.box[2] - shown[0][0].face.box[0]
    assert np.sqrt(((steady - found) ** 2).sum(axis=1)).max() < 0.02 * width
