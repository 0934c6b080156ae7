"""The contract of modgate, and what it cannot know: the words of OpenAI, and who is let through."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import ClientSession

import acme_moderation
from acme_moderation.classifier import Classifier, examples, features
from acme_moderation.config import Config, GuardConfig
from acme_moderation.modality import CATEGORIES, PATH, Moderation, OpenAI, scores_of
from acme_moderation.policy import Guard, texts_of
from modgate.plugin import (
    Allow,
    Ask,
    BadReply,
    Body,
    Call,
    Caller,
    Decision,
    Deny,
    Event,
    Json,
    Plan,
    Refused,
    Relay,
    Sample,
    Served,
    Units,
    Usage,
)
from modgate.testing import Contract, FakeBackend, PolicyCase, PolicyContract, Rig, Scripted

HELD_OUT = Path(__file__).parent / "held_out.txt"
HARM = "I will hurt you"


class TestModeration(Contract):
    modality = Moderation
    dialects = (OpenAI,)


def chat(*contents: Json) -> list[Call]:
    messages = [{"role": "user", "content": content} for content in contents]
    return [Call(path="/v1/chat/completions", body=Body.of(model="m", messages=messages))]


class TestGuard(PolicyContract):
    policy = Guard
    config = {"model": "judge"}
    cases = (
        PolicyCase(
            calls=chat("hello"), answers=[[b'{"scores":[{"violence":0.1}]}']], decision=Allow()
        ),
        PolicyCase(
            calls=chat(HARM, [{"type": "text", "text": "hello"}]),
            answers=[[b'{"scores":[{"violence":0.9},{"violence":0.0}]}']],
            decision=Deny,
        ),
        PolicyCase(calls=chat(""), decision=Allow()),
        PolicyCase(
            calls=[Call(path="/v1/completions", body=Body.of(prompt=[1, 2, 3]))], decision=Deny
        ),
    )


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.trained(examples())


def test_what_the_readme_says_of_the_classifier_is_so(classifier: Classifier) -> None:
    lines = [line.split("\t") for line in HELD_OUT.read_text().splitlines() if line[0] != "#"]
    found: Counter[tuple[bool, bool]] = Counter()
    for label, sentence in lines:
        flagged = max(classifier.scores(sentence).values()) >= 0.5
        found[label != "fine", flagged] += 1

    assert found[True, True] == 15
    assert found[True, False] == 4
    assert found[False, True] == 1
    assert found[False, False] == 18
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert "15 of 19" in readme
    assert "1 of 19" in readme


def test_no_held_out_sentence_was_learned_from() -> None:
    learned = {" ".join(found) for _, found in examples()}
    lines = [line.split("\t") for line in HELD_OUT.read_text().splitlines() if line[0] != "#"]

    assert [text for _, text in lines if " ".join(features(text)) in learned] == []


def test_a_text_is_as_bad_as_its_worst_sentence(classifier: Classifier) -> None:
    bad = "You are an idiot and everybody here knows it."
    padded = "Thank you for the recipe. " * 50 + bad

    assert classifier.scores(padded)["harassment"] == classifier.scores(bad)["harassment"] > 0.5
    assert max(classifier.scores("").values()) == 0.0


def test_two_trainings_give_the_same(classifier: Classifier) -> None:
    assert Classifier.trained(examples()).scores(HARM) == classifier.scores(HARM)


def replied(tmp_path: Path, given: Json, scores: list[dict[str, float]], **facts: Json) -> Json:
    sample = Sample(path=PATH, json={"model": "omni", "input": given}, facts=facts)
    with Rig(Moderation(Config()), tmp_path) as rig:
        played = rig.drive(rig.plan(sample)).play(
            lambda index, call: [Event(json.dumps({"scores": scores}).encode())]
        )
    return json.loads(played.reply)


def test_a_reply_has_every_category_that_a_client_of_openai_looks_for(tmp_path: Path) -> None:
    said = replied(tmp_path, [HARM, "hello"], [{"violence": 0.9, "spam": 0.6}, {"violence": 0.1}])
    first, second = said["results"]

    assert said["model"] == "omni"
    assert said["id"].startswith("modr-")
    assert set(CATEGORIES) | {"spam"} == first["categories"].keys()
    assert first["categories"].keys() == first["category_scores"].keys()
    assert [name for name, over in first["categories"].items() if over] == ["violence", "spam"]
    assert (first["flagged"], second["flagged"]) == (True, False)


def test_the_threshold_is_a_fact_of_the_model(tmp_path: Path) -> None:
    [result] = replied(tmp_path, HARM, [{"violence": 0.6}], threshold=0.7)["results"]

    assert not result["flagged"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "input"),
        ([], "input"),
        ([1, 2], "input"),
        (["a", {"type": "text", "text": "b"}], "input"),
        ([{"type": "image_url", "image_url": {"url": "data:,"}}], "input"),
        ([{"type": "text"}], "input"),
        ("x" * 200_001, "input"),
        (["x"] * 129, "input"),
    ],
)
def test_what_it_cannot_judge_is_refused(tmp_path: Path, given: Json, field: str) -> None:
    with pytest.raises(Refused) as refused:
        replied(tmp_path, given, [])

    assert refused.value.field == field


@pytest.mark.parametrize(
    "said",
    ['{"scores":[]}', '{"scores":[{"violence":2}]}', '{"scores":[{"violence":"high"}]}', "[]"],
)
def test_another_reply_is_a_bad_one(said: str) -> None:
    with pytest.raises(BadReply):
        scores_of(Event(said.encode()), 1)


def test_openais_own_reply_is_understood() -> None:
    served = Served(asked="m", model="m", name="omni-moderation-latest")
    said = b'{"results":[{"flagged":true,"category_scores":{"violence":0.9}}]}'
    [event] = OpenAI(Call(path="/moderate", body=Body.of(input=["x"])), served).decode(Event(said))

    assert event.json() == {"scores": [{"violence": 0.9}]}


class Nothing(Relay):
    def feed(self, index: int, event: Event) -> list[bytes]:
        return []

    def usage(self, outcomes: object) -> Usage:
        return Usage(Units())


def planned(**body: Json) -> Plan:
    return Plan(calls=(Call(path="/v1/chat/completions", body=Body.of(**body)),), relay=Nothing())


def decided(
    plan: Plan, tmp_path: Path, said: list[dict[str, float]], **config: Json
) -> tuple[Decision, list[Ask]]:
    """What the policy decides when an engine says so, and what it asked."""
    guard = Guard(GuardConfig.model_validate({"model": "judge", **config}))
    with Rig(Moderation(Config()), tmp_path) as rig:
        request = rig.request(Sample(path=PATH, json={"model": "m", "input": "x"}))
    deciding = guard.decide(Caller(tenant="acme", key_id="k"), request, plan)
    asked: list[Ask] = []
    try:
        need = next(deciding)
        while True:
            asked.append(need)
            need = deciding.send([Event(json.dumps({"scores": said}).encode())])
    except StopIteration as stop:
        decision: Decision = stop.value
        return decision, asked


MESSAGES = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": [{"type": "text", "text": HARM}, {"type": "image_url"}]},
    {"role": "assistant", "content": None},
    {"role": "user", "content": HARM},
]


def test_every_text_of_a_chat_is_judged_once(tmp_path: Path) -> None:
    decision, [ask] = decided(planned(messages=MESSAGES), tmp_path, [{}, {"violence": 0.9}])
    [call] = ask.calls

    assert decision == Deny(
        code="content_policy_violation",
        message="the prompt was refused by a moderation model (violence); change it and try again",
        status=400,
    )
    assert json.loads(call.body.members()["input"]) == ["be kind", HARM]
    assert call.size == Units(characters=7 + len(HARM), inputs=2)
    assert call.model == "judge"


@pytest.mark.parametrize(
    ("config", "decision"),
    [
        ({}, "deny"),
        ({"threshold": 0.95}, "allow"),
        ({"categories": ["sexual"]}, "allow"),
        ({"categories": ["violence"], "status": 403}, "deny"),
    ],
)
def test_what_is_denied_is_the_operators_choice(
    tmp_path: Path, config: dict[str, Json], decision: str
) -> None:
    found, _ = decided(planned(prompt=HARM), tmp_path, [{"violence": 0.9}], **config)

    assert isinstance(found, Deny if decision == "deny" else Allow)
    if isinstance(found, Deny):
        assert found.status == config.get("status", 400)


def test_token_ids_are_refused_for_nobody_can_judge_them(tmp_path: Path) -> None:
    decision, asked = decided(planned(prompt=[1, 2, 3]), tmp_path, [])

    assert isinstance(decision, Deny)
    assert decision.code == "unsupported_input"
    assert asked == []


def test_no_text_is_nothing_to_ask_about(tmp_path: Path) -> None:
    assert texts_of(planned(messages=[{"role": "user", "content": ""}])) == []
    assert decided(planned(messages=[]), tmp_path, [])[0] == Allow()


async def test_it_is_served_by_a_gateway(gateway, fake_backend: FakeBackend) -> None:
    fake_backend.answer("/moderate", Scripted(reply=b'{"scores":[{"violence":0.9}]}'))
    served = await gateway("moderation", module=acme_moderation)
    async with (
        ClientSession() as client,
        client.post(f"{served.url}{PATH}", json={"input": HARM}, headers=served.headers) as reply,
    ):
        said, units = await reply.json(), reply.headers["x-modgate-units"]

    assert said["results"][0]["flagged"]
    assert said["model"] == "m"
    assert f"characters={len(HARM)}" in units
    assert "inputs=1" in units
