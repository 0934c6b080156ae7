"""Files that lie in a state directory, or beside it, as version 1 wrote them.

Where they have no version of their own their form is one line of text, for ever: what is kept is
made once, and a gateway of any version reads it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modgate.api.secret import Secret
from modgate.auth.keys import StoredKey, digest, parse, parse_line
from modgate.ledger.anchor import Anchored, AnchorFile, read_anchor
from modgate.ledger.disk import Position
from modgate.server.secrets import StateDirectory

GOLDEN = Path(__file__).parent / "golden" / "state-v1"
SECRETS = ("pepper", "ledger-key", "audit-key")
KEY = StoredKey(
    id="abcdefghijkl", digest="0f" * 32, name="build server", until=4_102_444_800.0, role="operator"
)
ANCHORED = Anchored(
    writer="gw.00000001", segment=3, offset=4711, last="63" * 16, wall=1_767_225_600.0
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "state"))


def test_secrets_that_were_kept_are_those_that_are_found(directory: Path) -> None:
    files = StateDirectory(directory)
    found = {name: files.secret(name).reveal() for name in SECRETS}
    files.close()

    assert found == {name: f"{name} of version 1" for name in SECRETS}
    for name in SECRETS:
        assert (directory / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_the_demo_key_stays_the_same(directory: Path) -> None:
    files = StateDirectory(directory)
    key, stored = files.demo_key(Secret("pepper of version 1"))
    files.close()

    assert key.reveal() == (GOLDEN / "demo-key").read_text().strip()
    presented = parse(key.reveal())
    assert presented is not None
    assert (stored.id, stored.digest) == (
        presented.id,
        digest(Secret("pepper of version 1"), presented.secret.reveal()),
    )


def test_a_line_of_a_key_file_means_what_it_meant() -> None:
    line = (GOLDEN / "acme.keys").read_text()

    assert parse_line(line) == KEY
    assert KEY.line() == line.strip()


def test_an_anchor_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "anchor.json"
    position = Position(ANCHORED.segment, ANCHORED.offset, 9, bytes.fromhex(ANCHORED.last))
    AnchorFile(path, ANCHORED.writer).keep(position, ANCHORED.wall)

    assert read_anchor(GOLDEN / "anchor.json") == ANCHORED
    assert path.read_bytes() == (GOLDEN / "anchor.json").read_bytes()
    assert ANCHORED.v == 1


def test_an_anchor_of_the_next_version_is_understood_as_far_as_it_says_the_same(
    tmp_path: Path,
) -> None:
    path = tmp_path / "anchor.json"
    data = (GOLDEN / "anchor.json").read_bytes()
    path.write_bytes(data.replace(b'{"v":1,', b'{"v":2,"later":true,'))

    found = read_anchor(path)

    assert found is not None
    assert (found.v, found.writer, found.offset) == (2, ANCHORED.writer, ANCHORED.offset)
