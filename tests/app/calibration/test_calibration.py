"""A card fitted to runs whose law is known, and what is proposed of it."""

import random
import tomllib
from fractions import Fraction

import pytest
from click.testing import CliRunner
from PIL import Image

from app.calibration.fit import calibrate
from app.calibration.plot import save_plot
from app.calibration.proposal import proposal_toml, report
from app.cli.main import cli
from app.errors import InvalidRequestError
from billing.card_data import read_card
from billing.measured import MeasuredRun
from billing.publishing import card_body, shipped
from billing.rates import Work

BODIES = {data["card"]: card_body(data) for data in shipped()}
CARDS = {name: read_card(body, card=name, version=1) for name, body in BODIES.items()}
# Milliseconds of a picture at 640 x 640, as a real machine might take them.
MS = {"yolov8n": 20.0, "yolov8s": 45.0, "yolov8l": 160.0}


def detections(noise=0.01, count=300):
    """Pictures whose time grows with their pixels, differently for each model."""
    dice = random.Random(7)
    runs = []
    for index in range(count):
        model = dice.choice(list(MS))
        pixels = dice.choice([320, 480, 640, 960, 1280]) ** 2
        ms = MS[model] * pixels / 409_600 * dice.gauss(1, noise)
        work = Work({"images": 1, "input_pixels": pixels}, {"media": "image", "model": model})
        runs.append(MeasuredRun(f"job_{index}", work, ms))
    return runs


def swaps(count=200):
    """Face fusion by compute time that the card prices exactly."""
    dice = random.Random(3)
    runs = []
    for index in range(count):
        ms = {f"gpu_ms.{s}": dice.uniform(50, 400) for s in ("detect", "embed", "swap", "blend")}
        work = Work({"images": 1, "faces": 1, **ms, "gpu_ms": sum(ms.values())}, {"media": "image"})
        runs.append(MeasuredRun(f"job_{index}", work, sum(ms.values())))
    return runs


@pytest.fixture(scope="module")
def found():
    return calibrate(CARDS["yolo"], detections(), tokens_per_second=10)


def test_the_fit_finds_the_law_behind_the_runs(found):
    table = found.proposed.terms[0].tables["model"]
    for model, ms in MS.items():
        assert float(table[model]) == pytest.approx(ms / 1000 * 10, rel=0.01)


def test_the_error_is_told_for_runs_that_were_held_out(found):
    assert 30 < found.after.runs < 90
    assert found.after.near > 0.95
    assert found.before.near < 0.2
    assert abs(found.after.percentiles[2]) < 0.01
    text = report(found)
    assert "image, model yolov8n" in text
    assert "within 5%" in text


def test_numbers_without_runs_stay_as_they_are(found):
    for term in found.proposed.terms:
        assert term.tables["model"]["yolov8x"] == 4
    frames = found.proposed.terms[1].tables["model"]
    assert frames["yolov8n"] == Fraction("0.7")


def test_a_card_of_compute_time_is_fitted_by_its_stages():
    found = calibrate(CARDS["facefusion-gpu"], swaps(), tokens_per_second=50)
    weights = {term.name: float(term.tokens) for term in found.proposed.terms}
    for stage in ("detect", "embed", "swap", "blend"):
        assert weights[stage] == pytest.approx(0.05, rel=1e-6)
    assert weights["enhance"] == pytest.approx(0.05)  # no run had to do with it


def test_without_a_rate_the_card_earns_what_it_earns_now():
    runs = detections(noise=0)
    found = calibrate(CARDS["yolo"], runs)
    assert found.points.after.sum() == pytest.approx(found.points.before.sum(), rel=0.02)


def test_no_fitted_number_is_negative():
    """A law that a sum of terms cannot follow: more pixels take less time."""
    runs = [
        MeasuredRun(
            f"job_{index}",
            Work({"images": 1, "megapixels": index / 10}, {"media": "image", "type": "person"}),
            1000 / (index + 1),
        )
        for index in range(60)
    ]
    found = calibrate(CARDS["ddcolor"], runs, tokens_per_second=100)
    assert all(each.after >= 0 for each in found.fitted)


def test_the_proposal_is_a_card_that_can_be_published(found):
    text = proposal_toml(found, BODIES["yolo"])
    data = tomllib.loads(text)
    assert (data["card"], data["version"]) == ("yolo", 2)
    again = read_card(card_body(data), card="yolo", version=2)
    assert again == found.proposed
    assert "held out" in text


@pytest.mark.parametrize("card", sorted(CARDS))
def test_every_shipped_card_comes_through_its_toml(card, found):
    same = calibrate(CARDS["yolo"], detections()) if card == "yolo" else None
    body = {**BODIES[card]}
    proposed = same.proposed if same else CARDS[card]
    text = proposal_toml(
        type(found)(**{**_fields(found), "card": CARDS[card], "proposed": proposed}), body
    )
    data = tomllib.loads(text)
    assert read_card(card_body(data), card=card, version=proposed.version) == proposed


def _fields(found):
    return {name: getattr(found, name) for name in type(found).__dataclass_fields__}


def test_the_plot_is_a_picture(found, tmp_path):
    path = tmp_path / "plot.png"
    save_plot(found, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800


@pytest.mark.parametrize("runs", [[], detections(count=19)])
def test_too_few_runs_are_refused(runs):
    with pytest.raises(InvalidRequestError) as refusal:
        calibrate(CARDS["yolo"], runs)
    assert refusal.value.code == "calibration_impossible"


def test_the_command_has_examples():
    page = CliRunner().invoke(cli, ["ratecards", "calibrate", "--help"]).output
    assert "pixelmeter ratecards calibrate --card yolo" in page
