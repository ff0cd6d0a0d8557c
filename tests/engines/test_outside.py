import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from own_engine import write_engine

from engines.manifest import ManifestError
from engines.media.images import read_image
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.outside import outside_folders
from engines.registry import open_registry
from engines.spec import InputFiles


def opened(tmp_path, *places):
    return open_registry(store=tmp_path / "store", outside=places)


def negative_of(registry, photo, context, **params):
    engine, model = registry.engine("negative"), registry.resolve("negative", None)
    asked = engine.params_model(**params)
    result = engine.run(model, asked, InputFiles(photo, probe(photo, MediaLimits())), context)
    return read_image(result.files[0].path).pixels


def test_the_engine_of_the_readme_runs_from_a_folder_of_its_own(tmp_path, photo, context):
    registry = opened(tmp_path, write_engine(tmp_path / "mine"))
    assert "negative" in registry.manifests()
    original = read_image(photo).pixels
    assert np.array_equal(negative_of(registry, photo, context), 255 - original)
    assert np.array_equal(negative_of(registry, photo, context, keep=1.0), original)


def test_a_place_may_hold_several_folders(tmp_path):
    parent = tmp_path / "mine"
    write_engine(parent)
    other = parent / "copy"
    other.mkdir()
    text = (parent / "negative" / "engine.toml").read_text()
    (other / "engine.toml").write_text(text.replace('name = "negative"', 'name = "copy"'))
    assert {"negative", "copy", "detect"} <= set(opened(tmp_path, parent).manifests())


def test_folders_of_one_name_are_different_packages(tmp_path, photo, context):
    first, second = write_engine(tmp_path / "a"), write_engine(tmp_path / "b")
    code = (
        (second / "engine.py").read_text().replace("255.0 - picture.pixels", "0 * picture.pixels")
    )
    (second / "engine.py").write_text(code)
    light = negative_of(opened(tmp_path, first), photo, context).mean()
    assert light > 100
    assert negative_of(opened(tmp_path, second), photo, context).mean() == 0


def test_a_folder_may_be_a_package_with_code_of_its_own(tmp_path):
    folder = write_engine(tmp_path)
    (folder / "__init__.py").write_text("LOADED = True\n")
    engine = opened(tmp_path, folder).engine("negative")
    assert sys.modules[type(engine).__module__.rpartition(".")[0]].LOADED


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_a_place_without_engines_is_named(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match=place):
        outside_folders([tmp_path / place])


def test_an_engine_that_cannot_be_imported_says_why(tmp_path):
    folder = write_engine(tmp_path)
    (folder / "params.py").unlink()
    with pytest.raises(ManifestError, match="params"):
        opened(tmp_path, folder).engine("negative")


def test_no_engine_may_take_the_name_of_another(tmp_path):
    folder = write_engine(tmp_path)
    toml = folder / "engine.toml"
    toml.write_text(toml.read_text().replace('name = "negative"', 'name = "detect"'))
    with pytest.raises(ManifestError, match="declared twice"):
        opened(tmp_path, folder)
