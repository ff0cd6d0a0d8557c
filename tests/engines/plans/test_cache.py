"""A plan is there whole, with the bytes that were written, or it is not there."""

import errno
import json
import threading
from pathlib import Path

import pytest

import engines.atomic
from engines.errors import ExhaustedError
from engines.plans.key import PlanKey
from engines.profiles import Profile

KEY = PlanKey("0" * 64, "tensorrt-rtx", "1.7.1", "sm89", (Profile("x", (1,), (2,), (3,)),), "fp32")


def test_a_stored_plan_is_found_and_nothing_else_is_left(cache):
    assert cache.find(KEY) is None
    stored = cache.store(KEY, b"plan", metadata={"names": "a"})
    found = cache.find(KEY)
    assert (found.read(), found.metadata, found.precision) == (b"plan", {"names": "a"}, "fp32")
    assert found.key == stored.key == f"sm89-{KEY.digest[:12]}"
    assert {path.name for path in cache.folder.iterdir()} == {
        f"{KEY.digest}.plan",
        f"{KEY.digest}.json",
    }


def test_a_plan_whose_bytes_changed_is_no_plan(cache):
    stored = cache.store(KEY, b"plan", metadata={})
    stored.path.write_bytes(b"plAn")
    assert cache.find(KEY) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_description_that_is_damaged_is_no_plan(cache, text):
    stored = cache.store(KEY, b"plan", metadata={})
    stored.path.with_suffix(".json").write_text(text)
    assert cache.find(KEY) is None


def test_the_description_tells_people_what_the_plan_is_for(cache):
    stored = cache.store(KEY, b"plan", metadata={})
    facts = json.loads(stored.path.with_suffix(".json").read_text())
    assert (facts["target"], facts["flavour"]) == ("sm89", "tensorrt-rtx")
    assert facts["profiles"] == [{"input": "x", "min": [1], "opt": [2], "max": [3]}]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_is_told_and_leaves_nothing(cache, monkeypatch, failing):
    syncs = []

    def full(_: int) -> None:
        syncs.append(1)
        if len(syncs) == failing:  # the first is the plan's, the second its description's
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engines.atomic.os, "fsync", full)
    with pytest.raises(ExhaustedError, match="No space left on device; make room") as refused:
        cache.store(KEY, b"plan", metadata={})
    assert refused.value.code == "disk_full"
    assert list(cache.folder.iterdir()) == []
    assert cache.find(KEY) is None


def test_of_two_builders_of_one_plan_the_second_waits_for_the_first(cache):
    order, inside = [], threading.Event()

    def second() -> None:
        inside.wait()
        with cache.only_builder(KEY):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with cache.only_builder(KEY):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_kernels_are_kept_by_device(cache):
    stored = cache.store(KEY, b"plan", metadata={})
    l4, h100 = stored.kernels("cuda:0 NVIDIA L4"), stored.kernels("cuda:0 NVIDIA H100")
    assert l4 != h100
    assert isinstance(l4, Path)
    assert l4.parent == h100.parent == cache.folder
