"""Some editors begin a file with a byte order mark, and end its lines as Windows does."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import pytest

from modgate.api.secret import referenced
from modgate.auth.jose import parse_jwks
from modgate.discover.file import instances
from modgate.snapshot.blueprint import blueprint_of


def test_a_byte_order_mark_is_part_of_no_configuration_and_of_no_key_file(tmp_path: Path) -> None:
    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        return path

    keys = written("acme.keys", f"abcdefghijkl {'0' * 64} ci\n")
    text = f'[auth]\npepper = {{ env = "PATH" }}\n[tenant.acme]\nkeys = {{ file = "{keys}" }}\n'
    made = blueprint_of(written("modgate.toml", text))

    assert [(tenant, key.id, key.name) for tenant, key in made.keys] == [
        ("acme", "abcdefghijkl", "ci")
    ]


def test_nor_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "engine-key"
    path.write_bytes(BOM_UTF8 + b"sk-1\r\n")

    assert referenced({"file": str(path)}).reveal() == "sk-1"


@pytest.mark.parametrize(
    ("text", "toml"),
    [(b'[{"url": "http://a:1"}]', False), (b'[[backend]]\nurl = "http://a:1"\n', True)],
)
def test_nor_of_a_list_of_engines(text: bytes, toml: bool) -> None:
    [found] = instances(BOM_UTF8 + text, toml=toml)

    assert found.url == "http://a:1"


def test_nor_of_a_key_set() -> None:
    key = (
        b'{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
    )

    assert list(parse_jwks(BOM_UTF8 + b'{"keys":[' + key + b"]}")) == ["a"]
