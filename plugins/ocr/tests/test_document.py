"""From a document to the reply: rendering, refusals, pictures, and the bill of a partial one."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from PIL import Image

from modgate.plugin import BadReply, Event, Fields, Json, Outcome, Refused, Sample
from modgate.testing import Rig
from modgate_ocr.ask import document_of
from modgate_ocr.config import Config
from modgate_ocr.modality import Ocr
from modgate_ocr.relay import pages_named
from modgate_ocr.samples import PATH, data_url, pdf, png

LINES = b'{"lines":[{"text":"below","box":[10,900,90,920]}]}'
PDF = data_url("application/pdf", pdf(3, "https://example.com/a"))
Reads = Callable[..., Json]


def asked(url: str, **more: Json) -> Sample:
    document = {"type": "document_url", "document_url": url}
    return Sample(path=PATH, json={"model": "m", "document": document, **more})


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    def read(url: str, **more: Json) -> Json:
        with Rig(Ocr(Config()), tmp_path) as rig:
            played = rig.drive(rig.plan(asked(url, **more))).play(
                lambda index, call: [Event(LINES)]
            )
        return orjson.loads(played.reply)

    return read


def pictured() -> str:
    """A PDF page of 1000 x 1400 pixels at 200 dpi: a picture of 400 x 300 in its upper left."""
    red = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(red, "JPEG")
    jpeg = red.getvalue()
    content = b"q 144 0 0 108 36 360 cm /I Do Q"
    front = b"/Type/XObject/Subtype/Image/Width 80/Height 60/ColorSpace/DeviceRGB"
    streams = [
        b"<<" + front + b"/BitsPerComponent 8/Filter/DCTDecode/Length %d>>" % len(jpeg), jpeg,
        b"<</Length %d>>" % len(content), content,
    ]  # fmt: skip  # rows as they are read
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 360 504]/Contents 5 0 R"
        b"/Resources<</XObject<</I 4 0 R>>>>>>",
        streams[0] + b"stream\n" + streams[1] + b"\nendstream",
        streams[2] + b"stream\n" + streams[3] + b"\nendstream",
    ]
    body = b"".join(b"%d 0 obj" % at + each + b"\nendobj\n" for at, each in enumerate(objects, 1))
    return data_url("application/pdf", b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>")


def drawn(content: bytes, side: int = 72) -> str:
    """A PDF page of so many points each way, on which this is drawn."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R>>" % (side, side),
        b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
    ]
    body = b"".join(b"%d 0 obj" % at + each + b"\nendobj\n" for at, each in enumerate(objects, 1))
    return data_url("application/pdf", b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>")


def test_a_page_as_large_as_a_wall_is_drawn_with_ten_megapixels_at_most(reads: Reads) -> None:
    size = reads(drawn(b"0 0 9 9 re f", side=14_400))["pages"][0]["dimensions"]

    assert 9_900_000 < size["width"] * size["height"] <= 10_010_000


@pytest.mark.parametrize(("objects", "taken"), [(50_000, True), (50_001, False)])
def test_a_page_has_fifty_thousand_objects_at_most(reads: Reads, objects: int, taken: bool) -> None:
    url = drawn(b"0 0 1 1 re f\n" * objects)
    if taken:
        assert reads(url)["pages"][0]["markdown"] == "below"
        return
    with pytest.raises(Refused, match="more than 50000 objects"):
        reads(url)


def test_a_picture_of_a_pdf_is_cut_out_and_stands_above_the_text(reads: Reads) -> None:
    page = reads(pictured(), include_image_base64=True)["pages"][0]

    assert page["markdown"] == "![img-0.jpeg](img-0.jpeg)\n\nbelow"
    (image,) = page["images"]
    places = [image[f"{corner}_{axis}"] for corner in ("top_left", "bottom_right") for axis in "xy"]
    assert places == pytest.approx([100, 100, 500, 400], abs=2)
    front, _, encoded = image["image_base64"].partition(",")
    cut = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert front == "data:image/jpeg;base64"
    assert cut.size == pytest.approx((400, 300), abs=2)


@pytest.mark.parametrize("wish", [{"image_limit": 0}, {"image_min_size": 310}])
def test_a_picture_that_is_not_wanted_leaves_no_trace(reads: Reads, wish: dict[str, Json]) -> None:
    page = reads(pictured(), **wish)["pages"][0]

    assert (page["markdown"], page["images"]) == ("below", [])


def test_a_picture_that_is_the_document_is_no_picture_of_it(reads: Reads) -> None:
    page = reads(data_url("image/png", png(60, 40)), include_image_base64=True)["pages"][0]

    assert (page["markdown"], page["images"]) == ("below", [])


def test_pages_keep_their_numbers_and_links(reads: Reads) -> None:
    reply = reads(PDF, pages="2,0")

    assert [page["index"] for page in reply["pages"]] == [0, 2]
    assert reply["pages"][1]["hyperlinks"] == ["https://example.com/a"]


def test_an_image_is_turned_as_its_exif_says(reads: Reads) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(out, "JPEG", exif=exif, dpi=(150, 150))

    page = reads(data_url("image/jpeg", out.getvalue()))["pages"][0]

    assert page["dimensions"] == {"dpi": 150, "height": 60, "width": 40}


def test_pixels_that_are_real_numbers_are_refused_and_not_read_as_black(reads: Reads) -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("F").save(out, "TIFF")
    with pytest.raises(Refused, match="real numbers"):
        reads(data_url("image/tiff", out.getvalue()))


def test_a_picture_without_a_resolution_has_72(reads: Reads) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 40)).save(out, "TIFF")

    page = reads(data_url("image/tiff", out.getvalue()))["pages"][0]

    assert page["dimensions"] == {"dpi": 72, "height": 40, "width": 60}


@pytest.mark.parametrize(
    ("url", "more", "field"),
    [
        (data_url("application/pdf", b"%PDF-1.4 nothing"), {}, "document.document_url"),
        (data_url("image/png", png(9, 9)[:40]), {}, "document.document_url"),
        ("data:image/png;base64,iVBORw0KGgo*", {}, "document.document_url"),
        (PDF, {"pages": [3]}, "pages"),
        (PDF, {"pages": "2-1"}, "pages"),
        (PDF, {"table_format": "csv"}, "table_format"),
        (
            PDF,
            {"document_annotation_format": {"type": "json_schema"}},
            "document_annotation_format",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_field(
    reads: Reads, url: str, more: dict[str, Json], field: str
) -> None:
    with pytest.raises(Refused) as caught:
        reads(url, **more)

    assert caught.value.field == field


def test_the_scheme_of_an_address_may_be_in_capitals() -> None:
    given = "HTTPS://store.example/a.pdf"
    fields = Fields({"document": {"type": "document_url", "document_url": given}})

    assert document_of(fields, 100).url == given


def test_a_partial_document_costs_the_pages_that_were_read(tmp_path: Path) -> None:
    with Rig(Ocr(Config()), tmp_path) as rig:
        drive = rig.drive(rig.plan(asked(PDF, partial=True)))
        for index in range(3):
            drive.draw()
            if index == 1:
                with pytest.raises(BadReply):
                    drive.feed(Event(b"{}"))
            elif index == 0:
                drive.feed(Event(LINES))
            drive.end("failed" if index == 2 else "ok")
        usage, reply = drive.usage(), orjson.loads(drive.close())
        cut = drive.relay.usage([*drive.outcomes[:2], Outcome(state="cancelled")])

    assert dict(usage.units) == {"pages": 1, "image_pixels": 20_000}
    assert (usage.exact, cut.exact) == (True, False)
    assert drive.head is not None
    assert drive.head.headers == {"x-modgate-partial": "pages=1,2"}
    assert [page["markdown"] for page in reply["pages"]] == ["below", "", ""]
    assert reply["usage_info"]["pages_processed"] == 1


def test_of_very_many_pages_the_first_are_named() -> None:
    named = pages_named(range(3000))

    assert named.startswith("pages=0,1,2,")
    assert named.endswith(",499,...")
    assert pages_named(range(2)) == "pages=0,1"


def test_a_page_that_was_cut_is_named(tmp_path: Path) -> None:
    with Rig(Ocr(Config()), tmp_path) as rig:
        sample = replace(asked(PDF, pages=[1]), facts={"max_tokens": 9})
        drive = rig.drive(rig.plan(sample))
        played = drive.play(lambda index, call: [Event(b'{"markdown":"a","cut":true}')])

    assert drive.reserve["output_tokens"] == 9
    assert played.head.headers == {"x-modgate-truncated": "pages=1"}


def test_a_page_whose_engine_counts_nothing_beside_pages_of_one_that_does_is_no_exact_bill(
    tmp_path: Path,
) -> None:
    counted = b'{"markdown":"a","tokens":{"input":9,"output":4}}'
    with Rig(Ocr(Config()), tmp_path) as rig:
        plain, mixed, all_counted = (
            rig.drive(rig.plan(asked(PDF)))
            .play(lambda index, call, said=said: [Event(said[index])])
            .usage
            for said in ([LINES] * 3, [counted, LINES, counted], [counted] * 3)
        )

    assert (plain.exact, plain.by) == (True, "gateway")
    assert (mixed.exact, mixed.by) == (False, "estimate")
    assert (all_counted.exact, all_counted.by) == (True, "engine")
    assert mixed.units["input_tokens"] == 18
