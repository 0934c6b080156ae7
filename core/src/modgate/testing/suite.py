"""What every rule of the contract stands on: the class attributes that an author sets, and ways to
play samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings

from modgate.api.dialect import Dialect
from modgate.api.json import Json
from modgate.api.modality import AnyModality, Sample
from modgate.api.plan import Call
from modgate.api.relay import Event
from modgate.api.surface import Surface
from modgate.testing.drive import Drive, Played
from modgate.testing.guards import no_waiting
from modgate.testing.rig import Incomplete, Rig, events_of

POSITIONS_AT_MOST = 24


class Suite:
    """The settings of a contract.

    `config`, `facts`: of the plugin and of every sample's model, where the defaults will not do.
    `surfaces`, `dialects`: the plugin's own.  `transcripts`: the folder of golden transcripts; None
    = `transcripts` beside the contract's file, where there is one.  `examples`: of each fuzz, for
    all samples of an endpoint together.  `flow`: the share of a stream's events after which bytes
    must have come out.
    `xfail`: rule -> why it does not hold.
    """

    modality: ClassVar[type[AnyModality]]
    config: ClassVar[Mapping[str, Json]] = {}
    facts: ClassVar[Mapping[str, Json]] = {}
    surfaces: ClassVar[Sequence[type[Surface]]] = ()
    dialects: ClassVar[Sequence[type[Dialect]]] = ()
    transcripts: ClassVar[Path | str | None] = None
    examples: ClassVar[int] = 100
    flow: ClassVar[float] = 0.5
    xfail: ClassVar[Mapping[str, str]] = {}

    def engine(self, call: Call) -> bytes:
        """What an engine answers to any call in the home wire; wanted where endpoints batch.

        Pure, and different for different inputs; with exact counts where the wire has a place.
        """
        raise Incomplete(f"an endpoint batches: {type(self).__name__} must define engine(call)")

    def meaning(self, played: Played) -> object:
        """What of a reply must not depend on where the network cut: by default every byte.

        A plugin that frames raw chunks anew answers their joined content.
        """
        return played.reply

    def built(self) -> AnyModality:
        """The modality as the host makes it."""
        return self.modality(self.modality.config_type.model_validate(self.config))

    @contextmanager
    def rig(self, directory: Path) -> Iterator[Rig]:
        """A rig in which no code of the plugin can open a socket."""
        built = self.built()
        with Rig(
            built, directory, facts=self.facts, surfaces=self.surfaces, around=no_waiting
        ) as rig:
            yield rig

    def samples(self) -> Iterator[tuple[str, Sample]]:
        """The samples, each with a name for messages."""
        samples: object = self.modality.samples
        if not isinstance(samples, tuple | list) or not all(isinstance(x, Sample) for x in samples):
            raise Incomplete(f"the samples of {self.modality.__name__} are no tuple of Sample")
        for index, sample in enumerate(self.modality.samples):
            yield f"sample {index} ({sample.path})", sample

    def share(self, sample: Sample) -> int:
        """How many of `examples` a sample gets."""
        others = sum(1 for each in self.modality.samples if each.path == sample.path)
        return max(1, self.examples // others, min(10, self.examples))


def fuzzed(examples: int) -> settings:
    """So many examples, the same ones each time, however long they take."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def require(claim: bool, because: str) -> None:
    """The claim holds, or the rule is broken."""
    if not claim:
        raise AssertionError(because)


def replies(sample: Sample) -> Callable[[int, Call], list[Event]]:
    """The upstream replies of a sample, by call."""

    def reply(index: int, call: Call) -> list[Event]:
        if index >= len(sample.upstream):
            raise Incomplete(f"the sample has no upstream reply for call {index}")
        return events_of(call, sample.upstream[index])

    return reply


def played(rig: Rig, sample: Sample) -> Played:
    """A sample from its first byte to its end."""
    return rig.drive(rig.plan(sample)).play(replies(sample))


def played_until(rig: Rig, sample: Sample, events: int) -> Drive:
    """A sample after so many events: the call that the next one belongs to is pending."""
    drive, reply = rig.drive(rig.plan(sample)), replies(sample)
    fed = 0
    while (call := drive.draw()) is not None:
        for event in reply(len(drive.calls) - 1, call):
            if fed == events:
                return drive
            drive.feed(event)
            fed += 1
        drive.end()
    return drive


def positions(total: int) -> list[int]:
    """Where to cut a reply of so many events: before each, or before 24 of them with both ends."""
    if total <= POSITIONS_AT_MOST:
        return list(range(total))
    step = (total - 1) / (POSITIONS_AT_MOST - 1)
    return sorted({round(index * step) for index in range(POSITIONS_AT_MOST)})


def covers(whole: Mapping[str, int], part: Mapping[str, int]) -> bool:
    """Whether no unit of `part` is above that of `whole`."""
    return all(count <= whole.get(name, 0) for name, count in part.items())
