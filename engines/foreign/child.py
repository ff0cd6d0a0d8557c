"""The process that runs foreign weights: ``python -m engines.foreign.child [CPU_SECONDS]``.

Started without the parent's environment. It imports, confines itself (``jail``), says what holds,
and then answers on stdout what comes on stdin: ``load`` once, then ``run`` again and again. It may
die at any message; the parent tells the job and starts another.
"""

import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from onnx import TensorProto, helper

from engines.child_process import read_stream
from engines.errors import EngineError, ExhaustedError
from engines.foreign.inspection import inspect
from engines.foreign.jail import confine
from engines.foreign.signature import BYTES_MAX
from engines.foreign.wire import pack, unpack
from engines.runners.base import Array, TensorSpec
from engines.runners.ort import OrtRunner

Answer = tuple[Mapping[str, Any], Mapping[str, Array]]


def main() -> None:
    """Confine, say so, and serve until stdin ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    _warm_up()
    cpu_s = int(sys.argv[1]) if len(sys.argv) > 1 else None
    _send(answers, ({"holds": confine(cpu_s=cpu_s)}, {}))
    Server().serve(requests, answers)


class Server:
    """One network at most."""

    def __init__(self) -> None:
        self._runner: OrtRunner | None = None

    def serve(self, requests: BinaryIO, answers: BinaryIO) -> None:
        """Answer each message."""
        while True:
            try:
                head, arrays = unpack(lambda count: _bounded(requests, count))
            except EOFError:
                return
            _send(answers, self.answer(head, arrays))

    def answer(self, head: Mapping[str, Any], arrays: Mapping[str, Array]) -> Answer:
        """The answer to one message; no network makes this raise."""
        try:
            if head["do"] == "load":
                return self._load(bytes(arrays["weights"]), inspected=head["inspected"]), {}
            return self._run(arrays)
        except (MemoryError, ExhaustedError):
            detail = "The network asks for more memory than foreign weights get."
            return _refused("weights_too_hungry", detail)
        except EngineError as error:
            return _refused(error.code, error.detail)
        except Exception as error:  # noqa: BLE001 - whatever it raised, the network is to blame
            return _refused("weights_unreadable", f"the network failed: {type(error).__name__}")

    def _load(self, content: bytes, *, inspected: bool) -> dict[str, Any]:
        if not inspected:
            inspect(content)
        self._runner = runner = OrtRunner(content, threads=1)
        return {
            "inputs": [_spec(each) for each in runner.inputs],
            "outputs": [_spec(each) for each in runner.outputs],
            "metadata": dict(runner.metadata),
            "precision": runner.precision,
            "provider": runner.provider,
        }

    def _run(self, feeds: Mapping[str, Array]) -> Answer:
        if self._runner is None:
            return _refused("weights_unreadable", "no network was loaded")
        outputs = self._runner.run(feeds)
        return {"elapsed_ms": self._runner.elapsed_ms}, outputs


def _refused(code: str, detail: str) -> Answer:
    return {"code": code, "detail": detail}, {}


def _spec(spec: TensorSpec) -> list[Any]:
    return [spec.name, list(spec.shape), spec.dtype.name]


def _warm_up() -> None:
    """Import and open everything that a first network would: files are out of reach later."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [result])
    opset = helper.make_opsetid("", 17)
    content = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    inspect(content)
    OrtRunner(content, threads=1).close()


def _bounded(stream: BinaryIO, count: int) -> bytes:
    if count > 2 * BYTES_MAX:
        raise EOFError
    return read_stream(stream, count)


def _send(answers: BinaryIO, answer: Answer) -> None:
    for piece in pack(*answer):
        answers.write(piece)
    answers.flush()


if __name__ == "__main__":
    main()
