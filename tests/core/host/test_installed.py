"""Finding plugins, without importing any."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from modgate.host.installed import Origin, find, origin_of, wanted
from modgate.problems import PluginError


def point(
    folder: Path, name: str, dist: str, *, group: str = "modgate.v1", value: str = "nosuch_module"
) -> EntryPoint:
    """The entry point of a distribution that lies in a folder, as importlib.metadata finds it."""
    info = folder / f"{dist.replace('-', '_')}-1.2.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    [found] = [each for each in Distribution.at(info).entry_points if each.name == name]
    return found


def test_an_origin_reads_name_distribution_version() -> None:
    origin = Origin(name="ocr", distribution="acme-ocr", version="1.0.0")

    assert str(origin) == "ocr (acme-ocr 1.0.0)"


def test_plugins_are_found_by_name_with_their_distribution(tmp_path: Path) -> None:
    found = find([point(tmp_path, "ocr", "acme-ocr"), point(tmp_path, "asr", "modgate-asr")])

    assert list(found.plugins) == ["asr", "ocr"]
    assert str(found.plugins["ocr"][0]) == "ocr (acme-ocr 1.2.0)"


def test_finding_imports_nothing(tmp_path: Path) -> None:
    before = set(sys.modules)

    find([point(tmp_path, "ocr", "acme-ocr", value="antigravity_of_modgate")])
    find()

    assert not {name for name in set(sys.modules) - before if name.startswith("modgate_")}


def test_the_seven_plugins_of_this_workspace_are_found() -> None:
    names = {"llm", "vlm", "asr", "tts", "ocr", "embedding", "rerank"}

    assert names <= set(find().plugins)


def test_a_plugin_of_another_api_is_listed_as_such_and_cannot_be_had(tmp_path: Path) -> None:
    found = find([point(tmp_path, "video", "acme-video", group="modgate.v2")])

    told = "needs API 2, and this modgate has API 1: take another version of acme-video than 1.2.0"
    assert found.newer == {"video": told}
    assert "video" not in found.plugins
    with pytest.raises(PluginError, match="plugin 'video' needs API 2"):
        wanted(found, ["video"])


def test_a_plugin_that_has_our_api_and_a_newer_one_is_ours(tmp_path: Path) -> None:
    old = point(tmp_path, "ocr", "acme-ocr")
    new = EntryPoint(name="ocr", value="acme_two", group="modgate.v2")

    found = find([old, new])

    assert list(found.plugins) == ["ocr"]
    assert found.newer == {}


def test_entry_points_of_other_projects_are_left_alone() -> None:
    strange = [
        EntryPoint(name="a", value="b", group="modgate.v1x"),
        EntryPoint(name="c", value="d", group="console_scripts"),
    ]

    found = find(strange)

    assert not found.plugins
    assert not found.newer


def test_a_missing_plugin_is_told_with_what_is_there(tmp_path: Path) -> None:
    found = find([point(tmp_path, "llm", "modgate-llm"), point(tmp_path, "asr", "modgate-asr")])

    with pytest.raises(PluginError) as caught:
        wanted(found, ["ocr"])

    assert str(caught.value) == "plugin 'ocr' is not installed; installed: asr, llm"


def test_a_name_that_two_distributions_claim_is_refused(tmp_path: Path) -> None:
    found = find([point(tmp_path, "asr", "modgate-asr"), point(tmp_path, "asr", "acme-asr")])

    with pytest.raises(PluginError) as caught:
        wanted(found, ["asr"])

    text = "plugin 'asr' is claimed by both acme-asr and modgate-asr; uninstall one"
    assert str(caught.value) == text


def test_a_clash_does_not_matter_while_the_plugin_is_off(tmp_path: Path) -> None:
    found = find(
        [
            point(tmp_path, "asr", "modgate-asr"),
            point(tmp_path, "asr", "acme-asr"),
            point(tmp_path, "llm", "modgate-llm"),
        ]
    )

    assert [str(origin) for origin, _ in wanted(found, ["llm"])] == ["llm (modgate-llm 1.2.0)"]


def test_the_operators_order_is_kept(tmp_path: Path) -> None:
    found = find([point(tmp_path, name, f"d-{name}") for name in ("asr", "llm", "ocr")])

    names = [origin.name for origin, _ in wanted(found, ["ocr", "asr", "llm"])]

    assert names == ["ocr", "asr", "llm"]


def test_an_entry_point_with_a_bad_name_cannot_be_had(tmp_path: Path) -> None:
    found = find([point(tmp_path, "Big-Name", "acme")])

    with pytest.raises(PluginError, match="bad name"):
        wanted(found, ["Big-Name"])


def test_an_entry_point_without_a_distribution_has_an_origin_all_the_same() -> None:
    lone = EntryPoint(name="ocr", value="x", group="modgate.v1")

    assert str(origin_of(lone)) == "ocr (? ?)"
