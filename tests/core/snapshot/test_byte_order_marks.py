"""Some editors begin a file with a byte order mark, and end its lines as Windows does."""

from __future__ import annotations

from pathlib import Path

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
