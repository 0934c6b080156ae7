"""The documentation says what the code is: nothing public is left out, and no example is broken."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel
from workspace import pages

from modgate.config.decode import decode
from modgate.config.reference import table_of
from modgate.config.schema import STATIC, File
from modgate.config.schema_tenants import TenantSection
from modgate.config.source import Source
from modgate.config.values import TargetText
from modgate.plugin import Event
from modgate.problems import ConfigError
from modgate.snapshot.blueprint import blueprint_of
from modgate.testing import Rig
from modgate.testing.contract import rules
from modgate.testing.policy_contract import PolicyContract
from modgate.testing.transcript import transcripts

ROOT = pages.ROOT
HOW = "run: python tests/workspace/pages.py"
PROSE = sorted(
    [
        *(ROOT / "README.md", ROOT / "CHANGELOG.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "plugins").glob("*/README.md"),
    ],
    key=lambda path: path.as_posix(),
)
WHOLE_FILE = "# modgate.toml"  # a block that begins with this claims to be a whole file
RFD_PARTS = ["Question", "Decision", "Why", "Rejected", "Consequences", "Status"]
_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def _read(page: str) -> str:
    return (pages.FOLDER / page).read_text()


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    for path in PROSE:
        text = path.read_text()
        for block in _BLOCK.finditer(text):
            if block[2] == language:
                line = text.count("\n", 0, block.start()) + 1
                yield f"{path.relative_to(ROOT)}:{line}", textwrap.dedent(block[3])


def _said(name: str, text: str) -> bool:
    """As a word of its own: `streams` is not said by `max_streams`."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _keys(kind: type[BaseModel], at: str) -> Iterator[str]:
    """Every key below a section, with the path that leads there."""
    for name, info in kind.model_fields.items():
        yield f"{at}{name}"
        if (inner := table_of(info)) is not None:
            yield from _keys(inner, f"{at}{name}.")


def _section(page: str, heading: str) -> str:
    """A page's text from a second-level heading to the next."""
    _, found, rest = page.partition(f"\n## `{heading}`\n")
    return rest.partition("\n## ")[0] if found else ""


def test_the_reference_pages_are_what_the_code_makes_of_them() -> None:
    made = pages.pages()
    there = {path.name: path.read_text() for path in pages.FOLDER.iterdir()}

    assert "config.md" in made
    assert "api.txt" in made
    assert [name for name, text in made.items() if there.get(name) != text] == [], HOW
    assert there.keys() - made.keys() == set()


def test_every_hook_is_described_for_plugin_authors() -> None:
    tutorial = "".join(p.read_text() for p in (ROOT / "docs" / "plugin-authors").glob("*.md"))
    names = [hook.__name__ for hook in pages.hooks()]

    assert names
    assert [name for name in names if f"`{name}`" not in tutorial] == []


def test_every_key_of_the_file_is_in_the_configuration_reference() -> None:
    page = _read("config.md")
    keys = list(_keys(File, ""))
    missing = [
        key
        for key in keys
        if "." in key
        and f"| `{key.rpartition('.')[2]}` |" not in _section(page, key.partition(".")[0])
    ]

    assert len(keys) > 60
    assert missing == []
    assert [name for name in File.model_fields if f"\n## `{name}`\n" not in page] == []


def test_every_key_of_the_file_is_explained_to_operators() -> None:
    prose = "".join(p.read_text() for p in (ROOT / "docs" / "operators").glob("*.md"))
    sections = [f"[{n}]" for n in File.model_fields if n not in ("include", "plugin", "backend")]
    missing = [
        name for name in sections if name not in prose and name.replace("]", ".") not in prose
    ]

    assert missing == []


def test_every_key_of_a_plugin_and_of_its_models_is_documented() -> None:
    page, loaded = _read("plugins.md"), blueprint_of(None).loaded
    assert loaded.modalities

    for modality in loaded.modalities.values():
        fields = [*modality.config_type.model_fields, *modality.model_type.model_fields]

        assert [name for name in fields if f"| `{name}` |" not in page] == [], modality.name


def test_every_unit_of_an_installed_plugin_is_documented() -> None:
    page, loaded = _read("units.md"), blueprint_of(None).loaded
    units = [f"`{m.name}.{u.name}`" for m in loaded.modalities.values() for u in m.units]
    shown = [f"`{m.name}.{u.public}`" for m in loaded.modalities.values() for u in m.units]

    assert units
    assert [unit for unit in (*units, *shown) if unit not in page] == []


def test_only_engines_that_ran_are_called_supported() -> None:
    rows = [line for line in _read("engines.md").splitlines() if line.startswith("| `")]
    ran = {
        (each.family, " ".join(each.engine.split()), each.date)
        for path in (ROOT / "plugins").glob("*/tests/transcripts")
        for each in transcripts(path)
        if each.provenance == "captured"
    }
    called = [row.split(" | ") for row in rows if "supported" in row]

    assert rows
    assert {(row[0].strip("| `"), row[1], row[4][:10]) for row in called} == ran


SIDES = ("above_max", "below_min")


def test_every_error_code_is_documented() -> None:
    page = _read("errors.md")
    codes = {kind.code for kind in pages.error_classes()} | pages.refusal_codes()

    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in page) == []


def test_codes_that_are_put_together_are_seen() -> None:
    codes = pages.refusal_codes()

    assert {f"{kind}_{side}_value" for kind in ("integer", "number") for side in SIDES} <= codes
    assert "failed_to_download_image" in codes
    assert not [code for code in codes if not code.isidentifier()]


def test_every_command_and_option_is_documented() -> None:
    page = _read("commands.md")
    names = [name for name, _ in pages.commands()]
    options = {
        f"{name} {option}"
        for name, command in pages.commands()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and not _said(option, _section(page, name))
    }

    assert len(names) > 10
    assert [name for name in names if not _section(page, name)] == []
    assert options == set()


def test_every_endpoint_has_an_example_in_the_quickstart() -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text()
    modalities = blueprint_of(None).loaded.modalities.values()
    missing = [
        modality.name
        for modality in modalities
        if not any(endpoint.path in text for endpoint in modality.endpoints())
    ]

    assert missing == []


def test_every_modality_has_a_page_and_its_plugin_says_what_it_serves() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    missing = []
    for modality in blueprint_of(None).loaded.modalities.values():
        name = modality.name
        page = (ROOT / "docs" / "modalities" / f"{name}.md").read_text()
        plugin = (ROOT / "plugins" / name / "README.md").read_text()
        wanted = [f"(../../plugins/{name}/README.md)", f"(../reference/engines.md#{name})"]
        missing += [f"{name}: {each}" for each in wanted if each not in page]
        said = [endpoint.path for endpoint in modality.endpoints()]
        said += [f"`{name}.{unit.name}`" for unit in modality.units]
        said += list(modality.config_type.model_fields) + list(modality.model_type.model_fields)
        missing += [f"{name}: {each}" for each in said if not _said(each, plugin)]
        missing += [] if f"(modalities/{name}.md)" in index else [f"index: {name}"]

    assert missing == []


def test_every_name_in_the_readme_and_the_quickstart_is_served_by_the_fileless_start() -> None:
    engines = blueprint_of(None).loaded.engines
    served = {name for kinds in engines.values() for k in kinds for name in (k.model, *k.aliases)}
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "quickstart.md").read_text()
    asked = set(re.findall(r'model(?:=|"\s*:\s*)"?([\w.-]+)"?', text))

    assert len(asked) >= 7
    assert asked - served == set()


@pytest.mark.parametrize(("place", "text"), [pytest.param(*b, id=b[0]) for b in _blocks("toml")])
def test_a_toml_block_is_toml_and_a_whole_file_decodes(
    place: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **how: "a secret")
    values = tomllib.loads(text)
    if not text.startswith(WHOLE_FILE):
        return

    try:
        decode(Source(values=values))
    except ConfigError as error:
        pytest.fail(f"{place}: {error}")


GRANTS = [tomllib.loads(text)["tenant"] for _, text in _blocks("toml") if "[tenant." in text]


def test_the_tenants_of_the_pages_decode() -> None:
    assert len(GRANTS) >= 3
    for tenants in GRANTS:
        for section in tenants.values():
            TenantSection.model_validate(section)


def test_some_toml_block_is_a_whole_file() -> None:
    assert any(text.startswith(WHOLE_FILE) for _, text in _blocks("toml"))


@pytest.mark.parametrize(("place", "text"), [pytest.param(*b, id=b[0]) for b in _blocks("python")])
def test_a_python_block_compiles(place: str, text: str) -> None:
    compile(text, place, "exec")


def test_every_link_leads_to_a_file() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in PROSE
        for link in _LINK.findall(path.read_text())
        if not (path.parent / link).exists()
    ]

    assert broken == []


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}


def test_every_link_to_a_heading_leads_there() -> None:
    links = [
        (path, *link)
        for path in PROSE
        for link in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", path.read_text())
    ]
    broken = [
        f"{path.relative_to(ROOT)}: {page}#{anchor}"
        for path, page, anchor in links
        if anchor not in _anchors(path.parent / page if page else path)
    ]

    assert len(links) > 50
    assert broken == []


def test_decisions_are_numbered_without_gaps_and_have_all_their_parts() -> None:
    files = sorted((ROOT / "docs" / "rfd").glob("*.md"))
    numbers = [int(path.name[:4]) for path in files]

    assert numbers == list(range(1, len(files) + 1))
    for path in files:
        parts = re.findall(r"^## (\w+)$", path.read_text(), re.MULTILINE)

        assert parts == RFD_PARTS, path.name


def _imported(name: str) -> ModuleType:
    """A module that no later test will find."""
    try:
        return import_module(name)
    finally:
        for known in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[known]


def test_the_tutorials_plugin_answers_its_own_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _, text in _blocks("python"):
        if (found := re.match(r"# src/(acme_detect/\w+\.py)\n", text)) is not None:
            (tmp_path / found[1]).parent.mkdir(exist_ok=True)
            (tmp_path / found[1]).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = _imported("acme_detect")
    [kind] = module.modgate_modalities()
    [sample] = kind.samples

    with Rig(kind(kind.config_type()), tmp_path) as rig:
        played = rig.drive(rig.plan(sample)).play(lambda at, _: [Event(sample.upstream[at])])

    assert json.loads(played.reply) == sample.reply
    assert played.usage.units == sample.usage


def test_the_second_tutorial_shows_the_example_word_by_word() -> None:
    source = ROOT / "examples" / "modgate-diarize"
    shown = [
        (place, source / named[1], text[named.end() :])
        for place, text in _blocks("python")
        if (named := re.match(r"# (src/acme_diarize/\w+\.py)\n", text)) is not None
    ]
    there = {path: textwrap.dedent(path.read_text()) for _, path, _ in shown}
    missing = [
        place
        for place, path, text in shown
        if text not in there[path] and textwrap.indent(text, "    ") not in there[path]
    ]

    assert len(shown) > 6
    assert missing == []


def test_every_rule_of_the_contract_is_listed() -> None:
    page = (ROOT / "docs" / "plugin-authors" / "contract.md").read_text()

    assert sorted(set(rules()) ^ set(re.findall(r"`(test_\w+)`", page))) == []


def test_every_rule_of_a_policys_contract_is_listed() -> None:
    page = (ROOT / "docs" / "plugin-authors" / "policies.md").read_text()
    named = {name for name in dir(PolicyContract) if name.startswith("test_")}

    assert sorted(named ^ set(re.findall(r"`(test_\w+)`", page))) == []


def test_a_target_has_no_key_that_the_reference_hides() -> None:
    """`[slo]` is a table of tables of tables: the walk above must reach its end."""
    section = _section(_read("config.md"), "slo")

    assert [name for name in TargetText.model_fields if f"`{name}`" not in section] == []


def test_the_page_of_reloads_and_the_reference_say_what_takes_a_restart() -> None:
    page = (ROOT / "docs" / "operators" / "configuration.md").read_text()
    told = page[page.index("These take a restart") :]
    reference = _read("config.md")

    for each in STATIC:
        section, _, key = each.rpartition(".")
        whole = f"`[{each}]`" in told
        assert whole or (f"`{key}`" in told and f"`[{section}]`" in told), each
        if whole:
            [about] = re.findall(rf"^#+ `{each}`\n\n(.*)$", reference, re.MULTILINE)
            assert about.endswith("Static."), each
