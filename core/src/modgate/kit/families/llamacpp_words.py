"""What llama.cpp's server says otherwise than the wire: which stop string it met, how likely the
tokens of an older completion were, and which number a token has.

Source: ggml-org/llama.cpp, tools/server/server-schema.cpp (commit 0177c34), member `verbose`; its
replies as xllamacpp 2026.10 makes them; wire.md 2.2 for the older form.
"""

from __future__ import annotations

from collections.abc import Iterator

from modgate.plugin import Json, JsonObject

VERBOSE = "__verbose"


def tell_stop(value: JsonObject) -> None:
    """Put the stop string that ended a choice where vLLM has it, `stop_reason`.

    The account that told it is taken out: it is long, and has the prompt in it.
    """
    account = value.pop(VERBOSE, None)
    if not isinstance(account, dict) or account.get("stop_type") != "word":
        return
    for choice in _choices(value):
        choice["stop_reason"] = account.get("stopping_word")


def without_numbers(value: JsonObject) -> None:
    """Take the tokens' numbers out of a chat's logprobs: the wire has no word for them."""
    for choice in _choices(value):
        told = choice.get("logprobs")
        for entry in _entries(told.get("content") if isinstance(told, dict) else None):
            entry.pop("id", None)
            for other in _entries(entry.get("top_logprobs")):
                other.pop("id", None)


def _entries(value: Json) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


class OldLogprobs:
    """Log probabilities of a completion in the older wire's words; a reply's own, for its offsets.

    `text_offset` counts characters of what was generated, as vLLM does.
    """

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}

    def tell(self, value: JsonObject) -> None:
        """Each choice's in the older words."""
        for choice in _choices(value):
            told, index = choice.get("logprobs"), choice.get("index")
            content = told.get("content") if isinstance(told, dict) else None
            if isinstance(content, list) and isinstance(index, int):
                choice["logprobs"] = self._old(index, content)

    def _old(self, index: int, content: list[Json]) -> JsonObject:
        tokens = [entry for entry in content if isinstance(entry, dict)]
        offsets, end = [], self._ends.get(index, 0)
        for entry in tokens:
            offsets.append(end)
            end += len(str(entry.get("token", "")))
        self._ends[index] = end
        return {
            "tokens": [entry.get("token") for entry in tokens],
            "token_logprobs": [entry.get("logprob") for entry in tokens],
            "top_logprobs": [_top(entry) for entry in tokens],
            "text_offset": offsets,
        }


def _top(entry: JsonObject) -> JsonObject:
    most = entry.get("top_logprobs")
    return {
        each["token"]: each.get("logprob")
        for each in (most if isinstance(most, list) else ())
        if isinstance(each, dict) and isinstance(each.get("token"), str)
    }


def _choices(value: JsonObject) -> Iterator[JsonObject]:
    choices = value.get("choices")
    if isinstance(choices, list):
        yield from (choice for choice in choices if isinstance(choice, dict))
