"""A tenant's own weights through the worker: confined, priced as their base, gone when deleted."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.jobs.states import JobStatus
from app.weights.service import WeightsOffer, remove, take_in
from engines.foreign.opening import FOREIGN_FOLDER
from tests.engines.foreign import hostile
from tests.networks import write_one_box
from tests.workers.miniature import Platform
from workers.retirement import OWN_IDLE_S, Retirement
from workers.run_job import execute
from workers.settle import drain
from workers.sweep import sweep_files


@pytest.fixture
def own(platform: Platform, tmp_path: Path) -> str:
    return offer(platform, write_one_box(tmp_path / "own.onnx", class_id=7).read_bytes())


def offer(platform: Platform, content: bytes) -> str:
    with platform.sessions.begin() as session:
        row = take_in(
            session,
            platform.services.storage,
            platform.catalog,
            tenant_id=platform.tenant,
            stream=BytesIO(content),
            offer=WeightsOffer(engine="detect", name="signs", base="yolov8s"),
            now=datetime.now(UTC),
        )
        return f"{row.name}@{row.version}"


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])


def test_a_job_runs_on_them_in_a_process_of_their_own(platform: Platform, own: str) -> None:
    job_id = platform.submit(model="signs", params={"img_size": 640})
    assert run(platform, job_id) is JobStatus.SUCCEEDED, platform.job(job_id)["error"]
    job = platform.job(job_id)
    assert job["model"] == own
    assert [each["label"] for each in job["output"]["data"]["predictions"]] == ["truck"]
    children = [" ".join(each.cmdline()) for each in psutil.Process().children()]
    assert any("engines.foreign.child" in line for line in children)
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] == 1  # as yolov8s at 640
    assert list((platform.settings.home / "models" / FOREIGN_FOLDER).iterdir())
    platform.services.registry.sessions.close()
    platform.reconcile()


def test_the_child_has_nothing_of_our_environment(platform: Platform, own: str) -> None:
    run(platform, platform.submit(model="signs"))
    [child] = _children()
    assert set(child.environ()) == {"PYTHONPATH", "LC_ALL", "OMP_NUM_THREADS"}
    assert not [each for each in child.net_connections() if each.status != "NONE"]
    platform.services.registry.sessions.close()


def test_a_network_that_turns_bad_fails_its_job_and_the_worker_goes_on(
    platform: Platform, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that passed the trial and then loop: only a trial that was tricked lets them in."""
    from app.weights import service
    from engines.foreign import runner
    from engines.trial import Tried

    shapes: dict[str, list[int]] = {"images": [-1, 3, -1, -1]}
    monkeypatch.setattr(service, "try_weights", lambda *_, **__: Tried(shapes, ("limits",)))
    monkeypatch.setattr(runner.SandboxedRunner.__init__, "__kwdefaults__", _quick(runner))
    offer(platform, hostile.endless_loop())
    bad, good = platform.submit(model="signs"), platform.submit(model="signs@1")
    assert run(platform, bad) is JobStatus.FAILED
    assert platform.job(bad)["error"]["code"] == "weights_too_slow"
    assert run(platform, good) is JobStatus.SUCCEEDED
    drain(platform.services)
    assert platform.job(bad)["usage"]["tokens"] == 0
    platform.services.registry.sessions.close()
    platform.reconcile()


def _quick(runner: Any) -> dict[str, Any]:
    return {**runner.SandboxedRunner.__init__.__kwdefaults__, "run_s": 2.0}


def test_deleted_weights_end_the_jobs_that_wait_for_them(platform: Platform, own: str) -> None:
    job_id = platform.submit(model=own)
    with platform.sessions.begin() as session:
        remove(
            session,
            platform.services.storage,
            tenant_id=platform.tenant,
            model=own,
            now=datetime.now(UTC),
        )
    assert run(platform, job_id) is JobStatus.FAILED
    assert platform.job(job_id)["error"]["code"] == "model_gone"


def test_the_copy_on_a_machine_goes_with_the_model(platform: Platform, own: str) -> None:
    run(platform, platform.submit(model=own))
    platform.services.registry.sessions.close()
    folder = platform.settings.home / "models" / FOREIGN_FOLDER
    sweep_files(platform.services)
    assert len(list(folder.iterdir())) == 1
    with platform.sessions.begin() as session:
        now = datetime.now(UTC)
        storage = platform.services.storage
        remove(session, storage, tenant_id=platform.tenant, model=own, now=now)
    sweep_files(platform.services)
    assert list(folder.iterdir()) == []


def test_their_process_ends_when_nobody_has_used_it_for_a_while(
    platform: Platform, own: str
) -> None:
    now = [0.0]
    platform.services.retirement = Retirement(clock=lambda: now[0])
    run(platform, platform.submit(model=own))
    assert len(_children()) == 1
    now[0] += OWN_IDLE_S
    run(platform, platform.submit())
    assert _children() == []


def _children() -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process().children()
        if "engines.foreign.child" in " ".join(each.cmdline())
    ]


def test_bytes_that_changed_on_this_machine_are_never_run(platform: Platform, own: str) -> None:
    run(platform, platform.submit(model=own))
    platform.services.registry.sessions.close()
    [path] = (platform.settings.home / "models" / FOREIGN_FOLDER).iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    job_id = platform.submit(model=own)
    assert run(platform, job_id) is not JobStatus.SUCCEEDED
    attempt = platform.row("SELECT * FROM attempt WHERE job_id = :id", id=job_id)
    assert attempt["error"]["code"] == "weights_corrupt"
