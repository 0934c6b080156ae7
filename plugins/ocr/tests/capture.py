"""Capture the transcripts of rapidocr-api from a server that really runs.

    python -m venv V; V/bin/pip install rapidocr_api==0.2.0 onnxruntime
    V/bin/uvicorn rapidocr_api.main:app --port 9003
    V/bin/uvicorn rapidocr_api.main:app --port 9004 --limit-concurrency 1
    ./dev python plugins/ocr/tests/capture.py http://127.0.0.1:9003 http://127.0.0.1:9004

The second server refuses every call, as one that has too many.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from PIL import Image, ImageDraw, ImageFont

from modgate.plugin import Body, Call, Event, GatewayError, Part, Served
from modgate_ocr.dialects import OcrRapidOcrApi

FOLDER = Path(__file__).parent / "transcripts" / "rapidocr-api"
COMMAND = "plugins/ocr/tests/capture.py"
BOUNDARY = "modgate-capture"
TIMEOUT_S = 120


def main(good: str, full: str) -> None:
    """Write every transcript anew."""
    row = picture([("Invoice 4711", 20, 20), ("Total 12.50", 260, 22)], (420, 70))
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = {
        "whole": transcript(good, row),
        "two-rows": transcript(
            good, picture([("Dear Sir", 20, 20), ("Yours", 20, 90)], (220, 150))
        ),
        "no-text": transcript(good, picture([], (64, 64))),
        "error": transcript(good, b"this is no picture"),
        "overload": transcript(full, picture([], (8, 8))),
    }
    for name, text in written.items():
        (FOLDER / f"{name}.toml").write_text(text)


def picture(words: list[tuple[str, int, int]], size: tuple[int, int]) -> bytes:
    """Black words on white, as a PNG."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for text, left, top in words:
        pen.text((left, top), text, fill="black", font=ImageFont.load_default(24))
    out = io.BytesIO()
    image.quantize(8).convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


def transcript(url: str, image: bytes) -> str:
    """One call, as our dialect sends it, with the server's own answer."""
    part = Part(name="image", content=image, filename="page.png", content_type="image/png")
    call = Call(path="/ocr", body=Body.form([Part(name="model", content=b""), part]))
    dialect = OcrRapidOcrApi(call, Served(asked="m", model="m", name="engine-name"))
    outgoing = dialect.encode()
    status, kind, body = sent(url + outgoing.path, outgoing.body)
    lines = [
        'provenance = "captured"',
        'engine = "rapidocr-api"',
        'version = "0.2.0"',
        f'date = "{datetime.now(UTC):%Y-%m-%d}"',
        f'command = "{COMMAND}"',
        "[call]",
        f'path = "{call.path}"',
        'reply = "whole"',
        f"form = {form(call.body)}",
        "[request]",
        f'path = "{outgoing.path}"',
        'form = [{ name = "image_file", filename = "page.png", same_as = "image" }]',
        "[reply]",
        f"status = {status}",
        f"headers = {{ content-type = {json.dumps(kind)} }}",
        f"body = '''{body}'''",
        "[gives]",
        gives(dialect, status, kind, body),
    ]
    return "\n".join(lines) + "\n"


def sent(url: str, body: Body) -> tuple[int, str, str]:
    """Status, content type and body of the answer."""
    request = Request(
        url, multipart(body), {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    )
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers["content-type"], error.read().decode()


def multipart(body: Body) -> bytes:
    """A form as it is sent."""
    out = b""
    for part in body.parts:
        assert isinstance(part.content, bytes)
        name = f'form-data; name="{part.name}"; filename="{part.filename}"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {name}\r\nContent-Type: {part.content_type}"
        out += head.encode() + b"\r\n\r\n" + part.content + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


def form(body: Body) -> str:
    """A form's parts as a transcript spells them."""
    parts = []
    for part in body.parts:
        assert isinstance(part.content, bytes)
        if part.filename is None:
            parts.append(f'{{ name = "{part.name}", text = "{part.content.decode()}" }}')
        else:
            data = base64.b64encode(part.content).decode()
            file = f'filename = "{part.filename}", base64 = "{data}"'
            parts.append(f'{{ name = "{part.name}", {file} }}')
    return f"[{', '.join(parts)}]"


def gives(dialect: OcrRapidOcrApi, status: int, kind: str, body: str) -> str:
    """What the dialect makes of the answer."""
    if status >= 400:
        error: GatewayError = dialect.refusal(status, {"content-type": kind}, body.encode())
        return f'error = {{ status = {error.status}, code = "{error.code}" }}'
    events = [event.data.decode() for event in dialect.decode(Event(body.encode()))]
    return f"events = [{', '.join(repr(event) for event in events)}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
