"""What is wrong with a graph, node by node, in ComfyUI's own words. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.comfyui.errors import ErrorBody, PromptError, error_body
from app.comfyui.graph import Graph, Node, as_link, on_cycles, upstream
from app.comfyui.nodes import CHECKPOINTS, COLOUR_MODEL, Input, Role

_SHOWN_CHOICES_MAX = 20


@dataclass(frozen=True, slots=True)
class Findings:
    """Which outputs can run, and what is wrong with the others."""

    good: tuple[str, ...]
    errors: Mapping[str, Sequence[ErrorBody]]  # by node


def check(graph: Graph, outputs: Sequence[str], *, pictures: Collection[str]) -> Findings:
    """Check every node that an output needs; ``pictures`` are the LoadImage nodes with a file."""
    cyclic = on_cycles(graph)
    needed = {output: upstream(graph, output) for output in outputs}
    errors: dict[str, list[ErrorBody]] = {}
    for node_id in dict.fromkeys(each for every in needed.values() for each in every):
        found = _node_errors(graph, graph[node_id], pictures=pictures)
        if node_id in cyclic:
            found.append(_cycle(node_id))
        if found:
            errors[node_id] = found
    good = tuple(output for output in outputs if not any(each in errors for each in needed[output]))
    return Findings(good, errors)


def report(
    graph: Graph, outputs: Sequence[str], errors: Mapping[str, Sequence[ErrorBody]]
) -> dict[str, dict[str, Any]]:
    """``node_errors``: what is wrong with each node and which outputs it keeps from running."""
    needed = {output: upstream(graph, output) for output in outputs}
    return {
        node_id: {
            "errors": list(found),
            "dependent_outputs": [out for out, nodes in needed.items() if node_id in nodes],
            "class_type": graph[node_id].node_class.name,
        }
        for node_id, found in errors.items()
    }


def failed(
    graph: Graph, outputs: Sequence[str], errors: Mapping[str, Sequence[ErrorBody]]
) -> PromptError:
    """No output is left."""
    lines = [f"{each['message']}: {each['details']}" for found in errors.values() for each in found]
    error = error_body(
        "prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(lines)
    )
    return PromptError(error, node_errors=report(graph, outputs, errors))


def _node_errors(graph: Graph, node: Node, *, pictures: Collection[str]) -> list[ErrorBody]:
    found: list[ErrorBody] = []
    for name, wanted in node.node_class.inputs.items():
        if name in node.inputs:
            found.extend(_input_errors(graph, name, wanted, node.inputs[name]))
        elif wanted.required:
            found.append(_missing(name))
    one_of = node.node_class.one_of
    if one_of and not any(name in node.inputs for name in one_of):
        found.append(_missing(one_of[0]))
    if node.node_class.role is Role.LOAD and not found and node.id not in pictures:
        details = f"image - Invalid image file: {node.inputs['image'][:200]}"
        message = "Custom validation failed for node"
        found.append(error_body("custom_validation_failed", message, details, input_name="image"))
    return found


def _missing(name: str) -> ErrorBody:
    return error_body("required_input_missing", "Required input is missing", name, input_name=name)


def _input_errors(graph: Graph, name: str, wanted: Input, value: object) -> list[ErrorBody]:
    if isinstance(value, list):
        return _link_errors(graph, name, wanted, value)
    if wanted.kind == COLOUR_MODEL:  # its wrappers take a link or a name
        return _value_errors(name, Input(tuple(CHECKPOINTS)), value)
    if _is_linked_kind(wanted):
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [
            _about("bad_linked_input", message, name=name, wanted=wanted, value=value, details=name)
        ]
    return _value_errors(name, wanted, value)


def _is_linked_kind(wanted: Input) -> bool:
    return isinstance(wanted.kind, str) and wanted.kind not in {"INT", "FLOAT", "STRING"}


def _link_errors(graph: Graph, name: str, wanted: Input, value: list[Any]) -> list[ErrorBody]:
    link = as_link(value)
    if link is None:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [
            _about(
                "bad_linked_input",
                message,
                name=name,
                wanted=wanted,
                value=str(value)[:200],
                details=name,
            )
        ]
    node_id, slot = link
    if node_id not in graph:
        message = "Bad linked input, the node does not exist"
        details = f"{name}, there is no node '{node_id[:64]}'"
        return [
            _about(
                "bad_linked_input", message, name=name, wanted=wanted, value=value, details=details
            )
        ]
    outputs = graph[node_id].node_class.outputs
    received = outputs[slot][0] if 0 <= slot < len(outputs) else f"no slot {slot}"
    if received == wanted.kind:
        return []
    details = f"{name}, received_type({received}) mismatch input_type({_kind(wanted)})"
    message = "Return type mismatch between linked nodes"
    return [
        _about(
            "return_type_mismatch", message, name=name, wanted=wanted, value=value, details=details
        )
    ]


def _value_errors(name: str, wanted: Input, value: object) -> list[ErrorBody]:
    if isinstance(wanted.kind, tuple):
        if value in wanted.kind or (wanted.open and isinstance(value, str)):
            return []
        details = f"{name}: '{str(value)[:200]}' not in {_choices(wanted.kind)}"
        return [
            _about(
                "value_not_in_list",
                "Value not in list",
                name=name,
                wanted=wanted,
                value=value,
                details=details,
            )
        ]
    try:
        number = converted(wanted, value)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"Failed to convert an input value to a {wanted.kind} value"
        details = f"{name}, {str(value)[:200]}, {error}"
        return [
            _about(
                "invalid_input_type",
                message,
                name=name,
                wanted=wanted,
                value=value,
                details=details,
            )
        ]
    if isinstance(number, str):
        return []
    for kind, bound, is_wrong in _bounds(wanted, number):
        if is_wrong:
            word = "smaller than min" if kind == "value_smaller_than_min" else "bigger than max"
            message = f"Value {number} {word} of {bound}"
            return [_about(kind, message, name=name, wanted=wanted, value=value, details=name)]
    return []


def _bounds(wanted: Input, number: float) -> list[tuple[str, float, bool]]:
    least, most = wanted.options.get("min"), wanted.options.get("max")
    found = []
    if least is not None:
        found.append(("value_smaller_than_min", least, number < least))
    if most is not None:
        found.append(("value_bigger_than_max", most, number > most))
    return found


def converted(wanted: Input, value: object) -> int | float | str:
    """A value as its node takes it; ComfyUI converts what can be converted.

    Raises:
        TypeError, ValueError, OverflowError: it cannot.
    """
    match wanted.kind, value:
        case ("INT", bool() | int() | float() | str()):
            return int(value)
        case ("FLOAT", bool() | int() | float() | str()):
            number = float(value)
            if number != number or abs(number) == float("inf"):  # noqa: PLR0124 - NaN
                raise ValueError("not a finite number")
            return number
        case ("STRING", str()):
            return value
    raise TypeError(f"{type(value).__name__} is not taken")


def _cycle(node_id: str) -> ErrorBody:
    return error_body(
        "dependency_cycle",
        "Dependency cycle detected",
        f"node '{node_id}' waits for its own result; take one link out",
    )


def _about(
    kind: str, message: str, *, name: str, wanted: Input, value: object, details: str
) -> ErrorBody:
    return error_body(
        kind,
        message,
        details,
        input_name=name,
        input_config=wanted.schema(),
        received_value=value if isinstance(value, int | float | list) else str(value)[:200],
    )


def _kind(wanted: Input) -> str:
    return wanted.kind if isinstance(wanted.kind, str) else _choices(wanted.kind)


def _choices(values: Sequence[str]) -> str:
    if len(values) > _SHOWN_CHOICES_MAX:
        return f"(list of length {len(values)})"
    return str(list(values))
