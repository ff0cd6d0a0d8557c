"""A mistyped key is told from the text alone."""

import pytest

from app.errors import AuthenticationError
from app.tenants.keys import ALPHABET, hash_key, mint, parse


def test_a_minted_key_parses_to_its_public_part() -> None:
    minted = mint()
    assert minted.key.startswith(f"pm_live_{minted.public_part}_")
    assert len(minted.key) == len("pm_live_") + 8 + 1 + 32 + 1 + 6
    assert parse(minted.key) == minted.public_part
    assert minted.secret_hash == hash_key(minted.key)
    assert len(minted.secret_hash) == 32


def test_keys_are_never_the_same() -> None:
    assert len({mint().key for _ in range(100)}) == 100


def test_every_single_changed_character_is_noticed() -> None:
    key = mint().key
    for position, character in enumerate(key):
        other = ALPHABET[(ALPHABET.find(character) + 1) % len(ALPHABET)]
        with pytest.raises(AuthenticationError) as refusal:
            parse(key[:position] + other + key[position + 1 :])
        assert refusal.value.code == "key_malformed"


@pytest.mark.parametrize(
    "text",
    ["", "pm_live_", "secret", "pm_live_" + "a" * 100, "pm_test_x", "ключ", "\x00", "٣" * 55],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(AuthenticationError) as refusal:
        parse(text)
    assert refusal.value.code == "key_malformed"


def test_two_characters_that_changed_places_are_noticed() -> None:
    key = mint().key
    start = len("pm_live_12345678_")
    for position in range(start, len(key) - 8):
        a, b = key[position], key[position + 1]
        if a != b:
            with pytest.raises(AuthenticationError):
                parse(key[:position] + b + a + key[position + 2 :])


def test_a_key_does_not_show_in_a_traceback() -> None:
    minted = mint()
    assert minted.key not in repr(minted)
