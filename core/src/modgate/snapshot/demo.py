"""The models and backends of the start without a file: one of each local engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modgate.api.engine import LocalEngine
from modgate.api.model import Model
from modgate.api.select import Backend
from modgate.engines.supervisor import EngineSpec
from modgate.host.load import Loaded

LOCAL_GROUP = "local"
DEMO_NOTE = "a demo model"


def local_engines(loaded: Loaded, only: Sequence[str] | None) -> Iterator[type[LocalEngine]]:
    """The local engines that run; `only`: of these modalities."""
    for modality, kinds in loaded.engines.items():
        yield from kinds if only is None or modality in only else ()


def demo_models(loaded: Loaded, only: Sequence[str] | None) -> dict[str, Model]:
    """Their models, by name."""
    return {kind.model: _demo_model(loaded, kind) for kind in local_engines(loaded, only)}


def _demo_model(loaded: Loaded, kind: type[LocalEngine]) -> Model:
    """The model that a local engine serves."""
    modality = loaded.modalities[kind.modality]
    return Model(
        name=kind.model,
        modality=kind.modality,
        aliases=tuple(kind.aliases),
        facts=modality.model_type.model_validate(dict(kind.facts)),
        demo=True,
        note=kind.note or DEMO_NOTE,
    )


def local_backend(kind: type[LocalEngine], socket: str) -> Backend:
    """The backend that its child process is."""
    return Backend(
        name=kind.model,
        family=kind.family,
        url="http://local",
        socket=socket,
        serves={kind.model: kind.model},
        slots=kind.slots,
        group=LOCAL_GROUP,
        local=True,
    )


def engine_specs(
    loaded: Loaded, kinds: Sequence[type[LocalEngine]], slots: int | None, data: Path
) -> list[EngineSpec]:
    """What runs as children, with the processor shared by `slots` calls at once."""
    cores = os.cpu_count() or 1
    return [
        EngineSpec(
            name=kind.model,
            engine=f"{kind.__module__}:{kind.__qualname__}",
            version=loaded.owners[kind.modality].version,
            data=data,
            threads=max(1, cores // (slots or cores)),
        )
        for kind in kinds
    ]
