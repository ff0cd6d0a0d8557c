"""An ONNX graph executed by PyTorch's own operators: the baseline of ``bench_gpu.py``.

The same file, the same weights, no exporter and no foreign model code: every node becomes one call
of ``torch``. Traced and frozen by ``torch.jit`` for one input shape, the shape arithmetic folds
into constants and what is left is what a hand-written module would run. It knows the operators of
the networks that are measured, and says which one is missing for others.
"""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16}


class OnnxModule(torch.nn.Module):
    """One network; floats are moved with ``.half()`` and ``.cuda()`` like any module's."""

    def __init__(self, path: str) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        self.input = graph.input[0].name
        self.outputs = [each.name for each in graph.output]
        self.nodes = list(graph.node)
        self.fixed: dict[str, Any] = {}  # integers: shapes and indices, which live on the CPU
        for index, each in enumerate(graph.initializer):
            array = numpy_helper.to_array(each)
            tensor = torch.from_numpy(np.array(array))
            if tensor.is_floating_point():
                self.register_buffer(f"w{index}", tensor)
                self.fixed[each.name] = f"w{index}"
            else:
                self.fixed[each.name] = tensor

    def forward(self, feed: torch.Tensor) -> list[torch.Tensor]:
        values: dict[str, Any] = {self.input: feed, "": None}
        for name, held in self.fixed.items():
            values[name] = getattr(self, held) if isinstance(held, str) else held
        for node in self.nodes:
            run = getattr(self, f"_{node.op_type.lower()}", None)
            if run is None:
                raise NotImplementedError(f"the operator {node.op_type} is not known here")
            attributes = {
                each.name: onnx.helper.get_attribute_value(each) for each in node.attribute
            }
            made = run([values[name] for name in node.input], attributes, feed)
            made = made if isinstance(made, (list, tuple)) else [made]
            values.update(zip(node.output, made, strict=False))
        return [values[name] for name in self.outputs]

    def _conv(self, x, a, _):
        pads = a.get("pads", [0, 0, 0, 0])
        assert pads[:2] == pads[2:], "uneven padding"
        bias = x[2] if len(x) > 2 else None
        return functional.conv2d(
            x[0], x[1], bias, a.get("strides", [1, 1]), pads[:2], a.get("dilations", [1, 1]),
            a.get("group", 1),
        )  # fmt: skip

    def _sigmoid(self, x, a, _):
        return torch.sigmoid(x[0])

    def _relu(self, x, a, _):
        return torch.relu(x[0])

    def _mul(self, x, a, _):
        return self._near(x, torch.mul)

    def _add(self, x, a, _):
        return self._near(x, torch.add)

    def _sub(self, x, a, _):
        return self._near(x, torch.sub)

    def _div(self, x, a, _):
        if not x[0].is_floating_point() and not x[1].is_floating_point():
            return torch.div(*x, rounding_mode="trunc")
        return self._near(x, torch.div)

    @staticmethod
    def _near(x, how):
        """Both on the device of the floating one."""
        left, right = x
        if left.device != right.device:
            device = left.device if left.is_cuda else right.device
            left, right = left.to(device), right.to(device)
        return how(left, right)

    def _concat(self, x, a, _):
        device = next((each.device for each in x if each.is_cuda), x[0].device)
        x = [each.to(device) for each in x]
        return torch.cat(x, a["axis"])

    def _split(self, x, a, _):
        if len(x) > 1 and x[1] is not None:
            return torch.split(x[0], x[1].tolist(), a.get("axis", 0))
        return torch.chunk(x[0], a["num_outputs"], a.get("axis", 0))

    def _maxpool(self, x, a, _):
        pads = a.get("pads", [0, 0, 0, 0])
        return functional.max_pool2d(x[0], a["kernel_shape"], a.get("strides", [1, 1]), pads[:2])

    def _resize(self, x, a, _):
        assert a.get("mode", b"nearest") == b"nearest", "only nearest"
        if len(x) > 3 and x[3] is not None:
            return functional.interpolate(
                x[0], size=[int(n) for n in x[3].tolist()[2:]], mode="nearest"
            )
        scales = [float(n) for n in x[2].tolist()[2:]]
        return functional.interpolate(x[0], scale_factor=scales, mode="nearest")

    def _reshape(self, x, a, _):
        shape = [int(n) for n in x[1].tolist()]
        return x[0].reshape([x[0].shape[i] if n == 0 else n for i, n in enumerate(shape)])

    def _transpose(self, x, a, _):
        return x[0].permute(*a["perm"])

    def _softmax(self, x, a, _):
        return torch.softmax(x[0], a.get("axis", -1))

    def _shape(self, x, a, _):
        shape = [int(n) for n in x[0].shape]
        return torch.tensor(shape[a.get("start", 0) : a.get("end", len(shape))], dtype=torch.int64)

    def _gather(self, x, a, _):
        axis, index = a.get("axis", 0), x[1].to(x[0].device)
        picked = torch.index_select(x[0], axis, index.reshape(-1))
        shape = (*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1 :])
        return picked.reshape(shape)

    def _range(self, x, a, _):
        start, limit, delta = (each.item() for each in x)
        return torch.arange(start, limit, delta, dtype=x[0].dtype)

    def _cast(self, x, a, feed):
        to = DTYPES[a["to"]]
        # in a half-precision module what the file calls fp32 is what the feed is
        return x[0].to(feed.dtype if to == torch.float32 else to)

    def _expand(self, x, a, _):
        shape = [int(n) for n in x[1].tolist()]
        return x[0] * torch.ones(shape, dtype=x[0].dtype, device=x[0].device)

    def _constantofshape(self, x, a, feed):
        value = numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, np.float32)
        dtype = torch.from_numpy(value).dtype
        dtype = feed.dtype if dtype == torch.float32 else dtype
        return torch.full([int(n) for n in x[0].tolist()], value.item(), dtype=dtype)

    def _constant(self, x, a, _):
        return torch.from_numpy(np.array(numpy_helper.to_array(a["value"])))

    def _unsqueeze(self, x, a, _):
        made = x[0]
        for axis in sorted(int(n) for n in x[1].tolist()):
            made = made.unsqueeze(axis)
        return made

    def _slice(self, x, a, _):
        starts, ends = x[1].tolist(), x[2].tolist()
        axes = x[3].tolist() if len(x) > 3 else range(len(starts))
        steps = x[4].tolist() if len(x) > 4 else [1] * len(starts)
        made = x[0]
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            index = [slice(None)] * made.dim()
            index[axis] = slice(start, min(end, made.shape[axis]) if end >= 0 else end, step)
            made = made[tuple(index)]
        return made

    def _identity(self, x, a, _):
        return x[0]


def traced(path: str, feed: torch.Tensor, *, half: bool = False, device: str = "cuda") -> Any:
    """The network for one input shape; convolutions in channels-last order."""
    module = OnnxModule(path).eval().to(device)
    module = module.half() if half else module
    feed = feed.to(device, torch.float16 if half else torch.float32)
    feed = feed.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return torch.jit.freeze(torch.jit.trace(module, feed, check_trace=False).eval())
