"""Engines in folders outside this package: found by their ``engine.toml``, imported by location.

Such a folder is a package of its own name, so its modules reach each other by ``from .params
import ...`` and can never be mistaken for ours or for another folder's of the same name.
"""

import hashlib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from engines.manifest import MANIFEST_FILE, ManifestError

_PACKAGE = "engine_outside"


def outside_folders(places: Sequence[Path]) -> tuple[Path, ...]:
    """The engine folders at some places, each itself one or the parent of several.

    Raises:
        ManifestError: a place holds no ``engine.toml``; the message names it.
    """
    found: list[Path] = []
    for place in places:
        here = place / MANIFEST_FILE
        below = sorted(path.parent for path in place.glob(f"*/{MANIFEST_FILE}"))
        folders = [place] if here.is_file() else below
        if not folders:
            message = f"{place}: neither this folder nor one in it has an {MANIFEST_FILE}"
            raise ManifestError(message)
        found += [folder.resolve() for folder in folders]
    return tuple(dict.fromkeys(found))


def import_engine(folder: Path) -> ModuleType:
    """The module ``engine`` of a folder, inside this package or outside.

    Raises:
        ManifestError: there is no ``engine.py``, or it cannot be imported.
    """
    if folder.parent == Path(__file__).parent:
        return import_module(f"engines.{folder.name}.engine")
    package = _package_of(folder)
    try:
        return import_module(f"{package}.engine")
    except ImportError as error:
        message = f"{folder}: engine.py cannot be imported: {error}"
        raise ManifestError(message) from error


def _package_of(folder: Path) -> str:
    """Put the folder among the loaded packages, once; its name is made from its place."""
    place = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    name = f"{_PACKAGE}_{folder.name.replace('-', '_')}_{place}"
    if name in sys.modules:
        return name
    first = folder / "__init__.py"
    if first.is_file():
        spec = spec_from_file_location(name, first, submodule_search_locations=[str(folder)])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    if spec is None:
        message = f"{folder}: cannot be imported as a package"
        raise ManifestError(message)
    module = module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return name
