"""The body of ``POST /prompt``, read strictly. Pure."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.comfyui.errors import PromptError, error_body, invalid_prompt

ID_LENGTH_MAX: Final = 128
NUMBER_MAX: Final = 1e15
TARGETS_MAX: Final = 200
# What clients of paid ComfyUI nodes send along; nobody here needs it, so it is never kept.
SECRETS: Final = frozenset({"auth_token_comfy_org", "api_key_comfy_org"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as it was sent; the graph is not looked at yet."""

    prompt_id: str
    graph: Any
    client_id: str | None
    number: float | None  # where it wants to stand; None: at the end
    in_front: bool
    extra_data: Mapping[str, Any]
    targets: tuple[str, ...] | None  # the outputs to make; None: all

    @property
    def fingerprint(self) -> str:
        """What makes two prompts the same, besides their id."""
        asked = [self.graph, None if self.targets is None else sorted(self.targets)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def read_asked(document: Mapping[str, Any]) -> Asked:
    """Check the members of the body.

    Raises:
        PromptError: ``no_prompt`` or ``invalid_prompt``.
    """
    if "prompt" not in document:
        text = "No prompt provided"
        raise PromptError(error_body("no_prompt", text, text))
    extra = document.get("extra_data") or {}
    if not isinstance(extra, dict):
        raise invalid_prompt("extra_data is no object.")
    client = _identifier(document, "client_id")
    kept = {name: value for name, value in extra.items() if name not in SECRETS}
    return Asked(
        prompt_id=_identifier(document, "prompt_id") or str(uuid.uuid4()),
        graph=document["prompt"],
        client_id=client,
        number=_number(document.get("number")),
        in_front=bool(document.get("front")),
        extra_data=kept if client is None else {**kept, "client_id": client},
        targets=_targets(document.get("partial_execution_targets")),
    )


def _identifier(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise invalid_prompt(f"{name} is no text.")
    text = str(value)
    if len(text) > ID_LENGTH_MAX or not text.isprintable():
        raise invalid_prompt(f"{name} must be at most {ID_LENGTH_MAX} printable characters.")
    return text


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid_prompt("number is no number.")
    try:
        number = float(value)
    except ValueError:
        raise invalid_prompt("number is no number.") from None
    if not abs(number) <= NUMBER_MAX:  # "not <=" also refuses NaN
        raise invalid_prompt("number is too large.")
    return number


def _targets(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > TARGETS_MAX:
        raise invalid_prompt("partial_execution_targets is no list of node ids.")
    return tuple(str(each) for each in value)
