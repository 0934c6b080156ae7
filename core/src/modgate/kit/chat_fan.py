"""Several choices from an engine that makes one: a call a choice, joined into one reply.

The prompt is read by the engine in every call, from its cache if it has one; the client asked once,
so it is counted once, as the first call reports it.  Calls run side by side and are relayed in
order: choice 0 streams, the others wait in their lanes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from modgate.kit.chat_relay import DONE, PLAIN, Style, as_usage, estimated, lifted, reported
from modgate.kit.chat_wire import CallIds, decoded, encoded, identified
from modgate.plugin import (
    BadReply,
    Call,
    Event,
    Json,
    JsonObject,
    Outcome,
    Relay,
    Units,
    Usage,
)

_ONE_LIFE = ("id", "created", "model", "system_fingerprint")


def fanned(call: Call, choices: int, input_tokens: int) -> tuple[Call, ...]:
    """A call a choice.  `call.size` is that of all; each asks for one choice, by a seed of its own.

    The prompt is in the first one's size only, as in the bill.
    """
    body = call.body.drop("n", "best_of")
    seed = call.body.member("seed")
    each = call.size.get("output_tokens", 0) // choices
    calls = []
    for index in range(choices):
        own = body if seed is None else body.put(seed=int(seed) + index)
        size = Units(output_tokens=each, input_tokens=0 if index else input_tokens)
        calls.append(replace(call, body=own, size=size))
    return tuple(calls)


class FanRelay(Relay):
    """The choices of `each` calls.  A reply may hold several prompts' choices, one of each."""

    def __init__(
        self,
        *,
        stream: bool,
        include_usage: bool,
        prompt: int,
        each: int,
        least: int = 0,
        style: Style = PLAIN,
    ) -> None:
        self.head = style.head(stream=stream)
        self._stream = stream
        self._include = include_usage
        self._prompt = prompt
        self._each = each
        self._least = least
        self._styled = style.styled
        self._call_ids: defaultdict[int, CallIds] = defaultdict(CallIds)
        self._first: JsonObject = {}
        self._choices: list[JsonObject] = []
        self._said: dict[int, JsonObject] = {}
        self._fell = False  # some call's last word is less, in any unit, than it had said before
        self._deltas: dict[int, int] = {}
        self._guessed: dict[int, int] = {}

    def feed(self, index: int, event: Event) -> Iterable[bytes]:
        """A chunk with its choice's own number; of whole replies nothing until the last is here."""
        value = lifted(decoded(event.data))
        self._call_ids[index].once_in(value)
        choices = value.get("choices")
        if not isinstance(choices, list):
            raise BadReply("the engine's reply is not a chat completion")
        self._first = self._first or value
        for choice in choices:
            if not isinstance(choice, dict) or type(choice.get("index")) is not int:
                raise BadReply("the engine's event has a choice without an index")
            choice["index"] = choice["index"] * self._each + index
        self._deltas[index] = self._deltas.get(index, 0) + sum(map(_speaks, choices))
        self._note(index, value.pop("usage", None), last=not choices)
        if not self._stream:
            identified(value)
            self._choices += choices
            self._guessed[index] = estimated(choices)
            return ()
        return (self._event({**value, "choices": choices}),) if choices else ()

    def _note(self, index: int, usage: Json, *, last: bool) -> None:
        """Keep the usage of a call: its last word, which stands beside no choice; until then the
        largest."""
        found, before = reported(usage), reported(self._said.get(index))
        least = before["output_tokens"] if before is not None else 0
        if found is not None and (last or found["output_tokens"] >= least):
            self._said[index] = usage
            fell = before is not None and bool(before.beyond(found))
            self._fell = self._fell or fell

    def _event(self, value: JsonObject) -> bytes:
        same = {name: self._first[name] for name in _ONE_LIFE if name in self._first}
        nothing = {"usage": None} if self._include and "usage" not in value else {}
        return b"data: " + self._styled(encoded({**value, **same, **nothing})) + b"\n\n"

    def close(self, outcomes: Sequence[Outcome]) -> Iterable[bytes]:
        """The usage of all, and the end; or the one whole reply."""
        told = len(self._said) == self._each
        usage = {"usage": self._joint() if told else as_usage(self.usage(outcomes).units)}
        if not self._stream:
            choices = sorted(self._choices, key=_index)
            whole = {**self._first, "choices": choices, **usage}
            yield self._styled(encoded(whole))
            return
        if self._include and self._first:
            yield self._event({**self._first, "choices": [], **usage})
        yield DONE

    def _joint(self) -> JsonObject:
        """The usage that the client sees: the prompt once, the completions together."""
        said = [self._said[index] for index in sorted(self._said)]
        joint = dict(said[0])
        wrote = sum(_number(usage.get("completion_tokens")) for usage in said)
        joint["completion_tokens"] = wrote
        joint["total_tokens"] = _number(joint.get("prompt_tokens")) + wrote
        details = [usage.get("completion_tokens_details") for usage in said]
        inside = [each for each in details if isinstance(each, dict)]
        if inside:
            names = {name: None for each in inside for name in each}
            joint["completion_tokens_details"] = {
                name: sum(_number(each.get(name)) for each in inside) for name in names
            }
        return joint

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The engine's counts where it said them, the deltas of the rest, and of those where it
        says less than it sent."""
        wrote, short = 0, False
        for index, deltas in self._deltas.items():
            units = reported(self._said.get(index))
            told = self._guessed.get(index, 0) if units is None else units["output_tokens"]
            wrote += max(deltas, told)
            short = short or (units is not None and told < deltas)
        whole = self._each == sum(outcome.ok for outcome in outcomes)
        guessed = len(self._said) < (self._each if whole else len(self._guessed))
        spent = Units({**self._read(guessed=guessed), "output_tokens": wrote})
        if whole and not guessed:
            exact = not (short or self._fell)
            return Usage(spent, exact=exact, by="gateway" if short else "engine")
        return Usage(spent, exact=False, by="estimate" if guessed else "gateway")

    def _read(self, *, guessed: bool) -> Units:
        """The prompt, once: as the first call reports it, else what is known of it."""
        first = reported(self._said.get(0))
        if first is not None:
            return first.most({"input_tokens": self._least})
        if not self._deltas:
            return Units()
        return Units(input_tokens=self._prompt if guessed else self._least)


def _index(choice: JsonObject) -> int:
    index: int = choice["index"]
    return index


def _number(value: Json) -> int:
    return value if type(value) is int and value >= 0 else 0


def _speaks(choice: JsonObject) -> bool:
    said = choice.get("delta", choice)
    if not isinstance(said, dict):
        return False
    return any(said.get(name) for name in ("content", "text", "tool_calls", "reasoning_content"))
