"""Vision models that read pages, through vLLM's chat: Qwen-VL, olmOCR, dots.ocr, DeepSeek-OCR.

Source: wire.md 7.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from math import ceil

import orjson

from modgate.kit.chat_dialect import ChatDialect
from modgate.kit.tokens import estimate
from modgate.kit.told import told
from modgate.plugin import BadReply, Body, Event, Json, JsonObject, Outgoing, Refused
from modgate_ocr.dialects.home import image_of, read, text_of
from modgate_ocr.page import PIXELS_PER_TOKEN

PATH = "/v1/chat/completions"
PROMPT = (
    "Extract all text of this page as GitHub-flavoured Markdown, in reading order. Write tables as "
    "Markdown tables and formulas as LaTeX. Do not describe pictures and do not add anything."
)
MAX_TOKENS = 4096
_FENCE = re.compile(r"\s*```(?:markdown|md|html|text)?[ \t]*\n")


class OcrVllm(ChatDialect):
    """A chat with one picture; what the model says is the page's markdown.

    Prompt and `max_tokens` are in the model's facts; `PROMPT` and `MAX_TOKENS` are sent without.
    """

    modality = "ocr"
    family = "vllm"

    def encode(self) -> Outgoing:
        """The picture before the text, at temperature 0, as these models were trained."""
        url = "data:image/png;base64," + base64.b64encode(read(image_of(self.call))).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": text_of(self.call, "prompt") or PROMPT},
        ]
        body = Body.of(
            model=self.served.name,
            messages=[{"role": "user", "content": content}],
            temperature=0,
            max_tokens=int(text_of(self.call, "max_tokens") or MAX_TOKENS),
        )
        return Outgoing(path=PATH, body=body)

    def decode(self, event: Event) -> Iterable[Event]:
        """The text of the first choice, without its fence; whether it was cut; its tokens."""
        for passed in super().decode(event):
            fields = passed.fields()
            choice = next(fields.each("choices"), None)
            if choice is None:
                raise BadReply("the engine's reply does not fit: it has no choice")
            text = choice.inner("message").text("content", "", empty=True)
            made: JsonObject = {
                "markdown": unfenced(text),
                "cut": choice.get("finish_reason") == "length",
            }
            tokens = self._tokens(fields.get("usage"), text)
            yield Event(orjson.dumps({**made, "tokens": tokens}))

    def overflow(self, message: str) -> Refused | None:
        """The error for a page that is too large, in words that do not speak of messages."""
        found = super().overflow(message)
        if found is None:
            return None
        reason = "a page has more tokens than the model takes; send it smaller"
        return Refused("document", found.code, reason)

    def _tokens(self, usage: Json, text: str) -> JsonObject:
        """The tokens that the engine counted; an estimate when it does not say."""
        read, wrote = told(usage, "prompt_tokens"), told(usage, "completion_tokens")
        if read and wrote is not None:  # a page is never 0 tokens
            return {"input": read, "output": wrote}
        pixels = self.call.size.get("image_pixels", 0)
        return {
            "input": ceil(pixels / PIXELS_PER_TOKEN),
            "output": estimate(text),
            "guessed": True,
        }


def unfenced(text: str) -> str:
    """The text without a code fence around all of it, whose end may have been cut off."""
    fence = _FENCE.match(text)
    if fence is None:
        return text.strip()
    inside = text[fence.end() :].rstrip().removesuffix("```").removesuffix("\n")
    return inside if "\n```" not in inside else text.strip()
