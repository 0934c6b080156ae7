"""A third party's policy, proven by somebody who is not core: `examples/modgate-moderation` as a
wheel beside `modgate` and `modgate-llm`, with its own classifier as an engine of its own.

The chat engine is scripted and says what it was sent; the bill is read by the installed command.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oracle.engine import ScriptedEngine
from sdks import openai
from servers import free_port
from workspace.test_third_party import Site, configured, found, kept, made_key, serving
from workspace.test_wheels import build, install, run

if TYPE_CHECKING:
    from workspace.conftest import Member

pytestmark = pytest.mark.slow

BAD, FINE = "I will kill him tomorrow", "what is the capital of Mongolia"
CODE = "content_policy_violation"
GUARDED = """
        [plugin.llm]
        [plugin.moderation]
        [model.chat]
        modality = "llm"
        [model.judge]
        modality = "moderation"
        [[backend]]
        name = "llm-1"
        url = "ENGINE"
        serves = {{ chat = "vendor-1" }}
        [[backend]]
        name = "judge-1"
        url = "{judge}"
        serves = {{ judge = "sentences" }}
        [policy.moderation]
        model = "judge"
        {more}
"""


@pytest.fixture(scope="module")
def moderation(examples: list[Member]) -> Member:
    (member,) = [each for each in examples if each.name == "acme-moderation"]
    return member


@pytest.fixture(scope="module")
def bin_folder(
    core: Member,
    plugins: list[Member],
    moderation: Member,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An environment of three wheels, and what these and the test kit ask for."""
    (llm,) = [member for member in plugins if member.name == "modgate-llm"]
    folder, ours = tmp_path_factory.mktemp("wheels"), (core, llm, moderation)
    wheels = {member.name: build(member.folder, "wheel", folder) for member in ours}
    project = moderation.project
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    tested = replace(moderation, project={**project, "dependencies": asked})
    return install([core, llm, tested], wheels, tmp_path_factory.mktemp("guarded"))


@pytest.fixture(scope="module")
def first(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Where the key of all sites is made."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "pepper").write_text("a pepper of a third party's test")
    nobody = f"http://127.0.0.1:{free_port()}"
    config = configured(folder, nobody, GUARDED.format(judge=nobody, more=""))
    return Site(bin=bin_folder, folder=folder, config=config)


@pytest.fixture(scope="module")
def key(first: Site) -> str:
    """Of the one tenant."""
    return made_key(first)


@pytest.fixture
def site(first: Site, key: str, tmp_path: Path) -> Site:
    """A gateway to be, which knows the key."""
    assert key
    for name in ("pepper", "acme.keys"):
        shutil.copy(first.folder / name, tmp_path)
    return replace(first, folder=tmp_path, config=tmp_path / "modgate.toml")


@pytest.fixture(scope="module")
def judge(bin_folder: Path) -> Iterator[str]:
    """The installed classifier as a server of its own; the address."""
    command = [bin_folder / "acme-moderation", "--port", "0"]
    alone = {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=alone, text=True) as process:
        assert process.stdout is not None
        yield found(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        process.kill()


def test_it_keeps_its_contract_where_only_wheels_are(
    bin_folder: Path, moderation: Member, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text((moderation.folder / "README.md").read_text())

    assert kept(bin_folder, moderation.folder, tmp_path) > 50


def test_its_policy_is_listed(site: Site) -> None:
    lines = [
        " ".join(line.split())
        for line in run(site.bin / "modgate", "plugins", cwd=site.folder).splitlines()
    ]

    assert "modality moderation; units characters, inputs" in lines
    assert "policy moderation" in lines


async def test_openais_sdk_reads_what_its_own_engine_says_without_a_file(site: Site) -> None:
    local = ("--only", "moderation", "--directory", str(site.folder / "state"))
    free = ("--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0")
    async with serving(site, *local, *free, until="models load") as said:
        url, key = found(r"http://127\.0\.0\.1:\d+", said), found(r"mg_[A-Za-z0-9_]+", said)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client:
            judged = await client.moderations.create(input=[BAD, FINE])
            named = await client.moderations.create(input=BAD, model="omni-moderation-latest")

    assert [result.flagged for result in judged.results] == [True, False]
    assert judged.results[0].categories.violence
    assert judged.results[0].category_scores.violence > 0.5
    assert not judged.results[0].categories.hate_threatening
    assert judged.id.startswith("modr-")
    assert named.model == "omni-moderation-latest"
    assert named.results[0].flagged


@asynccontextmanager
async def guarded(
    site: Site, key: str, chat: ScriptedEngine, judge: str, more: str = ""
) -> AsyncIterator[openai.AsyncOpenAI]:
    """A gateway whose chats are judged there, and a client of it."""
    configured(site.folder, chat.url, GUARDED.format(judge=judge, more=more))
    async with serving(site, str(site.config)) as said:
        url = found(r"http://127\.0\.0\.1:\d+", said)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            yield client


async def chatted(client: openai.AsyncOpenAI, text: str, *, stream: bool = False) -> str:
    """A chat's text, or the code that it was refused with."""
    messages: Any = [{"role": "user", "content": text}]
    try:
        if not stream:
            whole = await client.chat.completions.create(model="chat", messages=messages)
            return whole.choices[0].message.content or ""
        pieces = await client.chat.completions.create(model="chat", messages=messages, stream=True)
        return "".join(
            [each.choices[0].delta.content or "" async for each in pieces if each.choices]
        )
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.code}"


def billed(site: Site) -> dict[str, int]:
    """What `modgate usage` tells, by unit, bytes aside."""
    rows = json.loads(site.modgate("usage", "--json"))
    return {row["unit"]: row["amount"] for row in rows if "bytes" not in row["unit"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_is_judged_before_a_chat_model_sees_it(
    site: Site, key: str, judge: str, stream: bool
) -> None:
    async with ScriptedEngine() as chat:
        async with guarded(site, key, chat, judge) as client:
            denied = await chatted(client, BAD, stream=stream)
            seen = len(chat.records)
            allowed = await chatted(client, FINE, stream=stream)
        written = chat.records[0].wrote["llm.output_tokens"]
        calls = len(chat.records)
    bill = billed(site)

    assert denied == f"400 {CODE}"
    assert seen == 0
    assert (calls, allowed[:1].isalnum()) == (1, True)
    assert bill["moderation.characters"] == len(BAD) + len(FINE)
    assert bill["moderation.inputs"] == 2
    assert bill["llm.output_tokens"] == written


async def test_other_routes_of_chat_are_judged_by_the_same_policy(
    site: Site, key: str, judge: str
) -> None:
    async with ScriptedEngine() as chat:
        async with guarded(site, key, chat, judge, "status = 403") as client:
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await client.responses.create(model="chat", input=BAD)
            with pytest.raises(openai.PermissionDeniedError):
                await client.completions.create(model="chat", prompt=BAD)
        calls = list(chat.records)

    assert refused.value.code == CODE
    assert "violence" in refused.value.message
    assert BAD not in refused.value.message
    assert calls == []


@pytest.mark.parametrize(("on_failure", "said"), [("open", "200"), ("closed", "503 policy_failed")])
async def test_a_classifier_that_is_down_lets_through_or_refuses_as_the_section_says(
    site: Site, key: str, on_failure: str, said: str
) -> None:
    nobody, more = f"http://127.0.0.1:{free_port()}", f'on_failure = "{on_failure}"'
    async with ScriptedEngine() as chat:
        async with guarded(site, key, chat, nobody, more) as client:
            answer = await chatted(client, BAD)
        calls = len(chat.records)
    bill = billed(site)

    assert answer.startswith("503") == (on_failure == "closed")
    assert said == "200" or answer == said
    assert calls == (1 if on_failure == "open" else 0)
    assert "moderation.characters" not in bill
    assert ("llm.output_tokens" in bill) == (on_failure == "open")


async def test_in_shadow_it_is_judged_billed_and_counted_and_nobody_is_refused(
    site: Site, key: str, judge: str
) -> None:
    async with ScriptedEngine() as chat:
        async with guarded(site, key, chat, judge, "shadow = true") as client:
            answer = await chatted(client, BAD)
        calls = len(chat.records)
    bill = billed(site)

    assert (calls, answer[:1].isalnum()) == (1, True)
    assert bill["moderation.characters"] == len(BAD)
