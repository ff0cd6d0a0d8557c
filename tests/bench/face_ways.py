"""What the bench of face swapping works with: files, clips, and what it is compared with."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import onnxruntime as ort
from face_peer import FOLDER as PEER
from face_peer import is_installed

ROOT = Path(__file__).resolve().parents[2]
THREADS = 2
DETECT, SWAP = "face_detection_yunet_2023mar.onnx", "inswapper_128.onnx"
STUB, REAL = "w600k_r50.onnx", "mobilefacenet_foamliu_dynbatch.onnx"  # embedders
STUBS = {STUB: "stub_w600k_r50.onnx", SWAP: "stub_inswapper_128.onnx"}
CLIPS = {1: "astro_sync_2997.mp4", 2: "two_faces_headpose.mp4", 4: "two_faces_headpose.mp4"}
PORTRAITS = {"astronaut.png": 0.6, "grace_hopper.jpg": 0.5}  # and how much smaller, of four faces


def frames_of(media: Path, faces: int, count: int) -> np.ndarray:
    """So many frames with so many persons; four are a clip above two photographs that sway."""
    capture, found = cv2.VideoCapture(str(media / "video" / CLIPS[faces])), []
    while len(found) < count:
        good, frame = capture.read()
        if not good:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        if faces == 4:
            height, width = frame.shape[:2]
            swaying = portraits(media, len(found), (width // 2, height))
            frame = np.vstack([frame, swaying])
        found.append(frame)
    return np.stack(found)


def portraits(media: Path, number: int, size: tuple[int, int]) -> np.ndarray:
    """Photographs beside each other, moved by a few pixels from frame to frame."""
    shown = []
    for phase, (name, scale) in enumerate(PORTRAITS.items()):
        picture = cv2.imread(str(media / "faces" / name))
        x = size[0] / 2 - picture.shape[1] * scale / 2 + 8 * np.sin(number / 6 + phase)
        matrix = np.array([[scale, 0, x], [0, scale, 0]])
        shown.append(cv2.warpAffine(picture, matrix, size))
    return np.hstack(shown)


def repeated(clip: Path, seconds: int, folder: Path) -> Path:
    """The clip again and again, its frames as they are."""
    path = folder / "long.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-stream_loop", "-1", "-i", clip]
    command += ["-t", str(seconds), "-map", "0:v", "-c", "copy", path]
    subprocess.run(command, check=True)
    return path


def bare(files: dict[str, Path], embedder: str, frames: int, faces: int) -> Callable[[], int]:
    """The calls alone, on two workers with sessions of one thread."""
    rng = np.random.default_rng(0)
    feeds = {
        DETECT: [rng.integers(0, 255, (1, 3, 640, 640)).astype(np.float32)],
        embedder: [rng.random((1, 3, 112, 112), np.float32)],
        SWAP: [rng.random((1, 3, 128, 128), np.float32), rng.random((1, 512), np.float32)],
    }

    def session(path: Path) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    workers = [{name: session(path) for name, path in files.items()} for _ in range(THREADS)]
    named = {
        name: dict(zip([i.name for i in one.get_inputs()], feeds[name], strict=True))
        for name, one in workers[0].items()
    }

    def calls(sessions: dict[str, ort.InferenceSession], count: int) -> None:
        for _ in range(count):
            sessions[DETECT].run(None, named[DETECT])
            for _ in range(faces):
                sessions[embedder].run(None, named[embedder])
                sessions[SWAP].run(None, named[SWAP])

    def work() -> int:
        threads = [threading.Thread(target=calls, args=(one, frames // THREADS)) for one in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return frames * faces

    return work


def loop(
    files: dict[str, Path], embedder: str, pixels: np.ndarray, folder: Path, rounds: int
) -> dict:
    """What ``face_loop.py`` measured, in the environment of the peer if there is one."""
    path = folder / "frames.npy"
    np.save(path, pixels)
    python = PEER / "bin" / "python" if is_installed() else Path(sys.executable)
    command = [python, "-W", "ignore", ROOT / "tests" / "bench" / "face_loop.py"]
    command += [files[DETECT], files[embedder], files[SWAP], path, str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
