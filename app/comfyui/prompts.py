"""The only writer of prompts: accept, cancel, hide, note that an end was told.

A prompt is accepted in one transaction: its jobs with their holds, its names and its row, or
nothing. Its id is the promise of one submit: the same id with the same graph is the same prompt.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.comfyui import files, reading
from app.comfyui.asked import Asked
from app.comfyui.errors import PromptError, error_body, refusal_body
from app.comfyui.graph import Graph, parse
from app.comfyui.history import shown_number
from app.comfyui.names import Place
from app.comfyui.pictures import Colouring
from app.comfyui.planning import Planned, plan, request_of
from app.comfyui.port import Caller, Port
from app.comfyui.reading import Output, Phase, Prompt
from app.comfyui.validation import report
from app.errors import ProblemError
from app.files.intake import Intake
from app.jobs.service import request_cancel, submit
from app.jobs.spec import JobRequest
from billing.errors import BillingError
from engines.media.scans import result_suffix

NAMES_KEPT: Final = timedelta(days=8)  # longer than any result

_INSERT = text(
    """
    INSERT INTO comfyui_prompt (tenant_id, id, sequence, number, fingerprint, client_id, graph,
        extra_data, node_errors, outputs, job_ids)
    SELECT :tenant_id, :id, counted.next,
        coalesce(CAST(:number AS double precision), counted.next * CAST(:sign AS integer)),
        :fingerprint, :client_id, CAST(:graph AS jsonb), CAST(:extra_data AS jsonb),
        CAST(:node_errors AS jsonb), CAST(:outputs AS jsonb), CAST(:job_ids AS jsonb)
    FROM (SELECT coalesce(max(sequence), 0) + 1 AS next FROM comfyui_prompt
          WHERE tenant_id = :tenant_id) AS counted
    RETURNING number
    """
)
_HIDE = text(
    "UPDATE comfyui_prompt SET hidden_at = clock_timestamp()"
    " WHERE tenant_id = :tenant_id AND id = ANY(:ids) AND hidden_at IS NULL"
)
_TOLD = text(
    "UPDATE comfyui_prompt SET told_at = clock_timestamp()"
    " WHERE tenant_id = :tenant_id AND id = ANY(:ids) AND told_at IS NULL"
)
_FORGET = text(
    """
    DELETE FROM comfyui_prompt WHERE tenant_id = :tenant_id AND told_at IS NOT NULL
        AND sequence <= (SELECT max(sequence) FROM comfyui_prompt
                         WHERE tenant_id = :tenant_id) - :kept
    """
)


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything that one prompt is accepted with; its transaction is the caller's."""

    session: Session
    port: Port
    intake: Intake
    caller: Caller
    asked: Asked
    now: datetime

    def accept(self) -> dict[str, Any]:
        """Turn the prompt into jobs; the answer of ``POST /prompt``.

        Raises:
            PromptError: whatever is wrong with it, or refuses its jobs; the caller rolls back.
        """
        session, asked, tenant_id = self.session, self.asked, self.caller.tenant_id
        files.lock_names(session, tenant_id)
        earlier = reading.get(session, tenant_id=tenant_id, prompt_id=asked.prompt_id)
        if earlier is not None:
            return _replayed(earlier, asked)
        graph = parse(asked.graph)
        planned, node_errors = plan(session, graph, asked, tenant_id=tenant_id, now=self.now)
        outputs = self._outputs(graph, planned)
        number = session.execute(
            _INSERT,
            {
                "tenant_id": tenant_id,
                "id": asked.prompt_id,
                "number": asked.number,
                "sign": -1 if asked.in_front else 1,
                "fingerprint": asked.fingerprint,
                "client_id": asked.client_id,
                "graph": _json(asked.graph),
                "extra_data": _json(asked.extra_data),
                "node_errors": _json(node_errors),
                "outputs": _json([asdict(each) for each in outputs]),
                "job_ids": _json(list(dict.fromkeys(each.job for each in outputs if each.job))),
            },
        ).scalar_one()
        return _answer(asked.prompt_id, number, node_errors)

    def _outputs(self, graph: Graph, planned: Sequence[Planned]) -> list[Output]:
        """One job for each different picture, and a name for each output."""
        jobs: dict[str, str] = {}
        outputs = []
        for each in planned:
            job_id, said, colour = None, None, each.shown.colouring
            if colour is not None:
                request, said = request_of(self.port.catalog, each, colour, self.asked)
                key = request.model_dump_json()
                if key not in jobs:
                    jobs[key] = self._job(graph, each.node, colour, request)
                job_id = jobs[key]
            outputs.append(
                Output(
                    node=each.node,
                    nodes=each.shown.nodes,
                    colour_node=None if colour is None else colour.node_id,
                    colour_class=None if colour is None else graph[colour.node_id].node_class.name,
                    job=job_id,
                    file=self._name(each, job_id).entry(),
                    said=said,
                )
            )
        return outputs

    def _job(self, graph: Graph, output: str, colour: Colouring, request: JobRequest) -> str:
        try:
            submitted = submit(
                self.session,
                catalog=self.port.catalog,
                box=self.port.box,
                intake=self.intake,
                caller=self.caller.principal,
                request=request,
                bell=self.port.bell,
                now=self.now,
            )
        except (ProblemError, BillingError) as refusal:
            body = refusal_body(refusal)
            errors = report(graph, [output], {colour.node_id: [body]})
            raise PromptError(body, node_errors=errors) from refusal
        return str(submitted.job["id"])

    def _name(self, planned: Planned, job_id: str | None) -> Place:
        return files.reserve(
            self.session,
            tenant_id=self.caller.tenant_id,
            folder=planned.folder,
            subfolder=planned.subfolder,
            stem=planned.stem,
            ending=result_suffix(planned.file.media_type),
            job_id=job_id,
            file_id=None if job_id else planned.file.id,
        )


def cancel_pending(session: Session, *, tenant_id: str, ids: Collection[str] | None) -> None:
    """Take prompts out of the queue before they run; None: all. Unknown ids are no fault."""
    waiting = [
        each
        for each in reading.unended(session, tenant_id=tenant_id)
        if each.phase is Phase.PENDING and (ids is None or each.id in ids)
    ]
    for prompt in waiting:
        _cancel_jobs(session, prompt, tenant_id=tenant_id)
    names = {"tenant_id": tenant_id, "ids": [each.id for each in waiting]}
    session.execute(_HIDE, names)
    session.execute(_TOLD, names)


def interrupt(session: Session, *, tenant_id: str, prompt_id: str | None) -> None:
    """Stop what runs, or only this prompt if it runs; work done so far is charged."""
    for prompt in reading.unended(session, tenant_id=tenant_id):
        if prompt.phase is Phase.RUNNING and prompt_id in {None, prompt.id}:
            _cancel_jobs(session, prompt, tenant_id=tenant_id)


def hide(session: Session, *, tenant_id: str, ids: Collection[str] | None) -> None:
    """Take ended prompts out of the history; None: all. Their jobs and pictures stay."""
    ended = [
        each.id
        for each in reading.newest(session, tenant_id=tenant_id, limit=reading.HISTORY_MAX)
        if each.has_ended and (ids is None or each.id in ids)
    ]
    session.execute(_HIDE, {"tenant_id": tenant_id, "ids": ended})


def mark_told(session: Session, *, tenant_id: str, ids: Sequence[str]) -> None:
    """Note that the ends of these prompts need not be told any more."""
    session.execute(_TOLD, {"tenant_id": tenant_id, "ids": list(ids)})


def forget_old(session: Session, *, tenant_id: str, now: datetime) -> None:
    """Drop prompts beyond what a history keeps, and names whose pictures are gone."""
    session.execute(_FORGET, {"tenant_id": tenant_id, "kept": reading.HISTORY_MAX})
    files.forget_gone(session, tenant_id=tenant_id, before=now - NAMES_KEPT)


def _cancel_jobs(session: Session, prompt: Prompt, *, tenant_id: str) -> None:
    for job_id, job in prompt.jobs.items():
        if job["finished_at"] is None:
            try:
                request_cancel(session, tenant_id=tenant_id, job_id=job_id)
            except ProblemError:  # it ended since it was read: nothing is left to cancel
                continue


def _replayed(earlier: Prompt, asked: Asked) -> dict[str, Any]:
    if earlier.row["fingerprint"] != asked.fingerprint:
        raise PromptError(
            error_body(
                "prompt_id_taken",
                "This prompt_id belongs to another prompt",
                "Send a new prompt_id, or none.",
            )
        )
    return _answer(earlier.id, earlier.row["number"], earlier.row["node_errors"])


def _answer(prompt_id: str, number: float, node_errors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_id": prompt_id,
        "number": shown_number(number),
        "node_errors": dict(node_errors),
    }


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
