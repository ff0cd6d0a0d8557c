"""Whether a network has as many outputs as it has names of classes."""

from engines.detect.labels import COCO, names_in
from engines.errors import InvalidInputError
from engines.manifest import ModelVersion
from engines.runners.base import Runner

_BOX = {"yolov8": 4, "yolox": 5}  # numbers of a row before its classes
_ROWS_AXIS = {"yolov8": 1, "yolox": 2}
_END_TO_END_COLUMNS = 6
_DETECT_TASKS = {"", "detect"}


def check_classes(model: ModelVersion, runner: Runner) -> None:
    """Compare the names in the file, or COCO's without any, with the shape of the output.

    Says nothing where the shape is free, where suppression is inside the network, and of networks
    that also give masks or key points.

    Raises:
        InvalidInputError: code ``classes_mismatch``, or ``base_unsuitable`` for a base without a
            network.
    """
    family = str(model.options.get("family"))
    if family not in _BOX:
        message = (
            f"{model.base or model.name} is built in and runs on no weights; name another base"
        )
        raise InvalidInputError(message, code="base_unsuitable")
    shape = runner.outputs[0].shape
    is_plain = runner.metadata.get("task", "") in _DETECT_TASKS and len(runner.outputs) == 1
    if not is_plain or len(shape) <= _ROWS_AXIS[family] or shape[-1] == _END_TO_END_COLUMNS:
        return
    given = shape[_ROWS_AXIS[family]]
    named = len(names_in(runner.metadata) or COCO)
    if given is not None and given - _BOX[family] != named:
        message = (
            f"the network tells {given - _BOX[family]} classes and its file names {named}; export "
            "it again with the names of its classes in the metadata"
        )
        raise InvalidInputError(message, code="classes_mismatch")
