import pytest

from engines.colorize.engine import create
from engines.colorize.kinds import OPERATORS, looking_size, preferred_model, read_kinds, seen_model
from engines.colorize.params import ColorizeParams, Kind
from engines.manifest import ManifestError
from engines.registry import open_registry
from tests.networks import write_colours


@pytest.fixture
def registry(tmp_path, colour_network):
    registry = open_registry(store=tmp_path / "store")
    registry.add("ddcolor-modelscope", colour_network, licence="CC0")
    registry.add("ddcolor-artistic", colour_network, licence="CC0")
    yield registry
    registry.sessions.close()


def decide(registry, text: str) -> None:
    (registry.store_folder / OPERATORS).write_text(text)


def test_sizes_follow_the_type_within_what_suits_it(registry):
    model = registry.resolve("colorize", "ddcolor")
    person = looking_size(registry, model, ColorizeParams(), Kind.PERSON)
    building = looking_size(registry, model, ColorizeParams(), Kind.BUILDING)
    assert 460 <= person[0] <= 680
    assert 960 <= building[0] <= 1280
    asked = ColorizeParams(input_size=[256, 384])
    assert looking_size(registry, model, asked, Kind.PERSON) == (256, 384)


def test_models_that_have_a_size_of_their_own_keep_it(registry):
    tiny = registry.resolve("colorize", "tiny")
    assert looking_size(registry, tiny, ColorizeParams(), Kind.BUILDING) == (384, 384)


def test_a_file_exported_for_one_size_is_asked_for_that(registry, tmp_path):
    fixed = write_colours(tmp_path / "fixed.onnx", batch=1, size=(256, 320))
    model = registry.add("ddcolor-paper", fixed, licence="CC0")
    assert looking_size(registry, model, ColorizeParams(), Kind.PERSON) == (256, 320)


def test_an_operator_changes_what_belongs_to_a_type(registry):
    decide(registry, '[building]\nmodel = "ddcolor-artistic"\ninput_size = 1280\n')
    assert read_kinds(registry.store_folder)[Kind.BUILDING].input_size == 1280
    assert read_kinds(registry.store_folder)[Kind.PERSON].model == "ddcolor-modelscope"
    assert preferred_model(registry, Kind.BUILDING) == "ddcolor-artistic"
    engine = create(registry_services(registry))
    assert engine.preferred_model(ColorizeParams(type="building")) == "ddcolor-artistic"
    assert engine.preferred_model(ColorizeParams()) is None


def registry_services(registry):
    from tests.engines.colorize.conftest import services_of

    return services_of(registry)


def test_auto_runs_on_the_model_of_what_was_seen_unless_another_was_named(registry):
    decide(registry, '[building]\nmodel = "ddcolor-artistic"\n')
    default = registry.resolve("colorize", None)
    seen = seen_model(registry, default, ColorizeParams(), Kind.BUILDING)
    assert seen.id == "ddcolor-artistic@1"
    stated = ColorizeParams(type="building")
    assert seen_model(registry, default, stated, Kind.BUILDING) == default
    named = registry.resolve("colorize", "tiny")
    assert seen_model(registry, named, ColorizeParams(), Kind.BUILDING) == named


def test_a_model_that_is_not_here_is_not_preferred(tmp_path):
    bare = open_registry(store=tmp_path / "bare")
    assert preferred_model(bare, Kind.PERSON) is None
    assert bare.resolve("colorize", None).id == "builtin@1"


@pytest.mark.parametrize(
    "wrong",
    [
        "[landscape]\ninput_size = 512",
        "[person]\ninput_size = 500",
        "[person]\nsize = 512",
        '[person]\nmodel = "ddcolor-huge"',
        "[person",
        "[auto]\ninput_size = 512\nmodel = 'tiny'",
    ],
)
def test_a_wrong_file_is_named_with_its_way_out(wrong, registry):
    decide(registry, wrong)
    with pytest.raises(ManifestError, match=OPERATORS):
        preferred_model(registry, Kind.PERSON)
