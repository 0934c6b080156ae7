"""Pictures with several pages: each is read, and costs what a page of a PDF does."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import pytest
from made_pdfs import pdf
from PIL import Image

from modgate.plugin import Call, Event, Json, Refused, Sample, Slice
from modgate.testing import Rig
from modgate_ocr.config import Config
from modgate_ocr.modality import Ocr
from modgate_ocr.samples import PATH, data_url

SUBFILE, OLD_SUBFILE, ORIENTATION, HEIGHT = 254, 255, 274, 10


def tiff(*pages: Mapping[int, int], end: int = 0) -> bytes:
    """Grey pages 10, 20, 30 ... pixels wide with these tags; `end`: what the last one points at."""
    out = struct.pack("<2sHI", b"II", 42, 8)
    for at, more in enumerate(pages):
        width = 10 + 10 * at
        tags = {256: width, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 277: 1, 278: HEIGHT}
        tags |= {279: width * HEIGHT, **more}
        behind = len(out) + 2 + 12 * (len(tags) + 1) + 4
        tags[273] = behind
        out += struct.pack("<H", len(tags))
        out += b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
        last = at == len(pages) - 1
        out += struct.pack("<I", end if last else behind + width * HEIGHT)
        out += bytes([40 * at]) * (width * HEIGHT)
    return out


def moving(form: str) -> bytes:
    """An animation of three frames."""
    out = io.BytesIO()
    first, *others = [Image.new("RGB", (20, 10), (at * 90,) * 3) for at in range(3)]
    first.save(out, form, save_all=True, append_images=others)
    return out.getvalue()


class Reading:
    """A document's reply, what it was billed, and how wide what the engine saw was."""

    def __init__(self, folder: Path, data: bytes, config: Config, **more: Json) -> None:
        document = {"type": "image_url", "image_url": data_url("image/tiff", data)}
        sample = Sample(path=PATH, json={"model": "m", "document": document, **more})
        self.widths: list[int] = []
        with Rig(Ocr(config), folder) as rig:
            drive = rig.drive(rig.plan(sample))
            self.reserved = dict(drive.reserve)
            played = drive.play(self._read)
        self.pages = orjson.loads(played.reply)["pages"]
        self.billed = dict(played.usage.units)

    def _read(self, index: int, call: Call) -> Iterator[Event]:
        image = next(part.content for part in call.body.parts if part.name == "image")
        assert isinstance(image, Slice)
        with Image.open(io.BytesIO(image.file.read())) as opened:
            self.widths.append(opened.width)
        yield Event(orjson.dumps({"markdown": f"{self.widths[-1]} wide"}))


@pytest.mark.parametrize(("form", "frames"), [("PNG", 3), ("GIF", 3), ("WEBP", 3)])
def test_each_frame_of_an_animation_is_a_page(tmp_path: Path, form: str, frames: int) -> None:
    reading = Reading(tmp_path, moving(form), Config())

    assert [page["index"] for page in reading.pages] == list(range(frames))
    assert reading.billed == {"pages": frames, "image_pixels": 200 * frames}


def test_each_page_of_a_tiff_is_read_and_costs_its_own_pixels(tmp_path: Path) -> None:
    reading = Reading(tmp_path, tiff({}, {}, {ORIENTATION: 6}), Config())

    assert [page["markdown"] for page in reading.pages] == ["10 wide", "20 wide", "10 wide"]
    assert reading.pages[2]["dimensions"] == {"dpi": 72, "height": 30, "width": 10}
    assert reading.billed == reading.reserved == {"pages": 3, "image_pixels": 600}


def test_pages_of_a_tiff_are_chosen_as_those_of_a_pdf(tmp_path: Path) -> None:
    reading = Reading(tmp_path, tiff({}, {}, {}), Config(), pages="0,2")

    assert [page["index"] for page in reading.pages] == [0, 2]
    assert reading.widths == [10, 30]
    assert reading.billed == {"pages": 2, "image_pixels": 400}


@pytest.mark.parametrize("tags", [{SUBFILE: 1}, {SUBFILE: 4}, {OLD_SUBFILE: 2}])
def test_a_smaller_copy_or_a_mask_is_no_page(tmp_path: Path, tags: dict[int, int]) -> None:
    reading = Reading(tmp_path, tiff({}, tags, {SUBFILE: 2}), Config())

    assert [page["index"] for page in reading.pages] == [0, 1]
    assert reading.widths == [10, 30]


def grown() -> bytes:
    """A GIF of 20 x 10 whose second frame says that it is larger than the screen."""
    parts = []
    for size in ((20, 10), (600, 500), (20, 10)):
        out = io.BytesIO()
        Image.new("P", size, 1).save(out, "GIF", optimize=False)
        parts.append(out.getvalue())
    head = 13 + (3 * 2 << (parts[0][10] & 7))
    return parts[0][:-1] + b"".join(part[head:-1] for part in parts[1:]) + b";"


def test_a_frame_beyond_its_animation_costs_what_was_reserved_for_it(tmp_path: Path) -> None:
    reading = Reading(tmp_path, grown(), Config())

    assert reading.widths == [20, 20, 20]
    assert reading.billed == reading.reserved == {"pages": 3, "image_pixels": 600}


def test_a_tiff_of_nothing_but_copies_is_not_walked_for_ever(tmp_path: Path) -> None:
    copies = [{SUBFILE: 1}] * 10_000
    flat = b"".join([tiff({})[:8], *_directories(copies)])

    with pytest.raises(Refused, match="more than 10000 pictures"):
        Reading(tmp_path, flat, Config())


def _directories(pages: list[dict[int, int]]) -> Iterator[bytes]:
    """A page and those behind it, all with the same pixels."""
    at = 8
    for index, more in enumerate([{}, *pages]):
        tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1, 279: 1, 273: 8} | more
        at += 2 + 12 * len(tags) + 4
        made = struct.pack("<H", len(tags))
        made += b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
        yield made + struct.pack("<I", at if index < len(pages) else 0)


def test_what_a_camera_puts_behind_its_picture_is_no_page(tmp_path: Path) -> None:
    out = io.BytesIO()
    picture = Image.new("RGB", (40, 20))
    picture.save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])

    reading = Reading(tmp_path, out.getvalue(), Config())

    assert reading.widths == [40]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("data", "config", "more", "code"),
    [
        (tiff({}, {}, {}), Config(max_pages=2), {}, "too_many_pages"),
        (tiff({}, {}, {}), Config(max_pages=1), {"pages": [1, 2]}, "too_many_pages"),
        (tiff({}, {}), Config(), {"pages": [2]}, "invalid_value"),
        (tiff({}, {}), Config(page_pixels=150), {}, "image_too_large"),
        (tiff({}, {}, end=1 << 20), Config(), {}, "invalid_image_format"),
        (moving("GIF"), Config(max_pages=2), {}, "too_many_pages"),
        (pdf([10, 20, 30]), Config(max_pages=2), {}, "too_many_pages"),
        (moving("PNG"), Config(), {"pages": [3]}, "invalid_value"),
    ],
    ids=[
        "many",
        "chosen",
        "beyond",
        "large",
        "damaged",
        "moving",
        "printed",
        "beyond the last frame",
    ],
)
def test_what_has_too_much_is_refused(
    tmp_path: Path, data: bytes, config: Config, more: dict[str, Json], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        Reading(tmp_path, data, config, **more)

    assert refused.value.code == code


def test_a_page_in_front_of_what_is_damaged_is_read(tmp_path: Path) -> None:
    reading = Reading(tmp_path, tiff({}, {}, end=1 << 20), Config(), pages=[1])

    assert reading.widths == [20]


def test_a_tiff_that_leads_back_to_its_start_ends(tmp_path: Path) -> None:
    assert Reading(tmp_path, tiff({}, {}, end=8), Config()).widths == [10, 20]


def test_an_animation_that_ends_before_it_said_is_refused(tmp_path: Path) -> None:
    data = moving("PNG")
    with pytest.raises(Refused, match="damaged"):
        Reading(tmp_path, data[: data.rindex(b"fcTL") - 4], Config())
