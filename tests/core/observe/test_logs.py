from __future__ import annotations

import io
import json
import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.multipart import parse_content_disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.api.secret import Secret
from modgate.observe import logs as module
from modgate.observe.logs import TEXT_AT_MOST, JsonFormatter, LogSystem, redacted
from modgate.tracebacks import let_go

KEY = "mg_live_abcdefghijkl_" + "k3Y" * 14 + "z_0aB9xZ"

log = logging.getLogger("modgate.somewhere")


@contextmanager
def written(level: str = "info") -> Iterator[tuple[LogSystem, Callable[[], list[dict[str, Any]]]]]:
    """A log system; the function closes it and answers its lines."""
    stream = io.StringIO()
    system = LogSystem(level, stream)

    def lines() -> list[dict[str, Any]]:
        closed.close()
        return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]

    with ExitStack() as closed:
        closed.callback(system.close)
        yield system, lines


def line_of(message: object, **fields: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": message, **fields})
    found = json.loads(JsonFormatter().format(record))
    assert isinstance(found, dict)
    return found


def test_a_line_has_time_level_logger_event_and_fields() -> None:
    with written() as (_, lines):
        log.info("backend down", extra={"backend": "eu-1", "failures": 3})
        [line] = lines()

    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "modgate.somewhere",
        "event": "backend down",
        "backend": "eu-1",
        "failures": 3,
    }


def test_keys_leave_in_no_field_message_argument_or_exception() -> None:
    with written("debug") as (_, lines):
        log.info(KEY)
        log.info("with %s", KEY)
        log.info("field", extra={"deep": [{"list": ["x\n" + KEY], KEY: 1}]})
        try:
            raise ValueError(f"bad key {KEY}")
        except ValueError:
            log.exception("failed")
        found = lines()

    assert len(found) == 4
    assert KEY not in json.dumps(found)
    assert "k3Yk3Y" not in json.dumps(found)
    assert found[3]["exception"].endswith("ValueError (its text is withheld)")


@given(before=st.text(), after=st.text())
@settings(derandomize=True, deadline=None)
def test_no_surroundings_let_a_key_pass_or_break_the_line(before: str, after: str) -> None:
    text = f"{before} {KEY} {after}"

    line = line_of("x", field=text, listed=[text])

    assert "k3Yk3Y" not in json.dumps(line)


def test_a_secret_shows_nothing_of_itself() -> None:
    line = line_of("x", field=Secret("hunter2"), inside=[Secret("hunter2")])

    assert "hunter2" not in json.dumps(line)


@dataclass
class Value:
    a: int


@pytest.mark.parametrize(
    "value",
    [
        2**80,
        "\ud800",
        float("nan"),
        {("a",): 1},
        {1: "x"},
        object(),
        {1, 2},
        Path("/x"),
        ValueError("x"),
        Value(1),
    ],
)
def test_a_field_that_json_does_not_know_never_loses_the_line(value: object) -> None:
    line = line_of("event", field=value, other="kept")

    assert line["event"] == "event"
    assert line["other"] == "kept"


def test_bytes_are_shown_by_their_number() -> None:
    line = line_of("x", field=b"the body", inside=[b"the body"], deep={1: b"the body"})

    assert "body" not in json.dumps(line)
    assert line["field"] == "<8 bytes>"


def test_long_texts_are_cut() -> None:
    line = line_of("x", field="a" * 1_000_000)

    assert len(line["field"]) < TEXT_AT_MOST + 10


def test_long_lists_and_objects_are_cut() -> None:
    line = line_of("x", list=[1] * 105, object={str(n): n for n in range(107)}, few=[1])

    assert line["list"] == [1] * 100 + ["..."]
    assert line["object"] == {**{str(n): n for n in range(100)}, "...": 7}
    assert line["few"] == [1]


@pytest.mark.parametrize("at", range(TEXT_AT_MOST - 60, TEXT_AT_MOST + 1, 5))
def test_a_key_that_the_cut_of_a_text_goes_through_does_not_leave(at: int) -> None:
    line = line_of("x", field=f"{'b' * (at - 1)} {KEY} {'b' * TEXT_AT_MOST}")

    assert "k3Y" not in line["field"]


@pytest.mark.parametrize("at", range(2 * TEXT_AT_MOST - 60, 2 * TEXT_AT_MOST + 1, 5))
def test_no_beginning_of_a_key_comes_before_the_cut_because_something_was_taken_out(
    at: int,
) -> None:
    embedded = "data:image/png;base64,".ljust(at - 1, "A")
    line = line_of("x", field=f"{embedded} sk-proj-k3Yk3Yk3Yk3Yk3Y {'b' * TEXT_AT_MOST}")

    assert "k3Y" not in line["field"]


def test_a_text_that_nobody_of_us_wrote_is_withheld_from_a_traceback() -> None:
    error = TypeError("a" * 50_000)

    assert line_of("x", exc_info=(type(error), error, None))["exception"].endswith(
        "TypeError (its text is withheld)"
    )


def test_a_place_is_told_although_the_error_is_let_go_before_its_line_is_written() -> None:
    lines: queue.Queue[logging.LogRecord] = queue.Queue()
    try:
        raise ValueError("a text")
    except ValueError as error:
        about = (type(error), error, error.__traceback__)
        module._Dropping(lines).handle(log.makeRecord("x", 40, "x", 1, "fault", (), about))
        let_go([error])
    line = json.loads(JsonFormatter().format(lines.get_nowait()))

    assert __file__ in line["exception"]
    assert line["exception"].endswith("ValueError (its text is withheld)")


@pytest.mark.parametrize("raised", [ValueError("a text"), SystemExit("a text")])
def test_an_error_that_cannot_say_its_text_is_told_without(raised: BaseException) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise raised

    with written() as (_, lines):
        try:
            raise Odd
        except Odd:
            log.exception("fault")
        [line] = lines()

    assert line["event"] == "fault"
    assert line["exception"].endswith("Odd (its text is withheld)")


def test_of_a_long_traceback_the_end_stays() -> None:
    try:
        raise OSError("a" * 10_000 + " the end")
    except OSError as error:
        line = line_of("x", exc_info=(type(error), error, error.__traceback__))

    assert len(line["exception"]) < TEXT_AT_MOST + 10
    assert line["exception"].endswith("the end")


@pytest.mark.parametrize("after", range(1900, 2000, 7))
def test_a_key_that_the_cut_of_a_traceback_goes_through_does_not_leave(after: int) -> None:
    try:
        raise OSError(f"{KEY} {'b' * after}")
    except OSError as error:
        line = line_of("x", exc_info=(type(error), error, error.__traceback__))

    assert "k3Y" not in line["exception"]


def test_lines_below_the_level_are_not_written() -> None:
    with written("warning") as (_, lines):
        log.info("no")
        log.warning("yes")

        assert [line["event"] for line in lines()] == ["yes"]


def test_closing_writes_what_is_queued_and_puts_logging_back() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with written() as (_, lines):
        for n in range(500):
            log.info("line", extra={"n": n})
        found = lines()

    assert [line["n"] for line in found] == list(range(500))
    assert (root.level, root.handlers) == before


def test_more_lines_than_fit_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_AT_MOST", 10)
    with written() as (system, lines):
        for _ in range(100):
            log.info("line")
        found = lines()

    assert len(found) + system.dropped == 100
    assert system.dropped > 0


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "Bearer abc.def-ghi",
        "BEARER ABCDEF123456",
        "AKIAIOSFODNN7EXAMPLE",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
        "data:image/svg+xml;charset=utf-8;base64,iVBORw0KGgo=",
    ],
)
@pytest.mark.parametrize("around", ["{}", "key={} end", '"{}"', "https://h/?k={}", "x\n{}\ny"])
def test_a_secret_is_taken_out_wherever_it_stands(secret: str, around: str) -> None:
    assert secret not in redacted(around.format(secret))
    assert "[redacted]" in redacted(around.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "img_width must be at least 1",
        "the bearer; data: none",
        "req_0123456789abcdef0123456789abcdef",
        "modgate_requests_total",
    ],
)
def test_plain_words_and_names_are_not_redacted(text: str) -> None:
    assert redacted(text) == text


def test_of_a_chain_of_exceptions_the_places_and_kinds_are_told(tmp_path: Path) -> None:
    sent = "what a client sent"
    try:
        try:
            (tmp_path / "none").read_text()
        except OSError as error:
            raise KeyError(sent) from error
    except KeyError as error:
        line = line_of("x", exc_info=(type(error), error, error.__traceback__))

    assert "FileNotFoundError: [Errno 2]" in line["exception"]
    assert line["exception"].endswith("KeyError (its text is withheld)")
    assert sent not in line["exception"]
    assert "test_logs.py" in line["exception"]


def test_the_end_does_not_wait_for_a_reader_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modgate.observe.logs.CLOSE_S", 0.1)
    reads, writes = os.pipe()

    def read() -> None:
        with os.fdopen(reads) as file:
            file.read()

    with os.fdopen(writes, "w") as stream:
        logs = LogSystem("info", stream)
        for _ in range(200):
            logging.getLogger("modgate.test").info("x" * 1500)

        assert not logs.close()

        [ending] = [each for each in threading.enumerate() if each.name == "log end"]
        reader = threading.Thread(target=read)
        reader.start()
        ending.join()
    reader.join()


def test_a_librarys_warning_is_a_line_without_what_a_client_sent_once_for_each_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.resetwarnings()  # as Python begins
        with written() as (_, lines):
            for name in ("hers", "his"):
                parse_content_disposition(f"form-data; name=file; filename*=zz''%ff{name}")
            parse_content_disposition("form-data; filename")
            found = lines()
    kept = parse_content_disposition.__globals__.get("__warningregistry__", {})

    assert [line["warning"] for line in found] == [
        "BadContentDispositionParam",
        "BadContentDispositionHeader",
    ]
    assert all("multipart.py:" in line["at"] for line in found)
    assert "hers" not in json.dumps(found)
    assert "hers" not in str(kept)
    assert capsys.readouterr().err == ""
    assert warnings.showwarning is shown
