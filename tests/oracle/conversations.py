"""What clients of `/v1/messages`, `/v1/responses` and `/v2/chat` send; with `images`, to a vlm."""

from __future__ import annotations

import json
from base64 import b64encode

from oracle.media import png
from oracle.requests import ClientRequest, Reader, data_uri
from oracle.words import Modality, tag_text

TOKENS_AT_MOST = 64
SIDE = 32


def message(tag: int, *, model: str, stream: bool = False, images: int = 0) -> ClientRequest:
    """A message to an assistant."""
    data = b64encode(png(SIDE, SIDE, seed=tag)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    content: list[object] = [{"type": "image", "source": source}] * images
    content.append({"type": "text", "text": f"{tag_text(tag)} what is this?"})
    body = {"max_tokens": TOKENS_AT_MOST, "messages": [{"role": "user", "content": content}]}
    return _request(tag, "message", {"model": model, **body}, stream=stream, images=images)


def response(tag: int, *, model: str, stream: bool = False, images: int = 0) -> ClientRequest:
    """A question for a response."""
    uri = data_uri(png(SIDE, SIDE, seed=tag), "image/png")
    content: list[object] = [{"type": "input_image", "image_url": uri}] * images
    content.append({"type": "input_text", "text": f"{tag_text(tag)} what is this?"})
    body = {"input": [{"role": "user", "content": content}]}
    return _request(tag, "response", {"model": model, **body}, stream=stream, images=images)


def spoken(tag: int, *, model: str, stream: bool = False, images: int = 0) -> ClientRequest:
    """A chat as Cohere has it."""
    picture = {"url": data_uri(png(SIDE, SIDE, seed=tag), "image/png")}
    content: list[object] = [{"type": "image_url", "image_url": picture}] * images
    content.append({"type": "text", "text": f"{tag_text(tag)} what is this?"})
    body = {"max_tokens": TOKENS_AT_MOST, "messages": [{"role": "user", "content": content}]}
    return _request(tag, "spoken", {"model": model, **body}, stream=stream, images=images)


def _request(
    tag: int, kind: str, body: dict[str, object], *, stream: bool, images: int
) -> ClientRequest:
    modality: Modality = "vlm" if images else "llm"
    readers: dict[str, tuple[Reader, Reader]] = {
        "message": ("message", "message_sse"),
        "response": ("response", "response_sse"),
        "spoken": ("spoken", "spoken_sse"),
    }
    return ClientRequest(
        modality=modality,
        tag=tag,
        path="/v2/chat" if kind == "spoken" else f"/v1/{kind}s",
        body=json.dumps({**body, "stream": True} if stream else body).encode(),
        reader=readers[kind][stream],
        sent={"vlm.images": images} if images else {},
        streamed=stream,
        usage=True,
    )
