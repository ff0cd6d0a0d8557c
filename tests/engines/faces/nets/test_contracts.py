import tomllib

import pytest

from engines.faces.align.templates import template_points
from engines.faces.nets.contracts import (
    FILE,
    embedder_contract,
    enhancer_contract,
    swapper_contract,
)
from engines.manifest import ManifestError

TABLES = tomllib.loads(FILE.read_text())
READERS = {
    "embedders": embedder_contract,
    "swappers": swapper_contract,
    "enhancers": enhancer_contract,
}
NAMED = [(kind, name) for kind, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_every_contract_of_the_file_can_be_read_and_its_template_lies_in_its_crop(kind, name):
    contract = READERS[kind](name)
    assert contract.name == name
    points = template_points(contract.template, size=contract.size)
    assert 0 < points.min() < points.max() < contract.size


def test_every_swapper_names_an_embedder_that_is_declared():
    for name in TABLES["swappers"]:
        assert embedder_contract(swapper_contract(name).embedder).dimensions == 512


@pytest.mark.parametrize("kind", READERS)
def test_a_contract_that_nobody_declared_is_refused_with_those_that_are(kind):
    with pytest.raises(ManifestError, match=", ".join(TABLES[kind])) as caught:
        READERS[kind]("nobodys")
    assert caught.value.code == "manifest_invalid"
