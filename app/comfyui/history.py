"""Prompts as ComfyUI tells them: items of the queue, entries of the history. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.comfyui.reading import Output, Phase, Prompt

# ComfyUI names Python's classes here; ours are the stable codes of the platform.
EXCEPTION_PREFIX = "pixelmeter."
Message = tuple[str, dict[str, Any]]


def queue_item(prompt: Prompt) -> list[Any]:
    """``[number, prompt_id, graph, extra_data, [output ids]]``."""
    row = prompt.row
    outputs = [each.node for each in prompt.outputs]
    return [shown_number(row["number"]), prompt.id, row["graph"], row["extra_data"], outputs]


def shown_number(number: float) -> int | float:
    """A whole one without a point, as ComfyUI counts."""
    return int(number) if number == int(number) else number


def queue_view(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The answer of ``GET /queue``."""
    phases = {"queue_running": Phase.RUNNING, "queue_pending": Phase.PENDING}
    return {
        name: [queue_item(each) for each in prompts if each.phase is phase]
        for name, phase in phases.items()
    }


def history_view(
    prompts: Sequence[Prompt], *, most: int | None, offset: int | None
) -> dict[str, Any]:
    """Entries by prompt id, the oldest first; ``prompts`` come newest first."""
    ended = [each for each in reversed(prompts) if each.has_ended]
    if offset is not None and offset >= 0:
        ended = ended[offset:]
        ended = ended if most is None else ended[:most]
    elif most is not None:
        ended = ended[-most:] if most else []
    return {each.id: history_entry(each) for each in ended}


def history_entry(prompt: Prompt) -> dict[str, Any]:
    """One ended prompt."""
    has_succeeded = prompt.phase is Phase.SUCCEEDED
    outputs = prompt.outputs if has_succeeded else ()
    return {
        "prompt": queue_item(prompt),
        "outputs": {each.node: output_view(each) for each in outputs},
        "status": {
            "status_str": "success" if has_succeeded else "error",
            "completed": has_succeeded,
            "messages": [list(each) for each in status_messages(prompt)],
        },
        "meta": {
            each.node: {
                "node_id": each.node,
                "display_node": each.node,
                "parent_node": None,
                "real_node_id": each.node,
            }
            for each in outputs
        },
    }


def output_view(output: Output) -> dict[str, Any]:
    """What an output node tells: its picture, and a text where there is something to say."""
    view: dict[str, Any] = {"images": [dict(output.file)]}
    return view if output.said is None else {**view, "text": [output.said]}


def status_messages(prompt: Prompt) -> list[Message]:
    """What was said over the run of an ended prompt."""
    start = {"prompt_id": prompt.id, "timestamp": timestamp(prompt.started_at)}
    return [("execution_start", start), cached_message(prompt), end_message(prompt)]


def cached_message(prompt: Prompt) -> Message:
    """Which nodes were not run again, as far as it is known now."""
    data = {
        "nodes": cached_nodes(prompt),
        "prompt_id": prompt.id,
        "timestamp": timestamp(prompt.started_at),
    }
    return "execution_cached", data


def cached_nodes(prompt: Prompt) -> list[str]:
    """The colouring nodes whose result was computed before."""
    return list(
        dict.fromkeys(
            prompt.node_of(job_id)
            for job_id, job in prompt.jobs.items()
            if job["usage"] is not None and job["usage"]["cached"]
        )
    )


def end_message(prompt: Prompt) -> Message:
    """The last word about an ended prompt."""
    when = {"prompt_id": prompt.id, "timestamp": timestamp(prompt.ended_at)}
    failed = prompt.failed_job()
    if failed is None:
        return "execution_success", when
    node_id = prompt.node_of(failed["id"])
    facts = {
        **when,
        "node_id": node_id,
        "node_type": _class_of(prompt, node_id),
        "executed": executed_before(prompt, node_id),
    }
    error: Mapping[str, Any] | None = failed["error"]
    if prompt.phase is Phase.INTERRUPTED or error is None:
        return "execution_interrupted", facts
    return "execution_error", {
        **facts,
        "exception_message": error["detail"],
        "exception_type": EXCEPTION_PREFIX + error["code"],
        "traceback": [],
        "current_inputs": {},
        "current_outputs": [],
    }


def executed_before(prompt: Prompt, node_id: str) -> list[str]:
    """The nodes in front of one, in the order in which they run."""
    order = run_order(prompt)
    return order[: order.index(node_id)]


def run_order(prompt: Prompt) -> list[str]:
    """Every node that the outputs need, each once."""
    return list(dict.fromkeys(node for each in prompt.outputs for node in each.nodes))


def _class_of(prompt: Prompt, node_id: str) -> str | None:
    return next(each.colour_class for each in prompt.outputs if each.colour_node == node_id)


def timestamp(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
