"""Linking the ledger's sinks: kinds that somebody brings, each with its own keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from modgate.api.secret import Secret
from modgate.config.guess import did_you_mean
from modgate.config.lines import Path
from modgate.config.mistakes import Mistakes
from modgate.config.schema_ledger import LedgerSection, SinkSection

DEFAULT = SinkSection(kind="sqlite")
SEGMENTS_LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOf:
    """A sink of the file.

    `name` is its kind, with a number where there are several.  `path`: its section.  `region`:
    where it stands; None: on this machine, of which nothing was said.
    """

    name: str
    path: Path
    kind: str
    config: BaseModel
    region: str | None = None
    password: Secret | None = None


def region_of(sink: SinkSection, here: str | None) -> str | None:
    """Where a sink stands: a file, if nothing else is said, with the gateway."""
    if sink.region is not None:
        return sink.region
    return here if sink.kind == DEFAULT.kind else ""


def linked_sinks(
    section: LedgerSection,
    here: str | None,
    kinds: Mapping[str, type[BaseModel]],
    mistakes: Mistakes,
) -> tuple[SinkOf, ...]:
    """The sinks of the file; `kinds`: the type of their keys, `here`: where the gateway stands."""
    if section.max_bytes < SEGMENTS_LEAST * section.segment:
        done = "dropped" if section.on_full == "drop-oldest" else "moved away"
        text = f"less than two segments: none could be {done}; raise it, or lower ledger.segment"
        mistakes.wrong(("ledger", "max_bytes"), text)
    found: dict[str, SinkOf] = {}
    for index, each in enumerate((DEFAULT,) if section.sink is None else section.sink):
        path = ("ledger", "sink", index)
        if each.kind not in kinds:
            text = f"no sink '{each.kind}'{did_you_mean(each.kind, kinds)}"
            mistakes.wrong((*path, "kind"), text)
            continue
        name = each.kind if each.kind not in found else f"{each.kind}-{index + 1}"
        said, also = each.model_extra or {}, SinkSection.model_fields
        config = mistakes.keys(path, kinds[each.kind], said, also)
        if config is None:
            continue
        found[name] = SinkOf(
            name=name,
            path=path,
            kind=each.kind,
            config=config,
            region=region_of(each, here),
            password=each.password,
        )
    return tuple(found.values())
