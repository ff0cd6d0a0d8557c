import pytest

from engines.manifest import ManifestError, load_manifest, shipped_folders

GOOD = """
name = "detect"
title = "T"
description = "D"
media = ["image"]
sources = "none"
aliases = { small = "net" }

[[models]]
name = "net"
version = "2"
runner = "onnxruntime"
options = { side = 64 }

[[models.weights]]
file = "net.onnx"
sha256 = "%s"
bytes = 12
licence = "MIT"
source = "us"
""" % ("0" * 64)


def test_a_manifest_is_read_whole(tmp_path):
    (tmp_path / "engine.toml").write_text(GOOD)
    manifest = load_manifest(tmp_path / "engine.toml")
    assert manifest.models[0].id == "net@2"
    assert manifest.models[0].weights[0].bytes == 12
    assert manifest.models[0].options == {"side": 64}
    assert manifest.aliases == {"small": "net"}


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ('title = "T"', "", "title"),
        ('title = "T"', 'title = "T"\ncolour = 1', "colour"),
        ('"none"', '"several"', "sources"),
        ('["image"]', '["sound"]', "media"),
        ('version = "2"', 'version = "two"', "version"),
        ('"net.onnx"', '"../net.onnx"', "plain name"),
        ("0" * 64, "zz", "sha256"),
        ("bytes = 12", "bytes = true", "bytes"),
        ('"net" }', '"other" }', "alias"),
        ("sources =", 'digital_source_type = "magic"\nsources =', "digital_source_type"),
        ("[[models]]", "[[models", "TOML"),
    ],
)
def test_a_wrong_manifest_names_the_file_and_the_key(tmp_path, old, new, names):
    (tmp_path / "engine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(ManifestError) as refused:
        load_manifest(tmp_path / "engine.toml")
    assert names in refused.value.detail
    assert "engine.toml" in refused.value.detail


@pytest.mark.parametrize("folder", shipped_folders(), ids=lambda folder: folder.name)
def test_every_shipped_manifest_is_right(folder):
    assert load_manifest(folder / "engine.toml").models
