"""Documents through a running gateway: a page that fails for good, and what cannot be opened."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web
from gateways import Running, start
from made_pdfs import locked, pdf
from PIL import Image
from waiting import until

from modgate.ledger.reader import rows
from modgate.plugin import Json
from modgate_ocr.samples import data_url

WIDTHS = (72, 144, 216, 288)  # of pages in points: an engine knows a page by its width
HEIGHT = 100  # pixels
BAD = 1


def pixels(page: int) -> int:
    """Across, at 200 dpi."""
    return WIDTHS[page] * 200 // 72


class Engine:
    """Reads every page but one, and counts what it read."""

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()
        self.failed = 0
        self.bad: Callable[[], web.Response] = lambda: web.Response(status=500, text="{}")

    async def health(self, request: web.Request) -> web.Response:
        """Alive."""
        return web.Response()

    async def recognise(self, request: web.Request) -> web.Response:
        """One page: its width is its name."""
        image = (await request.post())["image"]
        assert isinstance(image, web.FileField)
        page = WIDTHS.index(int.from_bytes(image.file.read(24)[16:20]) * 72 // 200)
        if page == BAD:
            self.failed += 1
            return self.bad()
        self.read[page] += 1
        line = {"text": f"page {page}", "box": [1, 1, 50, 20]}
        return web.Response(body=orjson.dumps({"lines": [line]}), content_type="application/json")


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
async def running(tmp_path: Path, engine: Engine) -> AsyncIterator[Running]:
    app = web.Application()
    app.router.add_post("/ocr", engine.recognise)
    app.router.add_get("/health", engine.health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    backend = {"url": f"http://{host}:{port}"}
    async with await start(tmp_path, [backend], plugins=("ocr",)) as running:
        yield running
    await runner.cleanup()


def cut_picture() -> str:
    """A JPEG that ends too early, after a head that says how large it is."""
    whole = io.BytesIO()
    Image.effect_noise((200, 100), 50).save(whole, "JPEG")
    return data_url("image/jpeg", whole.getvalue()[:2000])


async def asked(running: Running, data: bytes, **more: Json) -> tuple[int, str | None, Json]:
    """Status, the pages that are named as failed, and the reply."""
    document = {"type": "document_url", "document_url": data_url("application/pdf", data)}
    return await sent(running, document, **more)


async def sent(
    running: Running, document: dict[str, str], **more: Json
) -> tuple[int, str | None, Json]:
    """The same of a document as a client writes it."""
    body = {"model": "pages", "document": document, **more}
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.url + "/v1/ocr", json=body, headers=running.headers) as reply,
    ):
        return reply.status, reply.headers.get("x-modgate-partial"), await reply.json()


async def billed(running: Running) -> tuple[int, int, bool]:
    """Pages and pixels of the one row of the ledger, written just behind the reply, and whether
    they are exact."""
    await until(lambda: list(rows(running.ledger)))
    [row] = rows(running.ledger)
    return row.units.get("ocr.pages", 0), row.units.get("ocr.image_pixels", 0), row.exact


@pytest.mark.parametrize(
    "bad",
    [
        lambda: web.Response(status=500, text="{}"),
        lambda: web.json_response({"error": {"message": "no"}}, status=400),
        lambda: web.json_response({"error": {"message": "too large"}}, status=413),
        lambda: web.Response(text="<html>", content_type="text/html"),
        lambda: web.json_response({}),
    ],
    ids=["500", "400", "413", "no json", "no page"],
)
async def test_a_partial_document_has_all_pages_and_costs_those_that_were_read(
    running: Running, engine: Engine, bad: Callable[[], web.Response]
) -> None:
    engine.bad = bad
    status, named, reply = await asked(running, pdf(WIDTHS), partial=True)
    bill = await billed(running)

    assert (status, named) == (200, f"pages={BAD}")
    assert [page["index"] for page in reply["pages"]] == [0, 1, 2, 3]
    said = [page["markdown"] for page in reply["pages"]]
    assert said == ["page 0", "", "page 2", "page 3"]
    assert reply["usage_info"]["pages_processed"] == 3
    assert engine.read == Counter({0: 1, 2: 1, 3: 1})
    assert engine.failed >= 1
    across = sum(pixels(page) * times for page, times in engine.read.items())
    assert bill == (engine.read.total(), across * HEIGHT, True)


async def test_without_partial_one_bad_page_fails_all_and_costs_what_went_before(
    running: Running, engine: Engine
) -> None:
    status, named, reply = await asked(running, pdf(WIDTHS))
    bill = await billed(running)

    assert (status, named) == (502, None)
    assert reply["code"] == "upstream_error"
    assert engine.failed >= 1
    assert bill == (1, pixels(0) * HEIGHT, False)


async def test_a_document_of_which_no_page_could_be_read_fails_and_costs_nothing(
    running: Running,
) -> None:
    status, named, reply = await asked(running, pdf(WIDTHS), pages=[BAD], partial=True)
    pages, area, _ = await billed(running)

    assert (status, named) == (502, None)
    assert reply["code"] == "upstream_error"
    assert (pages, area) == (0, 0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (locked("secret"), "the PDF is encrypted"),
        (pdf([]), "no pages"),
        (b"%PDF-1.7\nthis is no PDF", "could not be read"),
        (pdf(WIDTHS)[:60], "could not be read"),
    ],
    ids=["locked", "empty", "damaged", "cut"],
)
@pytest.mark.parametrize("partial", [False, True])
async def test_a_pdf_that_cannot_be_opened_is_the_clients_and_costs_nothing(
    running: Running, engine: Engine, data: bytes, told: str, partial: bool
) -> None:
    status, _, reply = await asked(running, data, partial=partial)
    pages, area, _ = await billed(running)

    assert status == 422
    [fault] = reply["detail"]
    assert fault["loc"] == ["body", "document", "document_url"]
    assert told in fault["msg"]
    assert not engine.read
    assert (pages, area) == (0, 0)


ENCODED = "data:application/pdf;base64," + base64.b64encode(pdf(WIDTHS)).decode()


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("image_url", cut_picture(), "the image is damaged"),
        ("document_url", ENCODED.partition(",")[2], "a URL, or a data URI"),
        ("document_url", "file:///etc/hosts", "a URL, or a data URI"),
        ("document_url", ENCODED + "!", "not valid base64"),
    ],
    ids=["cut", "bare base64", "another scheme", "torn base64"],
)
async def test_what_is_wrong_with_a_document_is_told_of_the_field_that_brought_it(
    running: Running, kind: str, given: str, told: str
) -> None:
    status, _, reply = await sent(running, {"type": kind, kind: given})

    assert status == 422
    [fault] = reply["detail"]
    assert fault["loc"] == ["body", "document", kind]
    assert told in fault["msg"]


async def test_a_pdf_that_only_its_owner_may_change_is_read(running: Running) -> None:
    status, _, reply = await asked(running, locked(""))

    assert status == 200
    assert [page["markdown"] for page in reply["pages"]] == ["page 0"]
