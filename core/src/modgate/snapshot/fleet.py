"""The fleet of a snapshot: its backends, the operator's preferences, filters and scorers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from modgate.api.discover import ConfiguredDiscoverer
from modgate.api.model import Model
from modgate.api.scorer import AnyAdviser, ConfiguredAdviser, Filter, Scorer
from modgate.api.select import Backend
from modgate.config.link import Linked
from modgate.config.schema_engines import ADDRESSES
from modgate.config.schema_queue import QueueSection
from modgate.fleet.claim import CLASS_WEIGHTS, QueueRules
from modgate.fleet.fleet import NO_PANELS, Fleet
from modgate.fleet.holding import Awaited
from modgate.fleet.panel import FilterVoice, Panel, ScorerVoice, Voice
from modgate.fleet.preferences import Preferences
from modgate.fleet.rng import Rng
from modgate.fleet.state import FleetState
from modgate.host.blame import blamed
from modgate.host.kinds import Kinds
from modgate.snapshot.demo import LOCAL_GROUP
from modgate.state import State

MICRO = 1_000_000
Voices = Mapping[str, FilterVoice | ScorerVoice]


def build_fleet(
    linked: Linked,
    kinds: Kinds[AnyAdviser],
    state: State,
    *,
    backends: Sequence[Backend],
    models: Iterable[Model],
) -> Fleet:
    """The fleet; PluginError for a filter or scorer that cannot be built."""
    panels = _panels(linked.scorers, _voices(linked.scorers, kinds, state), models, state)
    return fleet_of(
        linked,
        state.fleet,
        backends=backends,
        now=state.clock.now,
        panels=panels,
        wake=state.waker.wake,
    )


def fleet_of(
    linked: Linked,
    state: FleetState,
    *,
    backends: Sequence[Backend],
    now: Callable[[], float],
    rng: Rng | None = None,
    panels: Mapping[str, Panel] = NO_PANELS,
    wake: Callable[[ConfiguredDiscoverer, str], None] | None = None,
) -> Fleet:
    """The backends as the file wants them chosen; also for those who only simulate."""
    file, chains = linked.file, linked.chains
    costs = {each.name: each.cost_per_hour for each in file.backend}
    return Fleet(
        backends,
        state,
        groups={LOCAL_GROUP: file.local.slots or os.cpu_count() or 1},
        rng=rng,
        now=now,
        rules=_queue_rules(file.queue),
        preferences=Preferences(
            region=file.state.region or "",
            hardware=file.select.hardware,
            cost=file.select.cost,
            away=file.select.away,
            prices={name: cost.micro / MICRO for name, cost in costs.items() if cost is not None},
        ),
        weighed={*chains, *(each.model for links in chains.values() for each in links)},
        awaited=[
            Awaited(
                each.template,
                roams=each.kind not in ADDRESSES,
                wake=partial(wake, each) if wake and each.wake else None,
            )
            for each in linked.discoverers
        ],
        panels=panels,
    )


def _queue_rules(section: QueueSection) -> QueueRules:
    return QueueRules(
        calls=section.calls,
        body_bytes=section.body_bytes,
        work_s=section.work,
        share=section.share,
        weights={**CLASS_WEIGHTS, **section.weights},
        patience_s=section.patience,
        hold_s=section.hold,
        adaptive=section.adaptive,
    )


def _voices(
    configured: Sequence[ConfiguredAdviser], kinds: Kinds[AnyAdviser], state: State
) -> Voices:
    """Every section's, by its name."""

    def note(name: str, fault: str) -> None:
        state.scorer_faults.add((name, fault))

    found: dict[str, FilterVoice | ScorerVoice] = {}
    for each in configured:
        origin, kind = kinds[each.kind]
        voice = Voice(name=each.name, origin=str(origin), budget_s=each.budget_s, note=note)
        with blamed(origin):
            made = kind(each.config)
        if isinstance(made, Filter):
            found[each.name] = FilterVoice(voice=voice, keeps=made.keeps)
        elif isinstance(made, Scorer):
            found[each.name] = ScorerVoice(voice=voice, scores=made.scores, weight=each.weight)
    return found


def _panels(
    configured: Sequence[ConfiguredAdviser], voices: Voices, models: Iterable[Model], state: State
) -> dict[str, Panel]:
    """By model, those that see its calls, in the operator's order; a model without any has none."""
    panels = {}
    for model in models:
        own = [voices[each.name] for each in configured if model.name in each.models]
        if own:
            panels[model.name] = Panel(
                model.name,
                model.modality,
                filters=[each for each in own if isinstance(each, FilterVoice)],
                scorers=[each for each in own if isinstance(each, ScorerVoice)],
                vitals=state.board.vitals,
            )
    return panels
