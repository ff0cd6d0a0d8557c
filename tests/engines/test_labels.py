"""Every engine writes the visible label into what it gives back, and nowhere else."""

import numpy as np
import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.local_runs import LocalRuns
from engines.media.label import DEFAULT_TEXT, Label
from engines.media.provenance import read_origin

ENGINES = {"detect": {"annotate": True}, "colorize": {}, "face-swap": {}}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_result_differs_by_its_label_alone(registry, photo, tmp_path, engine):
    results = []
    for name, label in (("plain", {}), ("labelled", {"label": True})):
        runs = LocalRuns(
            registry,
            engine,
            params={**ENGINES[engine], **label},
            sources=[photo] if engine == "face-swap" else [],
            out=tmp_path / name,
        )
        [ran] = runs.run([photo])
        assert ran.error is None, ran.error
        with Image.open(ran.files[0]) as picture:
            results.append(np.asarray(picture.convert("RGB")))
    plain, labelled = results
    label = Label(DEFAULT_TEXT, plain.shape[1], plain.shape[0])
    place = np.s_[label.top :, label.left :]
    assert (labelled[place] == label.on(plain)[place]).all()
    assert (labelled[place] != plain[place]).any()
    labelled = labelled.copy()
    labelled[place] = plain[place]
    assert (labelled == plain).all()


def test_a_job_that_gives_no_picture_back_takes_no_label(registry, photo, tmp_path):
    runs = LocalRuns(registry, "detect", params={"label": True}, out=tmp_path)
    [ran] = runs.run([photo])
    assert isinstance(ran.error, InvalidInputError)
    assert ran.error.code == "option_unsupported"


def test_the_picture_before_is_nobodys_work_and_is_not_marked(registry, photo, tmp_path):
    source = tmp_path / "scan.tif"
    Image.open(photo).convert("L").save(source)
    runs = LocalRuns(registry, "colorize", params={"type": "building"}, out=tmp_path / "out")
    [ran] = runs.run([source])
    marked = {path.name: read_origin(path).aigc is not None for path in ran.files}
    assert marked == {
        "scan-colorized.tif": True,
        "scan-preview-before.jpg": False,
        "scan-preview-after.jpg": True,
    }
