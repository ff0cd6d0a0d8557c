"""Every real video through every engine: what must not change does not.

A short row of the table runs always; ``make video-table`` runs the whole of it
(``PIXELMETER_EVERY_VIDEO``).
"""

import os
from dataclasses import dataclass
from fractions import Fraction

import pytest

from engines.errors import InvalidInputError
from engines.media.index import index_video
from engines.registry import open_registry
from engines.spec import InputFiles
from tests.engines.media.conftest import ffmpeg

EVERY = bool(os.environ.get("PIXELMETER_EVERY_VIDEO"))
# The cheapest way through each engine that looks at every frame.
ENGINES = {
    "detect": ("builtin", {"annotate": True, "img_size": 64}),
    "colorize": ("builtin", {"type": "building", "input_size": 32, "smoothing": 0.5}),
    "face-swap": ("classical", {}),
}
# name: why it is there
SHORT = {
    "astro_10bit_hevc.mp4": "10 bits, HEVC",
    "astro_odd_444.mp4": "odd sides, no subsampling",
    "astro_sar43.mp4": "pixels that are not square",
    "bt709_full_range.mp4": "full range, no sound",
    "asl_help.mkv": "Matroska, ticks of a millisecond",
}
ALL = {
    **SHORT,
    "astro_fragmented.mp4": "fragments, a late start",
    "astro_sync_23976.mkv": "24000/1001 in milliseconds, Opus",
    "astro_sync_2997.mp4": "30000/1001",
    "astro_sync_60_noaudio.mp4": "60 per second, no sound",
    "astro_vfr.mp4": "a variable rate",
    "astro_vp9_opus.webm": "VP9, no subsampling, Opus",
    "astro_vstart_500ms.mp4": "the picture begins after the sound",
    "av1_video.mkv": "AV1",
    "big_buck_bunny_30s.webm": "VP8, Vorbis",
    "cuts_two_identities.mp4": "cuts",
    "h265_10bits.mp4": "10 bits, HEVC, parameter sets in band",
    "nasa_13013.mp4": "two videos, two sounds, two subtitles",
    "one_by_one_person.mp4": "10 per second, a clock of 200 kHz",
    "smpte_2997.mp4": "1080p",
    "two_faces_headpose.mp4": "12.5 per second",
    "two_walking.mp4": "12.5 per second",
}
# Where the detector of a machine without weights finds no face to swap.
FACELESS = frozenset(
    {
        "av1_video.mkv",
        "bt709_full_range.mp4",
        "h265_10bits.mp4",
        "nasa_13013.mp4",
        "smpte_2997.mp4",
    }
)
# Faces are dear: in the short form one video with them and one without.
SHORT_FACES = frozenset({"astro_odd_444.mp4", "bt709_full_range.mp4"})


@dataclass(frozen=True)
class Told:
    """What a file says that must not change."""

    times: list[Fraction]  # seconds, exact
    duration_s: float
    size: tuple[int, int]  # upright
    sample_aspect: Fraction | None
    colours: tuple[str, ...]
    tracks: list[tuple[str, str, str | None]]  # kind, codec, language
    packets: list[list[str]]  # of each track: time, size, checksum


def told(path):
    index = index_video(path)
    colour = index.picture.colour
    return Told(
        times=[pts * index.time_base for pts in index.pts],
        duration_s=index.duration_s,
        size=(index.width, index.height),
        sample_aspect=index.sample_aspect,
        # Unsaid means limited: the two are one for every player.
        colours=(
            "pc" if colour.range == "pc" else "tv",
            colour.matrix,
            colour.primaries,
            colour.transfer,
        ),
        tracks=[(track.kind, track.codec, track.language) for track in index.tracks],
        packets=[packets_of(path, track.position) for track in index.tracks],
    )


def packets_of(path, position):
    """Time in microseconds, size and checksum of every packet, read without our own code."""
    chosen = ["-map", f"0:{position}", "-c", "copy", "-f", "framecrc"]
    table = ffmpeg("-copyts", "-i", str(path), *chosen, "-").decode()
    base = next(line.split()[2] for line in table.splitlines() if line.startswith("#tb"))
    rows = [line.split(",") for line in table.splitlines() if not line.startswith("#")]
    return [
        f"{round(int(row[2]) * Fraction(base) * 1_000_000)} {row[4].strip()} {row[5].strip()}"
        for row in rows
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory, photo):
    """Run the shipped engines, without any weights, on a video; return the result's folder."""
    registry = open_registry(store=tmp_path_factory.mktemp("store"))

    def go(engine_name, path, context):
        model_name, asked = ENGINES[engine_name]
        engine, model = registry.engine(engine_name), registry.resolve(engine_name, model_name)
        sources = (photo,) if engine_name == "face-swap" else ()
        files = InputFiles(path, index_video(path).info(), sources)
        result = engine.run(model, engine.params_model(**asked), files, context)
        return next(file.path for file in result.files if file.media_type.startswith("video/"))

    yield go
    registry.sessions.close()


ROWS = [
    (engine, name)
    for engine in ENGINES
    for name in (ALL if EVERY else SHORT)
    if EVERY or engine != "face-swap" or name in SHORT_FACES
]


@pytest.mark.parametrize(("engine", "name"), ROWS)
def test_times_sound_subtitles_shape_and_colour_stay(run, test_media, context, engine, name):
    path = test_media / "video" / name
    if engine == "face-swap" and name in FACELESS:
        with pytest.raises(InvalidInputError) as refused:
            run(engine, path, context)
        assert refused.value.code == "no_face_found"
        return
    result = run(engine, path, context)
    assert told(result) == told(path)
    assert index_video(result).rotation == 0


def test_the_table_has_every_video(test_media):
    assert set(ALL) == {path.name for path in (test_media / "video").iterdir()}
