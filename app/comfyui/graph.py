"""A prompt's graph as data: nodes, links, and what is upstream of what. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.comfyui.errors import PromptError, error_body, invalid_prompt
from app.comfyui.nodes import NODE_CLASSES, NodeClass, Role

NODES_MAX: Final = 200
ID_LENGTH_MAX: Final = 64
INPUTS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it was sent, of a class that is known."""

    id: str
    node_class: NodeClass
    inputs: Mapping[str, Any]

    def links(self) -> Iterator[tuple[str, str]]:
        """Input name and node id of every well-formed link, in the order of the class's inputs."""
        for name in self.node_class.inputs:
            link = as_link(self.inputs.get(name))
            if link is not None:
                yield name, link[0]


Graph = Mapping[str, Node]


def as_link(value: object) -> tuple[str, int] | None:
    """Node id and slot of ``[node_id, slot]``; None where it is none."""
    match value:
        case [str() as node_id, int() as slot] if not isinstance(slot, bool):
            return node_id, slot
    return None


def parse(document: object) -> Graph:
    """Read a graph.

    Raises:
        PromptError: ``invalid_prompt`` for what is no graph, or names a node that is not here.
    """
    if not isinstance(document, dict):
        raise invalid_prompt("The prompt is not an object of nodes.")
    if len(document) > NODES_MAX:
        raise invalid_prompt(f"The prompt has {len(document)} nodes; {NODES_MAX} are taken.")
    nodes = {node_id: _node(node_id, each) for node_id, each in document.items()}
    unknown = {node_id: name for node_id, (name, node) in nodes.items() if node is None}
    if unknown:
        raise _unknown_nodes(unknown)
    return {node_id: node for node_id, (_, node) in nodes.items() if node is not None}


def _node(node_id: str, document: object) -> tuple[str, Node | None]:
    if len(node_id) > ID_LENGTH_MAX:
        raise invalid_prompt(f"A node's id is longer than {ID_LENGTH_MAX} characters.")
    if not isinstance(document, dict) or not isinstance(document.get("class_type"), str):
        message = "Cannot execute because a node is missing the class_type property."
        raise invalid_prompt(message, f"Node ID '#{node_id}'")
    inputs = document.get("inputs", {})
    if not isinstance(inputs, dict) or len(inputs) > INPUTS_MAX:
        raise invalid_prompt("The inputs of a node are no object.", f"Node ID '#{node_id}'")
    name = document["class_type"]
    found = NODE_CLASSES.get(name)
    return name, None if found is None else Node(node_id, found, inputs)


def _unknown_nodes(unknown: Mapping[str, str]) -> PromptError:
    """As ComfyUI refuses them, and each node by itself."""
    first, name = next(iter(unknown.items()))
    message = f"Cannot execute because node {name[:80]} does not exist."
    known = ", ".join(NODE_CLASSES)
    each = {
        node_id: {
            "errors": [
                error_body(
                    "invalid_prompt",
                    f"Node {class_type[:80]} does not exist here.",
                    f"This server runs {known}.",
                )
            ],
            "dependent_outputs": [],
            "class_type": class_type[:80],
        }
        for node_id, class_type in unknown.items()
    }
    return PromptError(
        error_body("invalid_prompt", message, f"Node ID '#{first}'"), node_errors=each
    )


def output_ids(graph: Graph, targets: Sequence[str] | None) -> list[str]:
    """Output nodes in the order sent; of them those named, if any are.

    Raises:
        PromptError: ``prompt_no_outputs``.
    """
    found = [
        node.id
        for node in graph.values()
        if node.node_class.role is Role.OUTPUT and (targets is None or node.id in targets)
    ]
    if not found:
        raise PromptError(
            error_body(
                "prompt_no_outputs",
                "Prompt has no outputs",
                "Add a SaveImage or a PreviewImage node.",
            )
        )
    return found


def upstream(graph: Graph, output: str) -> list[str]:
    """``output`` and all it depends on, what is needed first at the front; cycles end the walk."""
    order: list[str] = []
    seen: set[str] = set()
    stack: list[tuple[str, bool]] = [(output, False)]
    while stack:
        node_id, is_done = stack.pop()
        if is_done:
            order.append(node_id)
            continue
        if node_id in seen or node_id not in graph:
            continue
        seen.add(node_id)
        stack.append((node_id, True))
        stack.extend((before, False) for _, before in reversed(list(graph[node_id].links())))
    return order


def on_cycles(graph: Graph) -> set[str]:
    """Nodes that depend on themselves, or on such a node without an end."""
    waiting = {
        node.id: {before for _, before in node.links() if before in graph}
        for node in graph.values()
    }
    while True:
        free = {node_id for node_id, before in waiting.items() if not before}
        if not free:
            return set(waiting)
        waiting = {
            node_id: before - free for node_id, before in waiting.items() if node_id not in free
        }
