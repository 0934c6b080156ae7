"""The vlm modality: chat with pictures, each checked before an engine sees it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from modgate.kit.chat import Chat, Image, asked_chat, no_tools
from modgate.kit.chat_mistral import understood
from modgate.kit.chat_relay import Style
from modgate.kit.converse.cohere import Cohere
from modgate.kit.converse.endpoints import endpoints
from modgate.kit.converse.messages import Messages
from modgate.kit.converse.responses import Responses
from modgate.kit.facts import facts_of
from modgate.kit.sniff import HEAD_BYTES, media_type, sniff
from modgate.plugin import (
    Body,
    Call,
    Endpoint,
    Event,
    Fetch,
    File,
    Json,
    Modality,
    Need,
    Plan,
    Refused,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    Usage,
    Work,
)
from modgate_vlm.config import Config, Facts
from modgate_vlm.decode import check
from modgate_vlm.relay import PictureRelay
from modgate_vlm.samples import SAMPLES

CHAT = "/v1/chat/completions"
IMAGES = frozenset({"png", "jpeg", "webp", "gif", "bmp", "tiff", "heic"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A picture that was checked; `url` is the data URI that the engine gets."""

    pixels: int
    tokens: int
    url: str


class Vlm(Modality[Config]):
    """Image understanding, metered in tokens, images and pixels."""

    name = "vlm"
    units = (
        Unit("input_tokens", "tokens of the prompt, pictures included"),
        Unit("cached_tokens", "prompt tokens that the engine had cached", part_of="input_tokens"),
        Unit("image_tokens", "prompt tokens of pictures", part_of="input_tokens"),
        Unit("output_tokens", "tokens that were generated", learned=True),
        Unit("images", "pictures that were sent to an engine"),
        Unit("image_pixels", "their pixels"),
    )
    weights = {"input_tokens": 1.0, "output_tokens": 1.0}
    phases = {
        "first_byte": Target(base_s=0.5, per_unit={"input_tokens": 250e-6}),
        "between": Target(base_s=0.06),
        "total": Target(base_s=0.5, per_unit={"input_tokens": 250e-6, "output_tokens": 0.06}),
    }
    serial = frozenset({"first_byte"})
    deadlines = {
        "first_byte": Target(base_s=60.0, per_unit={"input_tokens": 0.001}),
        "total": Target(base_s=600.0),
    }
    gateway_counts = frozenset({"images", "image_pixels"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES
    stand_in = StandIn()

    def endpoints(self) -> Iterator[Endpoint]:
        """Chat, and the APIs that become one; each path is shared with llm."""
        yield Endpoint(
            path=CHAT,
            shape=understood(self.shape),
            surfaces=("openai", "mistral"),
            at_most=self.config.body_bytes,
            kind="stream",
            summary="answer questions about pictures",
            operation="chat",
        )
        for words in (Responses(), Messages(), Cohere()):
            yield from endpoints(words, self.shape, self.tokens, at_most=self.config.body_bytes)

    def tokens(self, request: Request) -> Generator[Need, Json, int]:
        """The prompt's tokens, by estimate: those of its text, and what its pictures come to."""
        plan = yield from self.shape(request)
        assert isinstance(plan.calls, tuple)
        call: Call = plan.calls[0]
        return call.size["input_tokens"]

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call, in which every picture is a data URI that was decoded once."""
        facts = facts_of(request, Facts)
        chat = asked_chat(request) if facts.tools else no_tools(asked_chat(request))
        if len(chat.images) > self.config.max_images:
            reason = f"at most {self.config.max_images} images are allowed"
            raise Refused("messages", "too_many_images", reason)
        seen: list[Seen] = []
        for image in chat.images:
            seen.append((yield from self._seen(image, facts)))
        cost = sum(s.tokens for s in seen)
        pictures = Units(images=len(seen), image_pixels=sum(s.pixels for s in seen))
        prompt = chat.estimated_tokens + cost
        output = chat.output_tokens(prompt, facts.context, self.config.output_tokens)
        size = Units(input_tokens=prompt, output_tokens=output)
        if seen:
            size += pictures + Units(image_tokens=cost)
        call = Call(
            path=CHAT,
            body=_with_images(chat, request, seen),
            size=size,
            reply="sse" if chat.stream else "whole",
            raw=request.raw,
            isolation=request.isolation if self.config.isolate_caches else "",
            affinity=chat.affinity,
        )
        relay = PictureRelay(
            stream=chat.stream,
            include_usage=chat.include_usage,
            prompt=prompt,
            extra=pictures if seen else None,
            image_tokens=None if facts.image_tokens == "area" else cost,
            style=Style(
                alias=self.config.reasoning_alias,
                legacy=chat.legacy,
                raw=request.raw,
                ignored=chat.ignored,
            ),
        )
        return Plan(calls=(call,), relay=relay)

    def count(self, call: Call, event: Event) -> Usage:
        """What a chat did cost that a plugin or a policy asked for."""
        size = call.size
        sent = {name: size[name] for name in ("images", "image_pixels") if name in size}
        relay = PictureRelay(
            stream=False,
            include_usage=False,
            prompt=size.get("input_tokens", 0),
            extra=Units(sent) if sent else None,
            image_tokens=size.get("image_tokens"),
        )
        return relay.counted(event)

    def _seen(self, image: Image, facts: Facts) -> Generator[Need, Json, Seen]:
        """A picture by data URI or URL, decoded once in a decoder process."""
        most = [self.config.image_bytes, self.config.image_pixels]
        data: bytes | File
        packed = ""
        if image.url.startswith("data:"):
            packed = _packed(image, most[0])
            data, head = packed.encode("ascii", "replace"), _head(image, packed)
        elif image.url[:8].lower().startswith(("http://", "https://")):
            allowed = frozenset({"image"})
            fetched: File = yield Fetch(
                url=image.url, at_most=most[0], kinds=allowed, field=image.at
            )
            data, head = fetched, fetched.read(0, HEAD_BYTES)
        else:
            reason = "an image is a URL, or a data URI: data:image/png;base64,..."
            raise Refused(image.at, "invalid_image_url", reason)
        kind = sniff(head)
        if kind not in IMAGES:
            reason = f"the data is no image that we know: {', '.join(sorted(IMAGES))}"
            raise Refused(image.at, "invalid_image_format", reason)
        detail = image.detail if self.config.downscale else None
        family = list(facts.family)
        found = yield Work(check, data, kind, most, family, detail, field=image.at)
        if found["file"] is not None:
            url = f"data:{found['kind']};base64,{found['file'].read().decode()}"
        elif image.url.startswith(front := f"data:{media_type(kind)};base64,"):
            url = image.url
        else:
            url = front + packed
        return Seen(pixels=found["pixels"], tokens=found["tokens"], url=url)


def _packed(image: Image, at_most: int) -> str:
    front, comma, packed = image.url.partition(",")
    if not comma or not front.endswith(";base64"):
        reason = "a data URI must be base64: data:image/png;base64,..."
        raise Refused(image.at, "invalid_image_url", reason)
    if len(packed) > at_most * 4 // 3 + 4:
        raise Refused(image.at, "image_too_large", f"the image has more than {at_most} bytes")
    return packed


def _head(image: Image, packed: str) -> bytes:
    """Its first bytes; the rest is decoded in another process."""
    front = packed[: HEAD_BYTES // 3 * 4]
    try:
        return base64.b64decode(front, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(image.at, "invalid_image_format", "the image is not valid base64") from None


def _with_images(chat: Chat, request: Request, seen: list[Seen]) -> Body:
    """The body with the pictures as engines get them; untouched when nothing changed."""
    body = chat.body(request)
    pairs = zip(chat.images, seen, strict=True)
    changed = [(image, each) for image, each in pairs if image.bare or image.url != each.url]
    if not changed:
        return body
    given = chat.put.get("messages") or request.fields().items("messages")
    messages = [dict(message) for message in given]
    for image, picture in changed:
        message = messages[image.message]
        parts = list(message["content"])
        given_as = {} if image.bare else parts[image.part]["image_url"]
        inner = {**given_as, "url": picture.url}
        parts[image.part] = {**parts[image.part], "image_url": inner}
        message["content"] = parts
    return body.put(messages=messages)
