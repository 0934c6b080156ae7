"""What clients send: one valid request for each endpoint of the seven modalities, with a tag in it.

The tag goes where it reaches the engine unchanged: in the text of prompts, queries, inputs and
sentences, in a transcription's `prompt`, in the size of a page.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from oracle.framing import Part, write_multipart
from oracle.media import page_size, pdf, png, wav
from oracle.words import Modality, part_text, tag_text

# How a reply is counted.
Reader = Literal[
    "chat", "chat_sse", "completion", "completion_sse",
    "message", "message_sse", "response", "response_sse", "spoken", "spoken_sse",
    "transcript", "verbose_transcript", "transcript_sse",
    "pcm", "wav", "speech_sse", "opaque", "ocr", "embedding", "rerank",
]  # fmt: skip  # rows as they are read
TranscriptFormat = Literal["json", "verbose_json", "text", "srt", "vtt"]
SpeechFormat = Literal["pcm", "wav", "mp3", "opus", "aac", "flac"]
RerankBody = Literal["cohere", "cohere_v1", "jina", "voyage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """One request as it goes on the wire.

    `sent`: native units in it, by full name.  `texts`: what the reply must answer, in order.
    `streamed`: the reply comes in pieces.  `usage`: the client asked for a usage event.
    """

    modality: Modality
    tag: int
    path: str
    body: bytes = field(repr=False)
    reader: Reader
    method: str = "POST"
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    sent: Mapping[str, int] = field(default_factory=dict)
    texts: tuple[str, ...] = field(default=(), repr=False)
    streamed: bool = False
    usage: bool = False

    def with_headers(self, **headers: str) -> ClientRequest:
        """The same with more headers; underscores are hyphens."""
        more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return replace(self, headers=(*self.headers, *more))


def chat(
    tag: int,
    *,
    model: str = "llm",
    stream: bool = False,
    usage: bool = False,
    text: str = "hello",
    **extra: object,
) -> ClientRequest:
    """A chat completion."""
    body = {"messages": [{"role": "user", "content": f"{tag_text(tag)} {text}"}], **extra}
    return _chat(tag, "llm", model, body, stream=stream, usage=usage)


def vision(
    tag: int,
    *,
    model: str = "vlm",
    stream: bool = False,
    usage: bool = False,
    images: int = 1,
    **extra: object,
) -> ClientRequest:
    """A chat about images, each a data URI."""
    picture = {"url": data_uri(png(32, 32, seed=tag), "image/png")}
    content: list[object] = [{"type": "text", "text": f"{tag_text(tag)} what is this?"}]
    content += [{"type": "image_url", "image_url": picture}] * images
    body = {"messages": [{"role": "user", "content": content}], **extra}
    request = _chat(tag, "vlm", model, body, stream=stream, usage=usage)
    return replace(request, sent={"vlm.images": images})


def _chat(
    tag: int,
    modality: Modality,
    model: str,
    body: Mapping[str, object],
    *,
    stream: bool,
    usage: bool,
) -> ClientRequest:
    options = {"stream": True} if stream else {}
    wanted = {"stream_options": {"include_usage": True}} if stream and usage else {}
    return ClientRequest(
        modality=modality,
        tag=tag,
        path="/v1/chat/completions",
        body=_json({"model": model, **body, **options, **wanted}),
        reader="chat_sse" if stream else "chat",
        streamed=stream,
        usage=usage or not stream,
    )


def completion(
    tag: int,
    *,
    model: str = "llm",
    stream: bool = False,
    usage: bool = False,
    **extra: object,
) -> ClientRequest:
    """A text completion."""
    body: dict[str, object] = {"model": model, "prompt": f"{tag_text(tag)} once", **extra}
    if stream:
        body["stream"] = True
        if usage:
            body["stream_options"] = {"include_usage": True}
    return ClientRequest(
        modality="llm",
        tag=tag,
        path="/v1/completions",
        body=_json(body),
        reader="completion_sse" if stream else "completion",
        streamed=stream,
        usage=usage or not stream,
    )


def transcription(
    tag: int,
    *,
    model: str = "asr",
    duration_ms: int = 1_200,
    response_format: TranscriptFormat = "json",
    stream: bool = False,
    translate: bool = False,
) -> ClientRequest:
    """A generated WAV to be written down; one over 20 s has pauses at which it may be cut."""
    fields = {"model": model, "prompt": tag_text(tag), "response_format": response_format}
    if stream:
        fields["stream"] = "true"
    sound = Part(
        name="file",
        filename="speech.wav",
        content_type="audio/wav",
        data=wav(duration_ms, seed=tag),
    )
    parts = [*(Part(name=name, data=value.encode()) for name, value in fields.items()), sound]
    body, content_type = write_multipart(parts)
    reader: Reader = "verbose_transcript" if response_format == "verbose_json" else "transcript"
    return ClientRequest(
        modality="asr",
        tag=tag,
        path=f"/v1/audio/{'translations' if translate else 'transcriptions'}",
        body=body,
        content_type=content_type,
        reader="transcript_sse" if stream else reader,
        sent={"asr.audio_ms": duration_ms},
        streamed=stream,
    )


def speech_text(tag: int, sentences: int) -> str:
    """A text whose sentences each carry the tag and their number."""
    return " ".join(
        f"This is {part_text(tag, number)} and it is read aloud slowly and with care."
        for number in range(sentences)
    )


def speech(
    tag: int,
    *,
    model: str = "tts",
    sentences: int = 1,
    text: str | None = None,
    voice: str = "alloy",
    response_format: SpeechFormat = "pcm",
    sse: bool = False,
) -> ClientRequest:
    """A text to be read aloud; only pcm, wav and pcm in SSE can be counted."""
    said = speech_text(tag, sentences) if text is None else text
    body = {"model": model, "input": said, "voice": voice, "response_format": response_format}
    reader: Reader = "opaque"
    match response_format:
        case "pcm":
            reader = "speech_sse" if sse else "pcm"
        case "wav" if not sse:
            reader = "wav"
    return ClientRequest(
        modality="tts",
        tag=tag,
        path="/v1/audio/speech",
        body=_json({**body, "stream_format": "sse"} if sse else body),
        reader=reader,
        sent={"tts.characters": len(said)},
        streamed=True,
    )


def ocr(tag: int, *, model: str = "ocr", pages: int = 0) -> ClientRequest:
    """A page to be read: a PNG, or a PDF of up to 8 pages if `pages` is given; a data URI."""
    if pages:
        file = pdf([page_size(tag, page) for page in range(pages)])
        document = {
            "type": "document_url",
            "document_url": data_uri(file, "application/pdf"),
        }
    else:
        file = png(*page_size(tag), seed=tag)
        document = {"type": "image_url", "image_url": data_uri(file, "image/png")}
    return ClientRequest(
        modality="ocr",
        tag=tag,
        path="/v1/ocr",
        body=_json({"model": model, "document": document}),
        reader="ocr",
        sent={"ocr.pages": max(1, pages)},
    )


def embeddings(
    tag: int,
    *,
    model: str = "embedding",
    inputs: int = 2,
    single: bool = False,
    base64: bool = False,
    **extra: object,
) -> ClientRequest:
    """Texts to be embedded: a list, or one string if `single`."""
    texts = [f"{tag_text(tag)} text {number}" for number in range(1 if single else inputs)]
    body: dict[str, object] = {"model": model, "input": texts[0] if single else texts, **extra}
    if base64:
        body["encoding_format"] = "base64"
    return ClientRequest(
        modality="embedding",
        tag=tag,
        path="/v1/embeddings",
        body=_json(body),
        reader="embedding",
        sent={"embedding.inputs": len(texts)},
        texts=tuple(texts),
        usage=True,
    )


_RERANK_PATHS: dict[RerankBody, str] = {
    "cohere": "/v2/rerank",
    "cohere_v1": "/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
}


def rerank(
    tag: int,
    *,
    model: str = "rerank",
    documents: int = 3,
    body: RerankBody = "cohere",
) -> ClientRequest:
    """Documents to be ranked, all of them wanted back."""
    said = [f"{tag_text(tag)} document {number}" for number in range(documents)]
    asked: dict[str, object] = {
        "model": model,
        "query": f"{tag_text(tag)} which",
        "documents": said,
    }
    match body:
        case "voyage":
            asked |= {"top_k": None, "truncation": True}
        case "jina":
            asked |= {"top_n": len(said), "return_documents": False}
    return ClientRequest(
        modality="rerank",
        tag=tag,
        path=_RERANK_PATHS[body],
        body=_json(asked),
        reader="rerank",
        sent={"rerank.documents": len(said)},
        texts=tuple(said),
    )


def data_uri(data: bytes, kind: str) -> str:
    """A file inside a URL."""
    return f"data:{kind};base64,{b64encode(data).decode()}"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
