"""What the client of a prompt hears over its WebSocket, and in which order. Pure.

ComfyUI says each step as it happens; here the steps follow from how the jobs stand, so that the
same messages can be said again after a restart.
"""

from dataclasses import dataclass, replace

from app.comfyui.history import (
    Message,
    cached_message,
    cached_nodes,
    end_message,
    output_view,
    run_order,
    timestamp,
)
from app.comfyui.reading import Output, Phase, Prompt
from app.jobs.states import JobStatus


@dataclass(frozen=True, slots=True)
class Told:
    """How much of a prompt its client has heard."""

    is_started: bool = False
    cached: frozenset[str] = frozenset()  # nodes that were said to be
    nodes: int = 0  # of the run order
    progress: tuple[str, int, int] = ("", 0, 0)  # node, done, of
    is_ended: bool = False


def news(prompt: Prompt, told: Told) -> tuple[list[Message], Told]:
    """What there is to say now, and what will have been said then."""
    if told.is_ended or prompt.phase is Phase.PENDING:
        return [], told
    said: list[Message] = []
    if not told.is_started:
        start = {"prompt_id": prompt.id, "timestamp": timestamp(prompt.started_at)}
        said += [("execution_start", start), cached_message(prompt)]
        told = replace(told, is_started=True, cached=frozenset(cached_nodes(prompt)))
    steps, told = _steps(prompt, told)
    said += steps
    if prompt.has_ended:
        said += [end_message(prompt), executing(prompt.id, None)]
        told = replace(told, is_ended=True)
    return said, told


def executing(prompt_id: str, node: str | None) -> Message:
    """A node begins; None: the prompt is over."""
    return "executing", {"node": node, "display_node": node, "prompt_id": prompt_id}


def _reached(prompt: Prompt, order: list[str]) -> int:
    """How many nodes have begun: all, or up to the first that is not done."""
    if prompt.phase is Phase.SUCCEEDED:
        return len(order)
    at = next((out for out in prompt.outputs if out.job and not _is_done(prompt, out.job)), None)
    if at is None:
        return len(order)
    return order.index(str(at.colour_node)) + 1


def _is_done(prompt: Prompt, job_id: str) -> bool:
    job = prompt.jobs[job_id]
    return job["status"] == JobStatus.SUCCEEDED and job["settled_at"] is not None


def _steps(prompt: Prompt, told: Told) -> tuple[list[Message], Told]:
    """Nodes that have begun since, and how far the one is that runs."""
    order = run_order(prompt)
    reached = max(told.nodes, _reached(prompt, order))
    outputs = {each.node: each for each in prompt.outputs}
    said: list[Message] = []
    for index in range(max(told.nodes - 1, 0), reached):
        node = order[index]
        if node in told.cached:
            continue
        if index >= told.nodes:
            said.append(executing(prompt.id, node))
        progress = _progress(prompt, node)
        if progress is not None and progress != told.progress:
            said += _progress_messages(prompt, *progress)
            told = replace(told, progress=progress)
        if index >= told.nodes and node in outputs:
            said.append(_executed(prompt, outputs[node]))
    return said, replace(told, nodes=reached)


def _executed(prompt: Prompt, output: Output) -> Message:
    return "executed", {
        "node": output.node,
        "display_node": output.node,
        "output": output_view(output),
        "prompt_id": prompt.id,
    }


def _progress(prompt: Prompt, node: str) -> tuple[str, int, int] | None:
    """Node, done and total, where the node's job has told any."""
    for out in prompt.outputs:
        job = prompt.jobs[out.job] if out.job and out.colour_node == node else None
        if job is not None and job["progress_total"]:
            return node, job["progress_done"], job["progress_total"]
    return None


def _progress_messages(prompt: Prompt, node: str, done: int, total: int) -> list[Message]:
    state = {
        "value": done,
        "max": total,
        "state": "finished" if done == total else "running",
        "prompt_id": prompt.id,
        "node_id": node,
        "display_node_id": node,
        "parent_node_id": None,
        "real_node_id": node,
    }
    shown = {"value": done, "max": total, "prompt_id": prompt.id, "node": node}
    return [
        ("progress_state", {"prompt_id": prompt.id, "nodes": {node: state}}),
        ("progress", shown),
    ]
