"""The endpoints of other APIs of a conversation, for every modality that answers a chat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

from modgate.kit.converse.draft import Draft
from modgate.kit.converse.relay import Answer, Conversed, Reply
from modgate.plugin import Endpoint, Fields, Json, JsonObject, Need, Plan, Refused, Request

Chat = Callable[[Request], Generator[Need, Json, Plan]]
Count = Callable[[Request], Generator[Need, Json, int]]


class Words(ABC):
    """One API of conversations.  `own`: members of its body that a chat does not have."""

    surface: ClassVar[str]
    path: ClassVar[str]
    own: ClassVar[frozenset[str]]

    @abstractmethod
    def read(self, fields: Fields, *, counting: bool) -> Draft:
        """The chat that a body stands for; Refused names the field.

        `counting`: only the prompt's tokens are asked for.
        """

    @abstractmethod
    def reply(self, request: Request) -> Reply:
        """Who writes the reply."""


class Counting(Words):
    """One that also counts the tokens of a conversation."""

    count_path: ClassVar[str]

    @abstractmethod
    def counted(self, tokens: int) -> JsonObject:
        """How many tokens a prompt has."""


def endpoints(words: Words, chat: Chat, count: Count, *, at_most: int) -> Iterator[Endpoint]:
    """The endpoints of one API: `chat` shapes the chat that a conversation becomes, `count` says
    how many tokens its prompt has."""
    yield Endpoint(
        path=words.path,
        shape=partial(conversed, words, chat),
        surfaces=(words.surface,),
        at_most=at_most,
        kind="stream",
        summary="converse",
        operation="chat",
    )
    if isinstance(words, Counting):
        yield Endpoint(
            path=words.count_path,
            shape=partial(counted, words, count),
            surfaces=(words.surface,),
            at_most=at_most,
            summary="count the tokens of a conversation",
        )


def conversed(words: Words, chat: Chat, request: Request) -> Generator[Need, Json, Plan]:
    """The chat's own plan, whose reply is in the API's words."""
    draft = words.read(request.fields(), counting=False)
    asked = draft.request(request, words.own)
    try:
        plan = yield from chat(asked)
    except Refused as error:
        draft.blame(error)
        raise
    return replace(plan, relay=Conversed(plan.relay, words.reply(request)))


def counted(words: Counting, count: Count, request: Request) -> Generator[Need, Json, Plan]:
    """A plan without calls: what must be asked was asked on the way."""
    draft = words.read(request.fields(), counting=True)
    asked = draft.request(request, words.own | {"stream"})
    try:
        tokens = yield from count(asked)
    except Refused as error:
        draft.blame(error)
        raise
    return Plan(calls=(), relay=Answer(words.counted(tokens)))
