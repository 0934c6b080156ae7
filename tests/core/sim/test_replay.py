"""Receipts of traffic that nobody sent, before fleets that nobody has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from modgate.sim.paces import pace_of
from modgate.sim.report import Report, Row
from modgate.sim.simulate import simulate
from modgate.sim.trouble import Trouble
from modgate.snapshot.blueprint import blueprint_of

AUDIO_MS = 10_000
TOOK_S = 1.0


def receipts(folder: Path, count: int, each_s: float, *, calls: int = 1, slo: str = "") -> Path:
    """Transcriptions of ten seconds each, by one engine that takes one second for it."""
    lines = []
    for number in range(count):
        attempts = [
            {
                "call": call,
                "backend": "one",
                "began_s": TOOK_S * call,
                "first_s": TOOK_S * (call + 1),
                "ended_s": TOOK_S * (call + 1),
                "state": "ok",
            }
            for call in range(calls)
        ]
        line = {
            "v": 1,
            "id": f"r{number}",
            "wall": 1e9 + number * each_s,
            "ending": "ok",
            "status": 200,
            "tenant": f"t{number % 2}",
            "key_id": "k",
            "model": "ears",
            "modality": "asr",
            "slo": slo,
            "duration_s": TOOK_S * calls,
            "units": {"asr.audio_ms": AUDIO_MS * calls, "asr.requests": 1},
            "attempts": attempts,
        }
        lines.append(json.dumps(line))
    path = folder / "receipts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def config(folder: Path, slots: dict[str, int], more: str = "") -> Path:
    backends = "".join(
        f'[[backend]]\nname = "{name}"\nurl = "http://127.0.0.{at}:1"\n'
        f'serves = {{ ears = "whisper" }}\nslots = {each}\n'
        for at, (name, each) in enumerate(slots.items(), 1)
    )
    path = folder / "modgate.toml"
    path.write_text(f'[plugin.asr]\n[model.ears]\nmodality = "asr"\n{backends}{more}')
    return path


def replayed(
    folder: Path,
    file: Path,
    slots: dict[str, int],
    *,
    more: str = "",
    load: float = 1.0,
    paces: Sequence[str] = (),
) -> Report:
    made = blueprint_of(config(folder, slots, more))
    return simulate(file, made, load=load, paces=[pace_of(each) for each in paces])


def row(report: Report) -> Row:
    (found,) = report.rows
    return found


def test_alone_it_takes_as_long_as_it_did(tmp_path: Path) -> None:
    found = row(replayed(tmp_path, receipts(tmp_path, 20, 2.0), {"one": 4}))

    assert found.now.p50_s == pytest.approx(found.past.p50_s) == pytest.approx(TOOK_S)
    assert found.queued == 0


def test_before_fewer_slots_calls_wait(tmp_path: Path) -> None:
    """Two came a second, and one slot does one: the wait grows by half a second a call."""
    found = row(replayed(tmp_path, receipts(tmp_path, 20, 0.5), {"one": 1}))

    assert found.queued == 19
    assert found.queued_p95_s == pytest.approx(9.0, abs=0.6)
    assert found.now.p99_s == pytest.approx(10.5, abs=0.1)
    assert found.now.kept < found.past.kept == 100.0


def test_a_second_backend_takes_its_share(tmp_path: Path) -> None:
    file = receipts(tmp_path, 40, 0.5)

    report = replayed(tmp_path, file, {"one": 1, "two": 1}, paces=["two=one"])

    assert row(report).now.p99_s < 2.0
    assert {use.backend: use.calls > 10 for use in report.uses} == {"one": True, "two": True}


def test_more_load_is_time_that_runs_faster(tmp_path: Path) -> None:
    file = receipts(tmp_path, 20, 2.0)

    calm, busy = (replayed(tmp_path, file, {"one": 1}, load=load) for load in (1.0, 4.0))

    assert row(calm).queued == 0
    assert row(busy).queued == 19
    assert busy.seconds == pytest.approx(20 * TOOK_S)


def test_calls_of_one_request_come_after_each_other_if_they_did(tmp_path: Path) -> None:
    found = row(replayed(tmp_path, receipts(tmp_path, 5, 10.0, calls=3), {"one": 4}))

    assert found.now.p50_s == pytest.approx(3 * TOOK_S)


def test_a_class_that_rather_refuses_is_refused(tmp_path: Path) -> None:
    file = receipts(tmp_path, 40, 0.1, slo="gold")
    slo = (
        '[slo.gold.asr]\ntotal = { base = "3s" }\n[slo.bronze.asr]\ntotal = { base = "9s" }\n'
        '[select]\nunmet = { gold = "refuse" }\n'
    )

    found = row(replayed(tmp_path, file, {"one": 1, "two": 1}, paces=["two=one"], more=slo))

    assert found.slo == "gold"
    assert found.refused > 10
    assert found.now.kept == pytest.approx(100.0 * (40 - found.refused) / 40, abs=10.0)


def test_a_class_of_the_configuration_counts_before_that_of_the_receipt(tmp_path: Path) -> None:
    file = receipts(tmp_path, 10, 2.0, slo="gone")
    more = '[slo.fast.asr]\ntotal = { base = "10ms" }\n[tenant.t0]\nslo = "fast"\n'

    report = replayed(tmp_path, file, {"one": 4}, more=more)

    assert {each.slo: each.now.kept for each in report.rows} == {"fast": 0.0, "gone": 100.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("three=one", "the configuration has no backend 'three'"),
        ("one=three", "no receipt shows how fast 'three' is; there are: one"),
    ],
)
def test_paces_of_backends_that_are_not_there_are_refused(
    tmp_path: Path, words: str, said: str
) -> None:
    file = receipts(tmp_path, 5, 2.0)

    with pytest.raises(Trouble, match=said):
        replayed(tmp_path, file, {"one": 1}, paces=[words])


@pytest.mark.parametrize("words", ["", "a", "a=", "=b", "a=b:0", "a=b:fast", "a=b:1e9"])
def test_paces_that_cannot_be_read_are_refused(words: str) -> None:
    with pytest.raises(Trouble, match="--pace reads NEW=OLD"):
        pace_of(words)
