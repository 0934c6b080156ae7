"""The public API, proven by somebody who is not core: a plugin of its own modality, unit, surface
and dialect, as a wheel in an environment where no checkout is near, keeps its contract and serves.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, ClientTimeout, FormData, web
from workspace.test_wheels import build, install, run

if TYPE_CHECKING:
    from workspace.conftest import Member

pytestmark = pytest.mark.slow

PUBLIC = ("modgate.plugin", "modgate.kit", "modgate.testing")
TEXT = "Guten Morgen,\nwelt"
PIECE = 8  # characters that a call takes, so that the text is several


@pytest.fixture(scope="module")
def example(examples: list[Member]) -> Member:
    (found,) = [member for member in examples if member.name == "acme-translate"]
    return found


@pytest.fixture(scope="module")
def diarize(examples: list[Member]) -> Member:
    (found,) = [member for member in examples if member.name == "acme-diarize"]
    return found


@pytest.fixture(scope="module")
def bin_folder(
    core: Member, example: Member, diarize: Member, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An environment of three wheels, what they ask for, and what the test kit asks for."""
    folder = tmp_path_factory.mktemp("wheels")
    ours = (core, example, diarize)
    wheels = {member.name: build(member.folder, "wheel", folder) for member in ours}
    asked = [*example.project["dependencies"], *example.project["optional-dependencies"]["test"]]
    tested = replace(example, project={**example.project, "dependencies": asked})
    return install([core, tested, diarize], wheels, tmp_path_factory.mktemp("third"))


@pytest.fixture(scope="module")
def scaffolded(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the installed `modgate plugins new` writes, as a wheel in the same environment."""
    folder, to = tmp_path_factory.mktemp("new") / "acme-echo", tmp_path_factory.mktemp("wheel")
    run(bin_folder / "modgate", "plugins", "new", "acme-echo", folder, cwd=to)
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", bin_folder / "python", "install"]
    wheel = build(folder, "wheel", to)
    run(*pip, "--no-index", "--no-deps", "--no-compile", wheel, cwd=to)
    return folder


@pytest.mark.parametrize("name", ["acme-translate", "acme-diarize"])
def test_it_imports_nothing_of_modgate_that_is_not_public(
    name: str, examples: list[Member]
) -> None:
    (example,) = [member for member in examples if member.name == name]
    files = [*example.files(), *(example.folder / "tests").rglob("*.py")]
    found = {name for file in files for name in imported(file.read_text())}

    assert found
    assert [name for name in found if not name.startswith(PUBLIC)] == []


def imported(source: str) -> Iterator[str]:
    """What a file imports of modgate, however late."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.split(".")[0] == "modgate")


def test_no_checkout_is_near(bin_folder: Path, tmp_path: Path) -> None:
    script = "import acme_translate, modgate, sys; print(modgate.__file__, acme_translate.__file__)"
    files = run(bin_folder / "python", "-I", "-c", script, cwd=tmp_path).split()

    assert [file for file in files if not Path(file).is_relative_to(bin_folder.parent)] == []


def test_it_keeps_its_contract_where_only_wheels_are(
    bin_folder: Path, example: Member, tmp_path: Path
) -> None:
    assert kept(bin_folder, example.folder, tmp_path) > 40


def test_diarisation_keeps_its_contract_and_finds_three_speakers(
    bin_folder: Path, diarize: Member, tmp_path: Path
) -> None:
    assert kept(bin_folder, diarize.folder, tmp_path) > 40


def test_a_new_plugin_keeps_its_contract_as_it_was_written(
    bin_folder: Path, scaffolded: Path, tmp_path: Path
) -> None:
    assert kept(bin_folder, scaffolded, tmp_path) > 25


def test_one_command_says_of_what_is_installed_which_rules_hold(
    bin_folder: Path, scaffolded: Path, tmp_path: Path
) -> None:
    said = run(bin_folder / "modgate", "plugins", "test", "echo", cwd=tmp_path).splitlines()

    assert said[0] == "modality echo  acme-echo 0.1.0"
    assert re.fullmatch(r"\d\d holds, 0 broken, 4 not checked", said[-1])
    assert "  holds        a cancelled request leaves nothing open" in said


def kept(bin_folder: Path, plugin: Path, folder: Path) -> int:
    """How many tests of an installed plugin pass where its sources are not; none fails."""
    shutil.copytree(plugin / "tests", folder / "tests")
    shutil.copy(plugin / "pyproject.toml", folder)
    command = [bin_folder / "python", "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    said = run(*command, cwd=folder)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert not re.search(r"failed|error|skipped|xfailed", said), said
    return int(passed[1])


@dataclass(frozen=True, kw_only=True)
class Site:
    """A gateway to be: its commands, its file and where it may write."""

    bin: Path
    folder: Path
    config: Path

    def modgate(self, *words: str) -> str:
        """What a command of the installed wheel prints."""
        return run(self.bin / "modgate", *words, "--config", self.config, cwd=self.folder)


@pytest.fixture
def site(bin_folder: Path, tmp_path: Path) -> Site:
    (tmp_path / "pepper").write_text("a pepper of a third party's test")
    return Site(bin=bin_folder, folder=tmp_path, config=configured(tmp_path, "http://127.0.0.1:9"))


TRANSLATE = f"""
        [plugin.translate]
        piece = {PIECE}
        [model.any-to-any]
        modality = "translate"
        [[backend]]
        name = "libre-1"
        family = "libretranslate"
        url = "ENGINE"
        serves = {{ any-to-any = "libretranslate" }}
"""
ECHO = """
        [plugin.echo]
        [model.mine]
        modality = "echo"
        [[backend]]
        name = "engine-1"
        family = "echo-engine"
        url = "ENGINE"
        serves = { mine = "vendor-1" }
"""


def configured(folder: Path, engine: str, what: str = TRANSLATE) -> Path:
    path = folder / "modgate.toml"
    path.write_text(f"""
        [listen]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        [state]
        directory = "{folder / "state"}"
        [auth]
        pepper = {{ file = "{folder / "pepper"}" }}
        {what.replace("ENGINE", engine)}
        [tenant.acme]
        keys = {{ file = "{folder / "acme.keys"}" }}
    """)
    return path


def made_key(site: Site) -> str:
    """A key as an operator makes it; its line goes to the tenant's file."""
    said = site.modgate("keys", "new", "acme")
    (key,) = re.findall(r"^key: +(\S+)$", said, re.MULTILINE)
    (line,) = re.findall(r"^line: (.+)$", said, re.MULTILINE)
    (site.folder / "acme.keys").write_text(line + "\n")
    return str(key)


def test_the_gateway_lists_it_as_one_of_its_own(site: Site, example: Member) -> None:
    made_key(site)
    lines = site.modgate("plugins").splitlines()

    (first,) = [line for line in lines if line.startswith("translate ")]
    assert first.split() == [
        *("translate", example.name, example.project["version"], "API", "v1", "on")
    ]
    assert [" ".join(line.split()) for line in lines[lines.index(first) + 1 :]] == [
        "modality translate; units characters",
        "POST /v1/translate",
        "dialect libretranslate of translate",
        "surface acme",
    ]


def libretranslate(asked: Any) -> Any:
    """An engine that translates by shouting."""
    return {"translatedText": asked["q"].strip().upper()}


@asynccontextmanager
async def engine(path: str, answer: Callable[[Any], Any], seen: list[Any]) -> AsyncIterator[str]:
    """An engine that writes down what it is asked."""

    async def answered(request: web.Request) -> web.Response:
        asked = await request.json()
        seen.append(asked)
        return web.json_response(answer(asked))

    app = web.Application()
    app.router.add_post(path, answered)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    """`modgate serve FILE`; the address."""
    async with serving(site, str(site.config)) as said:
        yield found(r"http://127\.0\.0\.1:\d+", said)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[0]


@asynccontextmanager
async def serving(site: Site, *words: str, until: str = "http://") -> AsyncIterator[str]:
    """`modgate serve` as a process of its own; when the block ends, it must leave well."""
    process = await asyncio.create_subprocess_exec(
        *(site.bin / "modgate", "serve", *words),
        cwd=site.folder,
        env={"PATH": os.defpath, "HOME": str(site.folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        said = ""
        async with asyncio.timeout(30):
            while until not in said and (line := await process.stdout.readline()):
                said += line.decode()
        yield said
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_request_is_served_in_its_words_and_billed_in_its_unit(site: Site) -> None:
    key, seen = made_key(site), list[Any]()
    body = {"model": "any-to-any", "text": TEXT, "to": "en"}
    session = ClientSession(timeout=ClientTimeout(total=20))
    async with engine("/translate", libretranslate, seen) as address, session as client:
        configured(site.folder, address)
        async with served(site) as url:
            sent = {"Authorization": f"Bearer {key}"}
            async with client.post(f"{url}/v1/translate", json=body) as reply:
                stranger, refusal = reply.status, await reply.json()
            async with client.post(f"{url}/v1/translate", json=body, headers=sent) as reply:
                status, answer, headers = reply.status, await reply.json(), reply.headers
            async with client.get(f"{url}/v1/models", headers=sent) as reply:
                models = await reply.json()
    billed = {row["unit"]: row for row in json.loads(site.modgate("usage", "--json"))}

    assert stranger == 401
    assert refusal.keys() == {"fault", "said", "field", "request"}
    assert (status, answer) == (200, {"text": TEXT.upper(), "characters": len(TEXT)})
    assert f"characters={len(TEXT)}" in headers["x-modgate-units"]
    assert [model["id"] for model in models["data"]] == ["any-to-any"]
    assert sorted(asked["q"] for asked in seen) == ["Guten ", "Morgen,\n", "welt"]
    assert [asked for asked in seen if asked.keys() != {"q", "source", "target", "format"}] == []
    characters = billed["translate.characters"]
    assert (characters["amount"], characters["requests"]) == (len(TEXT), 1)
    assert (characters["tenant"], characters["model"]) == ("acme", "any-to-any")
    assert characters["exact"]
    assert billed["translate.requests"]["amount"] == 1


@pytest.mark.usefixtures("scaffolded")
async def test_a_new_plugin_is_served_as_it_was_written(site: Site) -> None:
    key, seen = made_key(site), list[Any]()
    body = {"model": "mine", "text": "good morning", "loud": True}
    sent = {"Authorization": f"Bearer {key}"}
    answer = {"output": "Good morning", "took": 0.1}
    session = ClientSession(timeout=ClientTimeout(total=20))
    async with engine("/run", lambda asked: answer, seen) as address, session as client:
        configured(site.folder, address, ECHO)
        async with (
            served(site) as url,
            client.post(f"{url}/v1/echo", json=body, headers=sent) as reply,
        ):
            status, said, units = reply.status, await reply.json(), reply.headers

    assert (status, said) == (200, {"text": "Good morning", "characters": 12})
    assert "characters=12" in units["x-modgate-units"]
    assert seen == [{"model": "vendor-1", "input": "good morning", "loud": True}]


async def test_three_speakers_are_found_by_a_gateway_without_a_file(
    site: Site, diarize: Member, tmp_path: Path
) -> None:
    """Two decoder processes and the plugin's own engine, in an environment of wheels."""
    spec = spec_from_file_location("voices", diarize.folder / "tests" / "voices.py")
    assert spec is not None
    assert spec.loader is not None
    voices = sys.modules["voices"] = module_from_spec(spec)
    spec.loader.exec_module(voices)
    turns = [(0, 3.0), (1, 2.5), (2, 2.0), (0, 2.0), (2, 2.5)]
    form = FormData({"model": "diarize-1"})
    form.add_field("file", voices.wav(voices.meeting(turns, 0.4, seed=5)), filename="talk.wav")
    local = ("--only", "diarize", "--directory", str(tmp_path / "state"))
    free = ("--address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0")
    async with serving(site, *local, *free, until="models load") as said:
        url = found(r"http://127\.0\.0\.1:\d+", said)
        sent = {"Authorization": f"Bearer {found(r'mg_[A-Za-z0-9_]+', said)}"}
        session = ClientSession(timeout=ClientTimeout(total=30))
        target = f"{url}/v1/audio/diarizations"
        async with session as client, client.post(target, data=form, headers=sent) as reply:
            status, answer, units = reply.status, await reply.json(), reply.headers

    assert status == 200, answer
    assert [each["speaker"] for each in answer["segments"]] == [
        f"speaker_{who + 1}" for who, _ in turns
    ]
    assert "audio_seconds=14" in units["x-modgate-units"]
    assert "windows=" in units["x-modgate-units"]
