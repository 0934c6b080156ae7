"""The answer, which is known before there is a plan: it only has to be told, and billed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from acme_diarize.decode import RATE
from acme_diarize.turns import Turn
from modgate.plugin import Event, Outcome, Relay, Units, Usage


def seconds(samples: int) -> float:
    """As clients read it."""
    return round(samples / RATE, 3)


class Told(Relay):
    """Tells the turns.  The audio is billed when they are told, and nothing before."""

    def __init__(self, turns: Sequence[Turn], samples: int) -> None:
        self._turns = turns
        self._samples = samples
        self._told = False

    @property
    def _audio_ms(self) -> int:
        return -(-self._samples * 1000 // RATE)

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """Never called: the plan has no calls."""
        return ()

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[bytes]:
        """The whole answer."""
        self._told = True
        named = [f"speaker_{turn.speaker + 1}" for turn in self._turns]
        segments = [
            {"start": seconds(turn.start), "end": seconds(turn.end), "speaker": name}
            for turn, name in zip(self._turns, named, strict=True)
        ]
        yield self.json(
            {
                "duration": seconds(self._samples),
                "speakers": list(dict.fromkeys(named)),
                "segments": segments,
                "usage": {"type": "duration", "seconds": -(-self._audio_ms // 1000)},
            }
        )

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """All or nothing.  What the windows cost is billed with the calls that embedded them."""
        units = Units(audio_ms=self._audio_ms) if self._told else Units()
        return Usage(units, exact=self._told, by="gateway")
