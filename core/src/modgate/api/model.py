"""A name that clients may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

EVERY_MODEL = frozenset({"modality", "aliases", "on_disconnect", "fallback"})
SHOWN_AT_MOST = 80
MARK = "modgate-model"  # of a type in a config, beside the modality of the model that it names


class ModelFacts(BaseModel, frozen=True, extra="forbid"):
    """What a modality knows of a model; a plugin's own facts type derives from this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as clients see it: `facts` is of the modality's `model_type`.

    `demo`: served by an embedded default model; said in `/v1/models` and in a reply header.
    `on_disconnect`: whether its engines stop or finish when a client leaves.
    `families`: of the engines that the configuration has for it, found ones too.
    """

    name: str
    modality: str
    aliases: Sequence[str] = ()
    facts: ModelFacts = field(default_factory=ModelFacts)
    demo: bool = False
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    note: str = ""
    says: Mapping[str, str] = field(default_factory=dict)
    families: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What a model must share with one that answers in its place: names of facts.

    `said`: those that nobody knows unless both say them, by which clients would notice the swap
    (whose vectors, which voices).  `equal`: those that must be the same, said or not.
    """

    said: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()


class Judging(Protocol):
    """A modality, as far as it says what stands in for what."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def stand_in(self) -> StandIn | None:
        """See `Modality`."""
        ...


def unsaid(rule: StandIn, model: Model) -> list[str]:
    """Facts that a model would have to say, and does not."""
    return [name for name in rule.said if getattr(model.facts, name) in (None, (), "")]


def unlike(modality: Judging, asked: Model, other: Model) -> str:
    """Why `other` must not answer in the place of `asked`; '' when it may."""
    rule = modality.stand_in
    if other.modality != asked.modality:
        return (
            f"'{other.name}' is of the modality {other.modality}, and this one of {asked.modality}"
        )
    if rule is None:
        return f"{modality.name} does not say what its models must share to stand in for each other"
    for model in (asked, other):
        if missing := unsaid(rule, model):
            names = " and ".join(f"`{name}`" for name in missing)
            return f"[model.{model.name}] must say its {names}, or nobody knows that they are alike"
    for name in (*rule.said, *rule.equal):
        mine, its = getattr(asked.facts, name), getattr(other.facts, name)
        if mine != its:
            return f"'{other.name}' has {name} = {_shown(its)}, and this one {_shown(mine)}"
    return ""


def _shown(fact: object) -> str:
    text = ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact)
    return text if len(text) <= SHOWN_AT_MOST else f"{text[:SHOWN_AT_MOST]}..."


NamedT = TypeVar("NamedT", bound=str)


class ModelName(str, Generic[NamedT]):
    """The name of another `[model.*]` entry in a plugin's own config, alone or in a list or table,
    checked when the config is linked.

    `ModelName[Literal["embedding"]]` in a config type says of which modality it must be.  So does
    `ModelName["embedding"]`, which type checkers take for the name of a type.
    """

    __slots__ = ()

    def __class_getitem__(cls, modality: object) -> object:
        from typing import Annotated, get_args

        from pydantic import BeforeValidator

        [name] = get_args(modality) or [modality]
        return Annotated[str, BeforeValidator(cls), (MARK, name)]
