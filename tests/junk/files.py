"""Bad files: uploads that are none, images and documents that lie, URLs that lead inside."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

from oracle import requests as ask
from oracle.framing import Part, write_multipart
from oracle.media import pdf_file, png, wav
from oracle.requests import ClientRequest, data_uri

from junk.case import Case, Gate

IMAGE_AT = "messages[0].content[0].image_url.url"
# A URL in a case is formatted with the address of the redirecting server.
INSIDE = (
    "https://127.0.0.1/a.png",
    "https://127.0.0.1:9/a.png",
    "https://[::1]/a.png",
    "https://localhost/a.png",
    "https://2130706433/a.png",
    "https://[::ffff:127.0.0.1]/a.png",
    "https://10.0.0.1/a.png",
)
METADATA = ("https://169.254.169.254/latest/meta-data", "https://[fd00:ec2::254]/latest/meta-data")
REDIRECTS = (
    "http://127.0.0.1:9/a.png",
    "https://127.0.0.1/a.png",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/a.png",
    "file:///etc/passwd",
)

GATES: dict[Gate, str] = {
    "shut": "no [fetch]",
    "public": '[fetch] "*"',
    "named": "its origin allowed",
}


def upload(*parts: Part) -> ClientRequest:
    """A transcription with these parts."""
    body, kind = write_multipart([Part(name="model", data=b"ears"), *parts])
    return replace(ask.transcription(0, model="ears"), body=body, content_type=kind)


def picture(url: str) -> ClientRequest:
    """A chat about one picture."""
    part = {"type": "image_url", "image_url": {"url": url}}
    body = {"model": "eyes", "messages": [{"role": "user", "content": [part]}]}
    request = ask.vision(0, model="eyes")
    return replace(request, body=json.dumps(body).encode())


def document(url: str, kind: str = "image_url") -> ClientRequest:
    """An OCR request for a file."""
    body = {"model": "pages", "document": {"type": kind, kind: url}}
    return replace(ask.ocr(0, model="pages"), body=json.dumps(body).encode())


def bomb() -> bytes:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\x00" * 100_000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def corrupt() -> bytes:
    """A PNG whose pixels are damaged."""
    good = bytearray(png(64, 64))
    middle = good.index(b"IDAT") + 8
    good[middle : middle + 40] = b"\xa5" * 40
    return bytes(good)


def many_pages() -> bytes:
    """A small PDF of many pages, all alike."""
    count = 10_000
    kids = " ".join(["3 0 R"] * count)
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    )
    return pdf_file(objects)


def _wav(data: bytes) -> Part:
    return Part(name="file", filename="speech.wav", content_type="audio/wav", data=data)


def _audio_cases() -> Iterator[Case]:
    refused = {"status": 400, "param": "file"}
    none, empty, text = upload(), upload(_wav(b"")), upload(_wav(b"this is no sound\n" * 50))
    field = upload(Part(name="file", data=b"a field, not a file"))
    missing = {**refused, "code": "missing_required_parameter"}
    bare = upload(Part(name="file", data=b"RIFF\xff\xfe\xfd"))
    yield Case(name="multipart without file", request=lambda tag: none, **missing)
    yield Case(name="a field in place of the file", request=lambda tag: field, **missing)
    yield Case(
        name="a file without a filename",
        request=lambda tag: bare,
        code="invalid_body",
        said=("a file needs a filename",),
        **refused,
    )
    yield Case(
        name="two files",
        request=lambda tag: upload(_wav(wav(300)), _wav(wav(300))),
        code="invalid_body",
        said=("2 files 'file'",),
        **refused,
    )
    yield Case(name="an empty file", request=lambda tag: empty, code="invalid_audio", **refused)
    yield Case(
        name="text named .wav",
        request=lambda tag: text,
        code="invalid_audio",
        said=("what can be read is wav, flac",),
        **refused,
    )
    torn = replace(none, body=none.body[: len(none.body) // 2])
    yield Case(
        name="multipart that is cut", request=lambda tag: torn, status=400, code="invalid_body"
    )
    heads = (b"no colon", b"X: " + b"x" * 70_000, b"X: y\r\n" * 5000)
    for number, head in enumerate(heads):
        spoilt = replace(none, body=none.body.replace(b"Content-Disposition", head + b"\r\nX", 1))
        yield Case(
            name=f"multipart with a broken head, {number}",
            request=lambda tag, spoilt=spoilt: spoilt,
            status=400,
            code="invalid_body",
        )
    foreign = replace(none, content_type="multipart/form-data")
    yield Case(
        name="multipart without a boundary",
        request=lambda tag: foreign,
        status=400,
        code="invalid_body",
        said=("the boundary that the content type names",),
    )


def _image_cases() -> Iterator[Case]:
    for name, data, code, said in (
        ("a corrupt PNG", corrupt(), "invalid_image_format", "damaged"),
        ("a 60,000 x 60,000 PNG header", bomb(), "image_too_large", "more than 50000000 pixels"),
    ):
        chat, page = picture(data_uri(data, "image/png")), document(data_uri(data, "image/png"))
        yield Case(
            name=f"{name} to see",
            request=lambda tag, chat=chat: chat,
            status=400,
            code=code,
            param="messages[0].content[0].image_url.url",
            said=(said,),
        )
        yield Case(
            name=f"{name} to read",
            request=lambda tag, page=page: page,
            status=422,
            envelope="mistral",
            param="document.image_url",
            said=(said,),
        )
    book = document(data_uri(many_pages(), "application/pdf"), "document_url")
    yield Case(
        name="a PDF with 10,000 pages",
        request=lambda tag: book,
        status=422,
        envelope="mistral",
        param="document.document_url",
        said=("more than 200 pages",),
    )
    text = picture(data_uri(b"no picture", "image/png"))
    yield Case(
        name="text as a picture",
        request=lambda tag: text,
        status=400,
        param=IMAGE_AT,
        code="invalid_image_format",
    )


def _url_cases() -> Iterator[Case]:
    for gate in GATES:
        for what, urls in (("inside", INSIDE), ("to a metadata address", METADATA)):
            for url in urls:
                yield from _fetched(what, url, gate, "invalid_image_url")
    for gate in ("shut", "public"):
        yield from _fetched("that redirects", "http://{redirects}/to", gate, "invalid_image_url")
    for url in REDIRECTS:
        through = "http://{redirects}/to?" + url
        yield from _fetched("that redirects inside", through, "named", "failed_to_download_image")


def _fetched(what: str, url: str, gate: Gate, code: str) -> Iterator[Case]:
    chat, page = picture(url), document(url)
    # What a name resolves to is found out later than what an address is.
    late = gate != "shut" and "localhost" in url
    yield Case(
        name=f"an image URL {what} with {GATES[gate]}, {url}",
        request=lambda tag: chat,
        status=400,
        gate=gate,
        code="failed_to_download_image" if late else code,
        param=IMAGE_AT,
    )
    yield Case(
        name=f"a document URL {what} with {GATES[gate]}, {url}",
        request=lambda tag: page,
        status=422,
        gate=gate,
        envelope="mistral",
        param="document.image_url",
    )


def file_cases() -> list[Case]:
    """All of these."""
    return [*_audio_cases(), *_image_cases(), *_url_cases()]
