from __future__ import annotations

from pathlib import Path

import pytest

from modgate.api.authenticator import Document
from modgate.api.discover import Away, Found, Lost, Pause
from modgate.discover.file import FileConfig, FileDiscoverer, instances

TOML = b"""
[[backend]]
url = "http://10.0.0.2:8000/"
region = "eu"
slots = 4
[[backend]]
url = "http://10.0.0.1:8000"
name = "first"
serves = { chat = "qwen" }
draining = true
"""


def test_a_list_says_of_each_engine_what_is_its_own() -> None:
    one, two = instances(TOML, toml=True)

    assert (one.uid, one.name, one.draining, one.serves) == (
        "http://10.0.0.1:8000",
        "first",
        True,
        {"chat": "qwen"},
    )
    assert (two.name, two.region, two.slots, two.hardware) == ("10.0.0.2:8000", "eu", 4, None)


@pytest.mark.parametrize(
    "text", [b'[{"url": "http://a:1"}]', b'{"backend": [{"url": "http://a:1"}]}']
)
def test_json_may_be_the_list_itself(text: bytes) -> None:
    [found] = instances(text, toml=False)

    assert found.url == "http://a:1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'[\n"secret"', "cannot be read, at line 2 column 9$"),
        (b"\xff", "cannot be read"),
        (b'[{"url": "http://user:secret@a"}]', "not as it should be: backend.0.url"),
        (b'[{"url": "http://a", "slot": 1}]', "not as it should be: backend.0.slot"),
        (b'[{"url": "http://a"}, {"url": "http://a/"}]', "names an engine twice"),
        (b'[{"url": "http://a", "name": "a\\nb"}]', "not as it should be: backend.0.name"),
        (b"3", "not as it should be"),
    ],
)
def test_a_list_with_a_mistake_is_refused_whole_and_says_no_value(text: bytes, reason: str) -> None:
    with pytest.raises(Away, match=reason) as refused:
        instances(text, toml=False)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "at"), [(b"[[backend", "end of document"), (b"\nx = ]", "line 2")]
)
def test_of_toml_that_cannot_be_read_it_is_said_where(text: bytes, at: str) -> None:
    with pytest.raises(Away, match=f"cannot be read, at {at}"):
        instances(text, toml=True)


def test_only_a_changed_file_says_something() -> None:
    finding = FileDiscoverer(FileConfig(path=Path("b.json"))).discover(lambda: 0, lambda: 0)
    good, bad = b'[{"url": "http://a"}]', b"["
    said: list[str] = []
    next(finding)
    for text in (good, good, bad, bad, good):
        want = finding.send(Document(status=200, body=text))
        while not isinstance(want, Pause):
            said.append("found" if isinstance(want, Found) else "lost")
            assert isinstance(want, Found | Lost)
            want = finding.send(None)
        finding.send(None)

    assert said == ["found", "lost", "lost", "found"]
