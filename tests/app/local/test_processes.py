from pathlib import Path

import pytest

from app.local.layout import CODE_ROOT, Layout
from app.local.processes import (
    Addresses,
    after_processes,
    child_environment,
    comfyui_process,
    core_processes,
    side_processes,
)
from app.settings import load_settings
from engines.manifest import load_manifest, shipped_folders
from workers.routing import Queue, engine_queue


@pytest.fixture
def addresses():
    return Addresses(
        port=8000,
        base_url="http://127.0.0.1:8000",
        database_url="postgresql:///x",
        redis_url="unix:///x",
        storage_url="file:///files",
        flower_port=5555,
        flower_password="hunter2",
        comfyui_port=8188,
    )


def all_processes(layout, addresses, *, gpu_workers=1):
    environment = {"A": "1"}
    return (
        *core_processes(layout, addresses, gpu_workers=gpu_workers, environment=environment),
        *after_processes(layout, environment=environment),
        comfyui_process(layout, addresses, key="hunter2 too", environment=environment),
        *side_processes(layout, addresses, environment=environment),
    )


def queues_of(specs):
    lists = [
        spec.argv[spec.argv.index("--queues") + 1] for spec in specs if "--queues" in spec.argv
    ]
    return [queue for text in lists for queue in text.split(",")]


def test_every_queue_has_exactly_one_kind_of_worker(tmp_path, addresses):
    specs = all_processes(Layout(tmp_path), addresses)
    engines = [engine_queue(load_manifest(each / "engine.toml").name) for each in shipped_folders()]
    assert engine_queue("face-swap") in engines
    assert sorted(queues_of(specs)) == sorted([*engines, *(queue.value for queue in Queue)])


def test_more_gpu_workers_have_names_of_their_own(tmp_path, addresses):
    names = [spec.name for spec in all_processes(Layout(tmp_path), addresses, gpu_workers=3)]
    assert [name for name in names if name.startswith("gpu")] == ["gpu1", "gpu2", "gpu3"]
    assert len(set(names)) == len(names)


def test_processes_start_in_the_folder_of_the_code_so_that_no_namesake_wins(tmp_path, addresses):
    for spec in all_processes(Layout(tmp_path), addresses):
        assert spec.cwd == CODE_ROOT
        assert spec.log.parent == tmp_path / "logs"


def test_no_secret_is_an_argument_or_shown_by_accident(tmp_path, addresses):
    specs = all_processes(Layout(tmp_path), addresses)
    assert "hunter2" not in " ".join(argument for spec in specs for argument in spec.argv)
    assert "hunter2" not in repr(specs)


def test_children_get_this_runs_addresses_over_the_callers_environment(tmp_path, addresses):
    environ = {"PIXELMETER_HOME": str(tmp_path), "PIXELMETER_MODEL_MIRROR": "models"}
    settings = load_settings(environ)
    inherited = {"PATH": "/bin", "DATABASE_URL": "postgresql:///other", **environ}
    environment = child_environment(settings, addresses, inherited=inherited)
    assert environment["PATH"] == "/bin"
    assert environment["DATABASE_URL"] == "postgresql:///x"
    assert environment["REMAP_SIGTERM"] == "SIGQUIT"
    assert Path(environment["PIXELMETER_MODEL_MIRROR"]).is_absolute()


def test_a_mirror_that_is_an_address_stays_one(tmp_path, addresses):
    environ = {"PIXELMETER_HOME": str(tmp_path), "PIXELMETER_MODEL_MIRROR": "https://m.example/w"}
    environment = child_environment(load_settings(environ), addresses, inherited=environ)
    assert environment["PIXELMETER_MODEL_MIRROR"] == "https://m.example/w"
