"""Send the jobs, follow them, receive their webhooks, check the money, draw the sheet."""

import base64
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from app.client.client import Client
from app.demo.media import find_font, frame_at, is_video
from app.demo.plan import DemoJob
from app.demo.receiver import Receiver
from app.demo.sheet import Pair, draw_sheet

Job = Mapping[str, Any]

JOBS_TIMEOUT_S = 900.0
WEBHOOKS_TIMEOUT_S = 30.0
STILL_AT_S = 0.3


class Watcher(Protocol):
    """Draws how the jobs go."""

    def add(self, job: Job, name: str) -> None:
        """Start to draw a job."""

    def show(self, job: Job) -> None:
        """Draw where a job stands now."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What happened; the demo succeeded when ``problems`` is empty."""

    jobs: Sequence[Job]
    outputs: Mapping[str, Sequence[Path]]  # by job id
    balance_before: Decimal
    balance_after: Decimal
    webhooks: int  # verified ones
    sheet: Path
    seconds: float
    problems: Sequence[str] = field(default_factory=tuple)

    @property
    def charged(self) -> Decimal:
        """The sum over all jobs, in tokens."""
        return sum((_tokens(job["usage"]["tokens"]) for job in self.jobs), Decimal())


def new_webhook_secret() -> str:
    """A secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def run_demo(
    client: Client,
    plan: Sequence[DemoJob],
    *,
    out: Path,
    watcher: Watcher,
    save: Callable[[Job, str], Sequence[Path]],
    reconcile: Callable[[], Sequence[str]],
) -> DemoReport:
    """Run the plan; ``save`` stores a job's outputs, ``reconcile`` says what is off in the ledger.

    Raises:
        ClientError: the API refuses a job or does not answer.
    """
    started = time.monotonic()
    secret = new_webhook_secret()
    before = _whole_balance(client)
    with Receiver(secret) as receiver:
        submitted = _submit(client, plan, watcher, url=receiver.url, secret=secret)
        ended = client.wait_all(submitted, timeout_s=JOBS_TIMEOUT_S, progress=watcher.show)
        silent = receiver.wait_for(set(ended), timeout_s=WEBHOOKS_TIMEOUT_S)
        received = receiver.received()
    jobs = list(ended.values())
    outputs = {job["id"]: save(job, submitted[job["id"]].target.stem) for job in jobs}
    after = _whole_balance(client)
    sheet = _draw(jobs, submitted, outputs, out)
    return DemoReport(
        jobs=jobs,
        outputs=outputs,
        balance_before=before,
        balance_after=after,
        webhooks=sum(1 for each in received if each.verified),
        sheet=sheet,
        seconds=time.monotonic() - started,
        problems=[
            *_job_problems(jobs),
            *(f"{job_id}: no verified webhook arrived" for job_id in sorted(silent)),
            *("a webhook had a wrong signature" for each in received if not each.verified),
            *_money_problems(jobs, before=before, after=after),
            *reconcile(),
        ],
    )


def _submit(
    client: Client, plan: Sequence[DemoJob], watcher: Watcher, *, url: str, secret: str
) -> dict[str, DemoJob]:
    uploaded: dict[Path, str] = {}

    def reference(path: Path) -> dict[str, str]:
        if path not in uploaded:
            uploaded[path] = client.upload(path)["id"]
        return {"file": uploaded[path]}

    submitted = {}
    for wanted in plan:
        inputs: dict[str, Any] = {"target": reference(wanted.target)}
        if wanted.sources:
            inputs["source"] = [reference(path) for path in wanted.sources]
        job = client.submit(
            {
                "engine": wanted.engine,
                "input": inputs,
                "params": wanted.params,
                "priority": "interactive",
                "webhook": {"url": url, "secret": secret},
                "metadata": {"demo": wanted.title},
                "consent": True,
            }
        )
        submitted[job["id"]] = wanted
        watcher.add(job, wanted.title)
    return submitted


def _whole_balance(client: Client) -> Decimal:
    """Tokens that are ours, whether free or held."""
    found = client.balance()
    return _tokens(found["available"]) + _tokens(found["held"])


def _tokens(number: float) -> Decimal:
    # A JSON number with at most six decimals; its text is exact, its binary form is not.
    return Decimal(str(number))


def _job_problems(jobs: Sequence[Job]) -> list[str]:
    return [
        f"{job['id']} ({job['engine']}) {job['status']}: {(job['error'] or {}).get('detail', '')}"
        for job in jobs
        if job["status"] != "succeeded"
    ]


def _money_problems(jobs: Sequence[Job], *, before: Decimal, after: Decimal) -> list[str]:
    charged = sum((_tokens(job["usage"]["tokens"]) for job in jobs), Decimal())
    problems = [
        f"{job['id']} was charged {job['usage']['tokens']}, more than its quote"
        for job in jobs
        if _tokens(job["usage"]["tokens"]) > _tokens(job["quote"]["max_tokens"])
    ]
    if before - after != charged:
        problems.append(
            f"the balance fell by {before - after}, the jobs were charged {charged}; "
            "did other jobs of this tenant run meanwhile?"
        )
    return problems


def _draw(
    jobs: Sequence[Job],
    submitted: Mapping[str, DemoJob],
    outputs: Mapping[str, Sequence[Path]],
    out: Path,
) -> Path:
    with tempfile.TemporaryDirectory(prefix="pixelmeter-stills-") as folder:
        stills = Path(folder)
        pairs = [
            pair
            for job in jobs
            if (pair := _pair(job, submitted[job["id"]], outputs[job["id"]], stills)) is not None
        ]
        return draw_sheet(
            pairs,
            out / "contact-sheet.png",
            title="Pixelmeter demo",
            subtitle=f"{len(jobs)} jobs, every result beside its input",
            font_file=find_font(),
        )


def _pair(job: Job, wanted: DemoJob, saved: Sequence[Path], stills: Path) -> Pair | None:
    after = next((path for path in saved if path.suffix != ".json"), None)
    if after is None:
        return None
    return Pair(
        before=_still(wanted.target, stills / f"{job['id']}-before.png"),
        after=_still(after, stills / f"{job['id']}-after.png"),
        title=f"{wanted.engine}  {job['model']}   {wanted.title}",
        line=_line(job),
        note=job["id"],
    )


def _still(path: Path, frame: Path) -> Path:
    """A picture of a file: itself, or a frame of a video."""
    if not is_video(path):
        return path
    frame_at(path, STILL_AT_S, frame)
    return frame


def _line(job: Job) -> str:
    usage = job["usage"]
    parts = [
        *_findings((job["output"] or {}).get("data", {})),
        f"{usage['tokens']} tokens",
        f"{usage.get('gpu_ms') or 0:.0f} ms",
    ]
    return ",  ".join(parts)


def _findings(data: Mapping[str, Any]) -> list[str]:
    """What detection saw: labels of a picture, or classes over the frames of a video."""
    if "classes" in data and "frames" in data:
        seen = [f"{label} in {found['frames']}" for label, found in data["classes"].items()]
        return [f"{data['frames']} frames: {', '.join(seen) or 'nothing found'}"]
    if "predictions" in data:
        counts = Counter(found["label"] for found in data["predictions"])
        seen = [f"{number} {label}" for label, number in counts.items()]
        return [", ".join(seen) or "nothing found"]
    return []
