"""From a file of receipts and a configuration to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modgate.api.model import Model
from modgate.sim.paces import Pace, shown, speeds_of
from modgate.sim.receipts import Past, read
from modgate.sim.replay import Play, replay
from modgate.sim.report import Report, report
from modgate.sim.sizes import Sized, size_of
from modgate.sim.trouble import Trouble

if TYPE_CHECKING:
    from modgate.snapshot.blueprint import Blueprint

LOAD_LEAST, LOAD_MOST = 0.01, 100.0


def simulate(
    file: Path, made: Blueprint, *, load: float = 1.0, paces: Sequence[Pace] = (), seed: int = 1
) -> Report:
    """Replay a file of receipts before the fleet of a configuration; Trouble for what cannot be."""
    if not LOAD_LEAST <= load <= LOAD_MOST:
        raise Trouble(f"--load is from {LOAD_LEAST} to {LOAD_MOST}, and not {load}")
    linked, modalities = made.linked, made.loaded.modalities
    with file.open("rb") as lines:
        receipts = read(lines, file.name)
    past: list[tuple[Past, Sized]] = []
    for each in receipts.past:
        _check(each, file.name, made)
        past.append((each, size_of(each, modalities[each.modality])))
    known = shown(past, modalities)
    speeds = speeds_of(linked.backends, _wanted(receipts.past, made), known, paces)
    play = Play(
        made=made,
        modalities=modalities,
        past=past,
        luck=known.luck,
        speeds=speeds,
        policies={tenant.name: tenant.policy for tenant in linked.tenants},
        load=load,
        seed=seed,
    )
    return report(play, replay(play), known, receipts.left_out)


def _check(past: Past, name: str, made: Blueprint) -> None:
    """The configuration can be asked for it at all."""
    place = f"{name}, line {past.line}"
    model: Model | None = made.linked.models.get(past.model)
    if model is None:
        known = ", ".join(sorted(made.linked.models)) or "none"
        text = f"the configuration has no model '{past.model}'; it has: {known}"
        raise Trouble(f"{place}: {text}")
    if model.modality != past.modality or past.modality not in made.loaded.modalities:
        text = f"'{past.model}' was of '{past.modality}', and is of '{model.modality}' there"
        raise Trouble(f"{place}: {text}")
    if not any(past.model in backend.serves for backend in made.linked.backends):
        raise Trouble(f"{place}: no backend of the configuration serves '{past.model}'")


def _wanted(past: Sequence[Past], made: Blueprint) -> Mapping[str, Sequence[str]]:
    """By backend, the modalities of what it may be asked for."""
    asked = {each.model: each.modality for each in past}
    return {
        backend.name: sorted({asked[model] for model in backend.serves if model in asked})
        for backend in made.linked.backends
    }
