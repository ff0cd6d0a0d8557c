"""From a graph to what has to be made of it: pictures, jobs and names; nothing is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.comfyui import files
from app.comfyui.asked import Asked
from app.comfyui.graph import Graph, output_ids
from app.comfyui.names import BadNameError, Place, annotated, expanded
from app.comfyui.nodes import CHECKPOINTS, Role
from app.comfyui.pictures import Colouring, Shown, UnsupportedError, shown_by
from app.comfyui.validation import check, failed, report
from app.errors import InvalidRequestError
from app.files.models import File
from app.jobs.spec import JobInput, JobRequest, Ref
from engines.spec import MediaKind

ENGINE: Final = "colorize"


@dataclass(frozen=True, slots=True)
class Planned:
    """What one output shows, of which upload, and where it will lie."""

    node: str
    shown: Shown
    file: File
    folder: str
    subfolder: str
    stem: str


def plan(
    session: Session, graph: Graph, asked: Asked, *, tenant_id: str, now: datetime
) -> tuple[list[Planned], dict[str, Any]]:
    """What the good outputs show, and ``node_errors`` of the others.

    Raises:
        PromptError: no output can be made.
    """
    outputs = output_ids(graph, asked.targets)
    pictures = _pictures(session, graph, tenant_id=tenant_id, now=now)
    findings = check(graph, outputs, pictures=pictures)
    errors, planned = dict(findings.errors), []
    for node_id in findings.good:
        try:
            shown = shown_by(graph, node_id)
            planned.append(_output(graph, node_id, shown, pictures[shown.source], now=now))
        except UnsupportedError as error:
            errors[error.node_id] = [error.error]
    if not planned:
        raise failed(graph, outputs, errors)
    return planned, report(graph, outputs, errors)


def _pictures(session: Session, graph: Graph, *, tenant_id: str, now: datetime) -> dict[str, File]:
    """The uploads that LoadImage nodes name, by node."""
    places: dict[str, Place] = {}
    for node in graph.values():
        name = node.inputs.get("image")
        if node.node_class.role is Role.LOAD and isinstance(name, str):
            try:
                places[node.id] = annotated(name)
            except BadNameError:  # it names nothing here, as ComfyUI says of every bad name
                continue
    found = files.loaded(session, tenant_id=tenant_id, places=places, now=now)
    return {node: file for node, file in found.items() if file.kind == MediaKind.IMAGE}


def _output(graph: Graph, node_id: str, shown: Shown, file: File, *, now: datetime) -> Planned:
    node = graph[node_id]
    prefix = node.inputs.get("filename_prefix")
    width, height = shown.size(file.width or 1, file.height or 1)
    try:
        subfolder, stem = expanded(
            "ComfyUI_temp" if prefix is None else prefix, width=width, height=height, now=now
        )
    except BadNameError as error:
        raise UnsupportedError(node_id, f"filename_prefix: {error}") from error
    folder = "temp" if prefix is None else "output"
    return Planned(node_id, shown, file, folder, subfolder, stem)


def request_of(
    catalog: Catalog, planned: Planned, colouring: Colouring, asked: Asked
) -> tuple[JobRequest, str | None]:
    """The job of a picture, and what its client should know about it."""
    wanted, file = colouring, planned.file
    model = CHECKPOINTS[wanted.checkpoint]
    params: dict[str, Any] = {"type": wanted.kind}
    said = None
    if _runs_here(catalog, model):
        params["input_size"] = wanted.input_size
        params["chroma"] = wanted.chroma or ("reference" if "ddcolor" in model else "guided")
    else:
        said = (
            f"{wanted.checkpoint} is not on this server: the picture was coloured by the best "
            "model that is here. An operator brings it with `pixelmeter models add`."
        )
        if wanted.chroma is not None:
            params["chroma"] = wanted.chroma
    params |= planned.shown.sizing_params(file.width or 1, file.height or 1)
    request = JobRequest(
        engine=ENGINE,
        model=model if said is None else None,
        input=JobInput(target=Ref(file=file.id)),
        params=params,
        priority="interactive" if asked.in_front else "normal",
        metadata={"comfyui_prompt": asked.prompt_id},
    )
    return request, said


def _runs_here(catalog: Catalog, model: str) -> bool:
    try:
        catalog.require_weights(catalog.version(ENGINE, model))
    except InvalidRequestError:
        return False
    return True
