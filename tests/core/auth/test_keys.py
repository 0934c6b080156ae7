from __future__ import annotations

import hmac
import os
import re
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.secret import Secret
from modgate.auth.keys import BASE62, StoredKey, digest, new_key, parse, parse_line

PEPPER = Secret("a pepper of the tests")
SHAPE = re.compile(r"mg_live_[a-z2-7]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")

quick = settings(derandomize=True, deadline=None, max_examples=200)


def counting(length: int) -> bytes:
    """A random source that gives 0, 1, 2, ..."""
    return bytes(index % 256 for index in range(length))


def made(**changes: str) -> tuple[str, StoredKey]:
    key, stored = new_key(PEPPER, name=changes.get("name", "n"), env="live", random=counting)
    return key.reveal(), stored


def base62(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        text = BASE62[number % 62] + text
        number //= 62
    return text


def test_a_key_has_the_format_of_the_design() -> None:
    key, stored = made()

    assert SHAPE.fullmatch(key)
    assert key.split("_")[2] == stored.id == "abcdefghijkl"


def test_the_last_part_is_the_checksum_of_what_is_before_it() -> None:
    front, _, check = made()[0].rpartition("_")

    assert check == base62(crc32(front.encode()), 6)


def test_the_secret_carries_all_32_random_bytes() -> None:
    secret = made()[0].split("_")[3]

    assert secret == base62(int.from_bytes(counting(32)), 43)


def test_what_is_stored_is_a_keyed_digest_and_never_the_secret() -> None:
    key, stored = made()
    secret = key.split("_")[3]

    assert stored.digest == hmac.new(PEPPER.reveal().encode(), secret.encode(), sha256).hexdigest()
    assert secret not in repr(stored)
    assert secret not in stored.line()


def test_another_pepper_gives_another_digest() -> None:
    assert digest(PEPPER, "s") != digest(Secret("another"), "s")


def test_a_key_does_not_show_itself() -> None:
    key, _ = new_key(PEPPER, name="n", env="live", random=os.urandom)

    assert key.reveal() not in f"{key} {key!r}"


@quick
@given(st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z]{1,16}", fullmatch=True))
def test_every_new_key_parses_to_its_own_id_and_secret(seed: bytes, env: str) -> None:
    key, stored = new_key(PEPPER, name="", env=env, random=lambda length: seed[:length])
    parsed = parse(key.reveal())

    assert parsed is not None
    assert parsed.id == stored.id
    assert digest(PEPPER, parsed.secret.reveal()) == stored.digest


@quick
@given(st.integers(0, 73), st.sampled_from(BASE62 + "_- \n\x00\u00e9"))
def test_a_key_with_one_character_changed_is_refused_by_its_checksum(at: int, other: str) -> None:
    key = made()[0]
    changed = key[:at] + other + key[at + 1 :]

    assert changed == key or parse(changed) is None


@quick
@given(st.text(max_size=200))
def test_text_that_is_no_key_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("more", [" ", "\n", "x", "_", "x" * 100])
def test_a_key_with_something_behind_it_is_refused(more: str) -> None:
    assert parse(made()[0] + more) is None


def test_a_line_of_a_key_file_is_read_back_as_it_was_written() -> None:
    stored = StoredKey(id="abcdefghijkl", digest="0f" * 32, name="of the build server")

    assert parse_line(stored.line()) == stored


def test_a_line_says_until_when_a_key_is_good_and_what_role_it_has() -> None:
    stored = StoredKey(
        id="abcdefghijkl", digest="0f" * 32, name="of ops", until=1_800_000_000.0, role="operator"
    )
    line = f"abcdefghijkl {'0f' * 32} until=2027-01-15T08:00:00Z role=operator of ops"

    assert stored.line() == line
    assert parse_line(line) == stored
    assert parse_line(line.replace("08:00:00Z", "10:30:00+02:30")) == stored


@pytest.mark.parametrize("word", ["until=soon", "until=", "role=root", "role="])
def test_a_time_or_a_role_that_is_none_is_a_mistake(word: str) -> None:
    with pytest.raises(ValueError, match="a key's"):
        parse_line(f"abcdefghijkl {'0f' * 32} {word} name")


def test_a_rotated_key_keeps_its_id_and_has_another_secret() -> None:
    pepper = Secret("p")
    first, old = new_key(pepper, name="n", env="test", random=os.urandom)
    second, new = new_key(pepper, name="n", env="test", random=os.urandom, key_id=old.id)

    assert new.id == old.id
    assert new.digest != old.digest
    assert first != second


def test_a_key_without_a_name_has_a_line_of_two_words() -> None:
    stored = StoredKey(id="abcdefghijkl", digest="0f" * 32)

    assert stored.line() == f"abcdefghijkl {'0f' * 32}"
    assert parse_line(stored.line()) == stored


@pytest.mark.parametrize("line", ["", "   \t", "# a comment", "  # another"])
def test_empty_lines_and_comments_hold_no_key(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "abcdefghijkl",
        f"abcdefghijk {'0f' * 32} short id",
        f"abcdefghijk1 {'0f' * 32} a digit that base32 has not",
        f"abcdefghijkl {'0F' * 32} upper case",
        f"abcdefghijkl {'0f' * 31} short digest",
        "mg_live_abcdefghijkl_secret_check the key itself",
    ],
)
def test_a_bad_line_says_how_a_line_reads_and_not_what_it_held(line: str) -> None:
    with pytest.raises(ValueError, match="ID DIGEST NAME") as caught:
        parse_line(line)

    assert line not in str(caught.value)


@quick
@given(st.text(max_size=120))
def test_any_line_is_a_key_nothing_or_a_value_error(line: str) -> None:
    try:
        found = parse_line(line)
    except ValueError:
        return
    assert found is None or parse_line(found.line()) == found


def test_white_space_in_a_name_cannot_make_a_second_line() -> None:
    stored = StoredKey(id="abcdefghijkl", digest="0f" * 32, name=f"x\nbcdefghijklm {'ab' * 32} y")

    assert "\n" not in stored.line()
    assert parse_line(stored.line()) is not None


@pytest.mark.parametrize("env", ["", "Live", "li_ve", "l1ve", "x" * 17])
def test_an_environment_that_no_key_can_have_is_refused(env: str) -> None:
    with pytest.raises(ValueError, match="environment"):
        new_key(PEPPER, name="", env=env, random=counting)
