"""A large scan in a process of its own: its peak of memory, its bits and its light."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from engines.errors import InvalidInputError
from engines.media.limits import MediaLimits
from engines.media.probe import probe

ADDRESS_SPACE = 2 * 1024**3
RUN = """
import json, resource, sys
from pathlib import Path

import cv2

from engines.colorize.engine import create
from engines.colorize.params import ColorizeParams
from engines.media.limits import MediaLimits
from engines.registry import Services, open_registry
from engines.sessions import Sessions
from engines.spec import InputFiles
from engines.media.probe import probe

class Context:
    work_dir = Path(sys.argv[2])
    def progress(self, done, total, unit): pass
    def checkpoint(self): pass

cv2.setNumThreads(2)
source, store, network = Path(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[4])
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[5]), int(sys.argv[5])))
limits = MediaLimits(max_scan_pixels=100_000_000)
registry = open_registry(store=store, limits=limits, sessions=Sessions(threads=1))
services = Services(registry=registry, sessions=registry.sessions, limits=limits)
registry.add("ddcolor-modelscope", network, licence="CC0")
model = registry.resolve("colorize", "ddcolor")
params = ColorizeParams(type="building", input_size=1024, tile_size=512)
files = InputFiles(source, probe(source, limits))
result = create(services).run(model, params, files, Context())
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(json.dumps({
    "peak_kb": int(peak[0].split()[1]),
    "path": str(result.files[0].path),
    "bits": result.data["bits"],
    "left": sorted(path.name for path in Context.work_dir.iterdir()),
}))
"""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """10 000 x 8 000, 16-bit grey: 160 MB of samples."""
    path = tmp_path_factory.mktemp("scan") / "scan.tif"
    ramp = np.linspace(2000, 60000, 10_000, dtype=np.uint16)
    waves = (np.sin(np.arange(8000) / 40) * 1500).astype(np.int32)
    Image.fromarray((ramp[None] + waves[:, None]).astype(np.uint16)).save(path)
    return path


@pytest.fixture
def coloured(colour_network, tmp_path):
    """Colour a file in a process of its own with 2 GiB of addresses; what it says of itself."""

    def run(source):
        work, store = tmp_path / "work", tmp_path / "store"
        work.mkdir()
        arguments = [source, work, store, colour_network, ADDRESS_SPACE]
        done = subprocess.run(
            [sys.executable, "-c", RUN, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


def test_80_megapixels_are_coloured_within_2_gib_of_addresses(scan, coloured):
    found = coloured(scan)
    print(f"peak {found['peak_kb'] / 1024:.0f} MiB")
    assert found["peak_kb"] < 1024**2
    assert (found["bits"], found["left"]) == (
        16,
        ["colorized.tif", "preview-after.jpg", "preview-before.jpg"],
    )
    import pyvips

    with_colour = pyvips.Image.new_from_file(found["path"])
    assert (with_colour.width, with_colour.height) == (10_000, 8_000)
    assert (with_colour.format, with_colour.bands) == ("ushort", 3)
    corner = with_colour.crop(4000, 4000, 64, 64).numpy()
    assert len(np.unique(corner)) > 256


def test_a_panorama_of_30_000_columns_is_coloured_in_the_same_memory(coloured, tmp_path):
    ramp = np.linspace(10, 240, 30_000).astype(np.uint8)
    waves = (np.sin(np.arange(900) / 20) * 10).astype(np.int16)
    path = tmp_path / "panorama.jpg"
    Image.fromarray((ramp[None] + waves[:, None]).astype(np.uint8)).save(path, quality=95)
    found = coloured(path)
    assert found["peak_kb"] < 1024**2
    with Image.open(found["path"]) as made:
        assert (made.size, made.mode) == ((30_000, 900), "RGB")
        columns = np.asarray(made.convert("L").resize((300, 1), Image.Resampling.BOX))[0]
    assert np.corrcoef(columns, ramp[50::100])[0, 1] > 0.99  # nothing is moved or left out


def test_what_is_wider_is_refused_with_the_limit(tmp_path):
    path = tmp_path / "too wide.png"
    Image.fromarray(np.zeros((4, 32_768), np.uint8)).save(path)
    with pytest.raises(InvalidInputError, match="32767 per side") as caught:
        probe(path, MediaLimits(max_scan_pixels=100_000_000))
    assert caught.value.code == "image_too_large"
