"""Which detector looks for faces on this machine: YuNet when its file is here, else Haar."""

from engines.faces.detectors.haar import HaarFaces
from engines.faces.detectors.yunet import YuNet
from engines.faces.face import FaceDetector
from engines.loading import load_extra
from engines.manifest import ModelVersion
from engines.registry import Services
from engines.sessions import Loaded

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_NAME = "yunet@2023mar"


def face_detector(services: Services, model: ModelVersion) -> Loaded[FaceDetector]:
    """Return the detector for a model that declares YuNet's file among its ``extras``.

    Raises:
        WeightsError: code ``weights_corrupt``: the file is here, but is not what was registered.
    """
    runner = load_extra(services, model, YUNET_FILE)
    if runner is None:
        return services.sessions.load(("faces", HaarFaces.name), HaarFaces)
    detector: FaceDetector = YuNet(runner.value, name=YUNET_NAME)
    return Loaded(value=detector, cold_start_ms=runner.cold_start_ms)
