"""What is expected of a run, from what was measured of its like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.speeds.expectation import Basis, Expectation, Speed, expect, together
from app.speeds.kinds import Kind, sized
from app.speeds.measuring import Run, percentiles


def work(units=1, *, media="image", pixels=640 * 640, model="builtin@1", **more):
    name = "images" if media == "image" else "frames"
    quantities = {name: units, "input_pixels": pixels, **more}
    return sized(engine="detect", model=model, quantities=quantities, attributes={"media": media})


def speed(what, *, p50=10.0, p90=20.0, samples=10, device="cpu:a", share=1.0):
    return Speed(what.kind, device, samples, p50, p90, 1.0, share)


def test_runs_of_the_same_kind_are_what_is_expected():
    what = work(20, media="video")
    found = expect([speed(what), speed(work())], what, estimated_ms=1)
    assert found == Expectation(0.2, 0.4, Basis.MEASURED, 10, 1.0)


def test_devices_count_by_their_runs_and_the_slowest_bounds():
    what = work()
    fast, slow = speed(what), speed(what, p50=40.0, p90=90.0, samples=30, device="cpu:b")
    found = expect([fast, slow], what, estimated_ms=1)
    assert found.p50_s == pytest.approx(0.0325)
    assert found.p90_s == pytest.approx(0.09)


def test_a_size_that_never_ran_is_scaled_by_its_pixels():
    found = expect([speed(work())], work(pixels=1280 * 1280), estimated_ms=1)
    assert (found.basis, found.p50_s) == (Basis.SCALED, pytest.approx(0.04))


def test_a_length_that_never_ran_takes_the_nearest_one():
    short, long = work(4, media="video"), work(1000, media="video")
    speeds = [speed(short, p50=50.0), speed(long, p50=5.0)]
    assert expect(speeds, work(600, media="video"), estimated_ms=1).p50_s == pytest.approx(3.0)
    assert expect(speeds, work(6, media="video"), estimated_ms=1).p50_s == pytest.approx(0.3)


def test_the_same_variant_goes_before_the_same_size():
    plain, upscaled = work(pixels=320 * 320), work(upscaled=1)
    speeds = [speed(plain, p50=1.0), speed(upscaled, p50=99.0)]
    assert expect(speeds, work(), estimated_ms=1).p50_s == pytest.approx(0.004)


def test_what_nobody_ran_is_estimated_and_says_so():
    other, few = speed(work(model="yolov8n@1")), speed(work(), samples=2)
    found = expect([other, few], work(), estimated_ms=300)
    assert (found.basis, found.samples, found.p50_s) == (Basis.ESTIMATED, 0, 0.3)
    assert found.p90_s > found.p50_s


def test_many_runs_share_the_slots_but_none_is_cut():
    runs = [Expectation(1.0, 2.0, Basis.MEASURED, 9, 1.0)] * 100
    whole = together(runs, slots=4)
    assert whole.p50_s == pytest.approx(25.0)
    assert whole.p90_s == pytest.approx((100 + 10) / 4)
    long = Expectation(60.0, 80.0, Basis.SCALED, 3, 1.0)
    assert together([*runs, long], slots=4).p50_s == 60.0
    assert together([*runs, long], slots=4).basis is Basis.SCALED


def test_percentiles_are_by_kind_and_device():
    kind, other = work().kind, work(pixels=64 * 64).kind
    runs = [Run(kind, "cpu:a", float(ms), 2.0, 0.5) for ms in range(1, 102)]
    rows = percentiles([*runs, Run(other, "cpu:a", 7.0, 1.0, 1.0), Run(kind, "cpu:b", 3, 1, 1)])
    by_key = {(row["size_class"], row["device"]): row for row in rows}
    assert len(by_key) == 3
    row = by_key[kind.size_class, "cpu:a"]
    assert (row["samples"], row["p50_ms"], row["p90_ms"]) == (101, 51.0, 91.0)
    assert (row["per_estimated"], row["charged_share"]) == (2.0, 0.5)


@given(st.integers(1, 10_000), st.integers(1, 4096), st.integers(1, 4096))
def test_planned_and_measured_work_of_a_job_are_of_one_kind(frames, width, height):
    attributes = {"media": "video", "width": width, "height": height, "model": "tiny"}
    plan = {"frames": frames, "faces": 3}
    measured = {"frames": frames, "faces": 1, "gpu_ms": 12.5, "gpu_ms.detect": 12.5}
    one, two = (
        sized(engine="colorize", model="tiny@1", quantities=each, attributes=attributes)
        for each in (plan, measured)
    )
    assert one == two
    assert isinstance(one.kind, Kind)
