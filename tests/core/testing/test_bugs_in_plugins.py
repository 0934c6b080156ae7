"""The twelve bugs of the kit, planted into each plugin that we ship: its contract must go red.

The wrap is the same for all: around the relay, the shape, the split or the config of the real
modality, with the samples, settings and engine of its own contract.  A wrap without a bug is the
control, which must stay green.
"""

from __future__ import annotations

import inspect
import io
import json
import struct
import sys
import wave
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from toys.wraps import (
    BillsACutReplyAsWhole,
    BillsTwice,
    BuffersTheStream,
    DropsTheLastEvent,
    LetsUsageFall,
    OutlivesACancel,
    SwapsTwoCalls,
    TrustsTheEngine,
    Wrapped,
    changes_the_request,
    loose,
    spoilt,
    tells_a_secret,
)

from modgate.plugin import (
    GatewayError,
    Json,
    Modality,
    Sample,
)
from modgate.testing import Contract, Rig
from modgate.testing.rig import Incomplete
from modgate.testing.suite import played

PLUGINS = Path(__file__).parents[3] / "plugins"
NAMES = ("asr", "embedding", "llm", "ocr", "rerank", "tts", "vlm")


def dumps(value: Json) -> bytes:
    return json.dumps(value).encode()


def wav(seconds: int) -> bytes:
    """A hum, so that there is no silence to cut at."""
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(struct.pack("<hhhh", 0, 3000, 0, -3000) * (4000 * seconds))
    return written.getvalue()


SEGMENT: dict[str, Json] = {
    **{"id": 0, "seek": 0, "start": 1.0, "end": 2.5, "tokens": [1], "temperature": 0.0},
    **{"avg_logprob": -0.2, "compression_ratio": 1.2, "no_speech_prob": 0.01},
}
Plant = Callable[[type[Modality[Json]]], type[Modality[Json]]]
SAMPLES, CUT = (
    "test_a_sample_has_its_reply_and_its_usage",
    "test_a_cut_reply_costs_no_more_and_is_not_exact",
)
BUGS: dict[str, tuple[Plant, str]] = {
    "drops the last event": (lambda kind: spoilt(kind, DropsTheLastEvent), SAMPLES),
    "bills twice": (lambda kind: spoilt(kind, BillsTwice), SAMPLES),
    "swaps two calls": (lambda kind: spoilt(kind, SwapsTwoCalls), SAMPLES),
    "outlives a cancel": (
        lambda kind: spoilt(kind, OutlivesACancel),
        "test_a_cancelled_request_leaves_nothing_open",
    ),
    "trusts the engine's count": (
        lambda kind: spoilt(kind, TrustsTheEngine),
        "test_an_engine_cannot_change_what_the_gateway_counts",
    ),
    "bills a cut reply as whole": (lambda kind: spoilt(kind, BillsACutReplyAsWhole), CUT),
    "lets usage fall": (lambda kind: spoilt(kind, LetsUsageFall), "test_usage_never_falls"),
    "buffers the stream": (
        lambda kind: spoilt(kind, BuffersTheStream),
        "test_a_stream_is_relayed_as_it_comes",
    ),
    "changes the request": (
        lambda kind: spoilt(kind, before=changes_the_request),
        "test_shape_is_repeatable_and_leaves_the_request_alone",
    ),
    "tells a secret": (
        lambda kind: spoilt(kind, before=tells_a_secret),
        "test_a_planted_secret_reaches_no_output",
    ),
    "swaps members in split": (
        lambda kind: spoilt(kind, swap=True),
        "test_calls_that_share_a_trip_get_their_own",
    ),
    "takes unknown config keys": (loose, "test_defaults_build_and_unknown_keys_are_refused"),
}
ALONE = "its calls share no trips"
WHOLE = "it answers whole; nothing is streamed"
CANNOT: dict[tuple[str, str], str] = {
    ("embedding", "buffers the stream"): WHOLE,
    ("ocr", "buffers the stream"): WHOLE,
    ("rerank", "buffers the stream"): WHOLE,
    ("asr", "swaps members in split"): ALONE,
    ("llm", "swaps members in split"): ALONE,
    ("ocr", "swaps members in split"): ALONE,
    ("tts", "swaps members in split"): ALONE,
    ("vlm", "swaps members in split"): ALONE,
    ("vlm", "swaps two calls"): "a request of its samples is one call",
    ("llm", "trusts the engine's count"): "it counts nothing itself: tokens are the engine's",
    ("tts", "trusts the engine's count"): "its engine says audio, in which there are no numbers",
}
SPOKEN = "Here is the first of them, and it is not short. Here is the second one, which is longer."
ENGLISH = {"task": "transcribe", "language": "english", "duration": 5.0}
# What makes several calls, where the plugin's own samples make one: config, request, replies.
SEVERAL: dict[str, tuple[dict[str, Json], Sample]] = {
    "asr": (
        {"window_s": 5, "least_window_s": 3},
        Sample(
            path="/v1/audio/transcriptions",
            form={"model": "m", "file": ("a.wav", wav(12))},
            upstream=[
                dumps({**ENGLISH, "text": f" {word}.", "segments": [SEGMENT | {"text": word}]})
                for word in ("one", "two", "three")
            ],
        ),
    ),
    "rerank": (
        {"slice": 2},
        Sample(
            path="/v2/rerank",
            json={"model": "m", "query": "a fox", "documents": ["fox", "dog", "hen", "cow"]},
            upstream=[
                dumps({"results": [{"index": at, "relevance_score": s} for at, s in enumerate(ss)]})
                for ss in ((0.9, 0.2), (0.5, 0.1))
            ],
        ),
    ),
    "tts": (
        {"first_piece": 50},
        Sample(
            path="/v1/audio/speech",
            json={"model": "m", "voice": "alloy", "input": SPOKEN, "response_format": "pcm"},
            upstream=[[bytes([level, 0]) * 12_000] for level in (16, 64)],
        ),
    ),
}


@cache
def module(name: str) -> ModuleType:
    path = PLUGINS / name / "tests" / "test_contract.py"
    spec = spec_from_file_location(f"contract_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def contract(name: str, plant: Plant, config: Mapping[str, Json] | None = None) -> Contract:
    """A plugin's own contract with its modality spoilt."""
    made = module(name)
    kinds = [
        kind
        for kind in vars(made).values()
        if isinstance(kind, type) and issubclass(kind, Contract) and kind is not Contract
    ]
    kind = kinds[0]
    changed = {"modality": plant(kind.modality), "examples": 2, "__module__": made.__name__}
    changed |= {} if config is None else {"config": config}
    return type("Spoilt", (kind,), changed)()


def check(
    name: str,
    plant: Plant,
    rule: str,
    directory: Path,
    config: Mapping[str, Json] | None = None,
) -> None:
    directory.mkdir(exist_ok=True)
    method = getattr(contract(name, plant, config), rule)
    method(*([directory] if inspect.signature(method).parameters else []))


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_bug_in_a_plugin_breaks_its_contract(name: str, bug: str, tmp_path: Path) -> None:
    plant, rule = BUGS[bug]
    if (name, bug) in CANNOT or (bug == "swaps two calls" and name in SEVERAL):
        check(name, plant, rule, tmp_path)  # not in the samples: the day it is, this goes red
        return

    with pytest.raises((AssertionError, GatewayError)) as broken:
        check(name, plant, rule, tmp_path)

    assert str(broken.value), "a rule must say what is wrong"
    assert not isinstance(broken.value, Incomplete)


@pytest.mark.parametrize("name", SEVERAL)
def test_swapped_calls_are_seen_in_a_sample_of_several(name: str, tmp_path: Path) -> None:
    """With the honest plugin's own reply as what the sample promises."""
    config, asked = SEVERAL[name]
    honest = contract(name, lambda kind: kind)
    built = honest.modality(honest.modality.config_type.model_validate(config))
    with Rig(built, tmp_path) as rig:
        whole = played(rig, asked)
    reply: Json = whole.reply if name == "tts" else json.loads(whole.reply)
    sample = replace(asked, reply=reply, usage=whole.usage.units, exact=whole.usage.exact)
    more = {"samples": (sample,)}

    def plant(relay: type[Wrapped]) -> Plant:
        return lambda kind: type("Several", (spoilt(kind, relay),), more)

    assert len(whole.calls) > 1
    check(name, plant(Wrapped), SAMPLES, tmp_path / "clean", config)
    with pytest.raises((AssertionError, GatewayError)) as broken:
        check(name, plant(SwapsTwoCalls), SAMPLES, tmp_path / "spoilt", config)
    assert not isinstance(broken.value, Incomplete)


@pytest.mark.parametrize("rule", sorted({rule for _, rule in BUGS.values()}))
@pytest.mark.parametrize("name", NAMES)
def test_a_wrap_without_a_bug_keeps_the_contract(name: str, rule: str, tmp_path: Path) -> None:
    check(name, spoilt, rule, tmp_path)
