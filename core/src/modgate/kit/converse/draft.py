"""The way in: a chat that is put together from what another API calls a conversation.

Each API reads its own body and says here what was said, by whom and where it stood; how a chat says
it is written once.  Source: wire.md 2.4 and 2.5, the paragraphs on conversion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import orjson
from msgspec.structs import replace

from modgate.kit.converse.exact import Sent, is_wide
from modgate.plugin import Body, Fields, Json, JsonObject, Refused, Request

CHAT = "/v1/chat/completions"
# Members of chat that the other APIs do not have; a client's own must not reach the chat by chance.
CHAT_ONLY = frozenset(
    (
        *("messages", "n", "best_of", "functions", "function_call", "max_completion_tokens"),
        *("stop", "response_format", "reasoning_effort", "verbosity", "logprobs", "top_logprobs"),
        *("modalities", "audio", "prediction", "web_search_options", "stream_options"),
        *("tools", "tool_choice", "parallel_tool_calls", "max_tokens", "metadata", "store"),
    )
)


@dataclass(slots=True, kw_only=True)
class Turn:
    """A message of the chat; `parts` are its content, `more` what only its role has."""

    role: str
    parts: list[JsonObject] = field(default_factory=list)
    calls: list[JsonObject] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    more: JsonObject = field(default_factory=dict)

    def message(self) -> JsonObject:
        """It as the chat has it: one text is a string, because some templates know no parts."""
        made: JsonObject = {"role": self.role, **self.more, "content": self._content()}
        if self.thoughts:
            made["reasoning_content"] = "\n".join(self.thoughts)
        if self.calls:
            made["tool_calls"] = self.calls
        return made

    def _content(self) -> Json:
        if self.role == "tool":
            return "\n".join(part["text"] for part in self.parts)
        if not self.parts and self.role == "assistant":
            return None
        if len(self.parts) == 1 and self.parts[0]["type"] == "text":
            return self.parts[0]["text"]
        return self.parts


class Draft:
    """A chat so far.  `members`: what else its body has."""

    def __init__(self) -> None:
        self.members: JsonObject = {}
        self._turns: list[Turn] = []
        self._places: dict[str, str] = {}
        self._held: list[tuple[JsonObject, str]] = []
        self._called: set[str] = set()
        self._sent: list[tuple[JsonObject, str, str]] = []
        self._schemas: list[tuple[JsonObject, str, str]] = []

    def turn(self, role: str, at: str) -> Turn:
        """A new message; what an assistant says, thinks and calls in a row is one."""
        if role == "assistant" and not self._held and self._turns:
            last = self._turns[-1]
            if last.role == "assistant":
                return last
        if self._held and role != "user":
            self._turn("user", at)
        return self._turn(role, at)

    def _turn(self, role: str, at: str) -> Turn:
        made = Turn(role=role)
        self._places[f"messages[{len(self._turns)}]"] = at
        self._turns.append(made)
        held, self._held = self._held, []
        for part, place in held:
            self.part(made, part, place)
        return made

    def part(self, turn: Turn, part: JsonObject, at: str) -> None:
        """A part of the last message's content."""
        index = f"messages[{len(self._turns) - 1}].content[{len(turn.parts)}]"
        self._places[index] = at
        turn.parts.append(part)

    def call(
        self, turn: Turn, call_id: str, name: str, arguments: str, sent: str | None = None
    ) -> None:
        """A call that the assistant made in its last message.

        `sent`: where its arguments stand in the body, if they were written again from there.
        """
        self._called.add(call_id)
        function = {"name": name, "arguments": arguments}
        if sent is not None:
            self.exact(function, "arguments", sent)
        turn.calls.append({"id": call_id, "type": "function", "function": function})

    def exact(self, holder: JsonObject, name: str, sent: str) -> None:
        """A text that is JSON, written again from where `sent` is in the body: to the letter."""
        if is_wide(holder[name].encode()):
            self._sent.append((holder, name, sent))

    def called(self, call_id: str) -> bool:
        """Whether the assistant has made this call by now."""
        return call_id in self._called

    def answered(self, call_id: str, parts: Iterable[tuple[JsonObject, str]], at: str) -> None:
        """What a function answered: its text; its pictures wait for the user's next message.

        Most templates read only text of a function, and all its answers must follow its calls.
        """
        texts = []
        for part, place in parts:
            if part["type"] == "text":
                texts.append(part)
            else:
                self._held.append((part, place))
        held, self._held = self._held, []
        made = self._turn("tool", at)
        made.parts, made.more = texts, {"tool_call_id": call_id}
        self._held = held

    def function(self, tool: JsonObject, at: str, schema: str) -> None:
        """A function that may be called; its members that are None are left out.

        `schema`: the member at that place that its parameters came from.
        """
        tools: list[JsonObject] = self.members.setdefault("tools", [])
        self._places[f"tools[{len(tools)}]"] = at
        known = {name: value for name, value in tool.items() if value is not None}
        tools.append({"type": "function", "function": known})
        if "parameters" in known:
            self._schemas.append((known, "parameters", f"{at}.{schema}"))

    def stops(self, fields: Fields, *, at_most: int) -> None:
        """The texts that end the reply, of `stop_sequences`."""
        if "stop_sequences" not in fields:
            return
        stops = fields.items("stop_sequences", at_most=at_most, empty=True)
        if not all(isinstance(each, str) and each for each in stops):
            raise fields.wrong("stop_sequences", "a list of texts that are not empty")
        if stops:
            self.members["stop"] = stops

    def form(self, wanted: JsonObject, at: str) -> None:
        """The JSON that the answer must be; `at`: where its schema stands."""
        self.members["response_format"] = {"type": "json_schema", "json_schema": wanted}
        self._schemas.append((wanted, "schema", at))

    def request(self, asked: Request, own: Collection[str]) -> Request:
        """The same request as a chat.

        `own`: members that only the other API has; all others stay the client's own bytes.
        """
        if self._held:
            self._turn("user", self._held[0][1])
        sent = Sent(asked.body)
        for holder, name, place in self._sent:
            holder[name] = sent.at(place).decode()
        put = {**self.members, "messages": [turn.message() for turn in self._turns]}
        gone = [name for name in asked.parsed if name in own or name in CHAT_ONLY]
        kept = {name: value for name, value in asked.parsed.items() if name not in gone}
        body = self._exact(sent, asked.body.drop(*gone).put(**put))
        return replace(asked, path=CHAT, body=body, parsed={**kept, **put})

    def _exact(self, sent: Sent, body: Body) -> Body:
        """The body with schemas to the letter, where a number in them may have changed."""
        if not self._schemas:
            return body
        names = [name for name in ("tools", "response_format") if name in self.members]
        if not any(is_wide(body.members()[name]) for name in names):
            return body
        read = [holder[name] for holder, name, _ in self._schemas]
        for holder, name, place in self._schemas:
            holder[name] = orjson.Fragment(sent.at(place))
        exact = body.put(**{name: self.members[name] for name in names})
        for (holder, name, _), value in zip(self._schemas, read, strict=True):
            holder[name] = value
        return exact

    def blame(self, error: Refused) -> None:
        """Let an error of the chat name the client's own place, in its text as well."""
        told = error.field
        if told is None:
            return
        found = [
            name
            for name in self._places
            if told == name or told.startswith((f"{name}.", f"{name}["))
        ]
        if found:
            error.field = self._places[max(found, key=len)]
            error.message = error.message.replace(told, error.field)


def written(holder: Fields, name: str, at: str) -> str:
    """An object inside another as JSON; Refused names its place where it is nested too deeply."""
    place = f"{at}.{name}"
    return Body.of(**{place: holder.inner(name).values}).members()[place].decode()


def text_part(text: str) -> JsonObject:
    """A part that is text."""
    return {"type": "text", "text": text}


def image_part(url: str, detail: str | None = None) -> JsonObject:
    """A part that is a picture, by URL or data URI."""
    wanted = {} if detail is None else {"detail": detail}
    return {"type": "image_url", "image_url": {"url": url, **wanted}}
