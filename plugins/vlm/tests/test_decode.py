"""Pictures as they come, and as an engine gets them."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import pytest
from PIL import Image

from modgate_vlm.cost import Family
from modgate_vlm.decode import ORIENTATION, Refused, check

MOST = [20 << 20, 50_000_000]
RED, BLUE, WHITE = (220, 20, 20), (20, 20, 220), (255, 255, 255)


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def checked(
    data: bytes, family: Family | None = None, detail: str = "auto", most: list[int] = MOST
) -> tuple[dict[str, Any], Image.Image | None]:
    """What is found, and the picture that was made of it."""
    spooled: list[bytes] = []

    def spool(written: bytes) -> int:
        spooled.append(base64.b64decode(written))
        return len(spooled)

    packed = base64.b64encode(data)
    found = check(packed, "png", most, list(family or Family()), detail, spool)
    return found, Image.open(io.BytesIO(spooled[0])) if spooled else None


def halves() -> Image.Image:
    """Left red, right blue: every turn of it looks different with a white corner."""
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    image.paste(WHITE, (0, 0, 16, 16))
    return image


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_that_lies_on_its_side_is_set_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    _, made = checked(saved(halves(), "PNG", exif=exif.tobytes()))
    upright = halves().transpose(TURNS[orientation])

    assert made is not None
    assert made.tobytes() == upright.tobytes()
    assert not made.getexif()


@pytest.mark.parametrize("orientation", [1, 0, 9])
def test_what_stands_upright_travels_as_it_is(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found, made = checked(saved(halves(), "JPEG", exif=exif.tobytes()))

    assert made is None
    assert found == {"pixels": 2048, "tokens": 3, "kind": "image/jpeg", "file": None}


def opaque() -> Image.Image:
    return halves().convert("RGBA")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (halves(), "PNG"),
        (halves(), "JPEG"),
        (halves(), "WEBP"),
        (halves().convert("L"), "PNG"),
        (opaque(), "PNG"),
    ],
)
def test_engines_get_the_clients_own_bytes_of_what_they_read(image: Image.Image, kind: str) -> None:
    assert checked(saved(image, kind))[1] is None


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_converted_without_loss(kind: str) -> None:
    found, made = checked(saved(halves(), kind))

    assert made is not None
    assert (found["kind"], made.format, made.size) == ("image/png", "PNG", (64, 32))
    assert made.convert("RGB").tobytes() == halves().tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_a_moving_picture_the_first_frame_is_sent(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    more: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    _, made = checked(saved(first, kind, save_all=True, append_images=[second], **more))

    assert made is not None
    assert made.convert("RGB").getpixel((4, 4)) == RED


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image = clear.convert("LA") if mode == "LA" else clear
    _, made = checked(saved(image if mode != "P" else clear.quantize(4), "PNG"))

    assert made is not None
    assert (made.mode, made.getpixel((3, 3))) == ("RGB", WHITE)


def test_printers_colours_become_rgb_and_stay_jpeg() -> None:
    found, made = checked(saved(halves().convert("CMYK"), "JPEG"))

    assert made is not None
    assert (found["kind"], made.format, made.mode) == ("image/jpeg", "JPEG", "RGB")


def test_sixteen_bits_of_grey_become_eight() -> None:
    _, made = checked(saved(Image.new("I;16", (4, 4), 0x8000), "PNG"))

    assert made is not None
    assert (made.mode, made.getpixel((1, 1))) == ("L", 128)


@pytest.mark.parametrize(("lossless", "kind"), [(False, "image/jpeg"), (True, "image/png")])
def test_a_lossy_source_is_made_a_jpeg_again(lossless: bool, kind: str) -> None:
    data = saved(halves().resize((2000, 1000)), "WEBP", lossless=lossless)
    found, made = checked(data, Family(name="pixtral"))

    assert made is not None
    assert (found["kind"], made.size, found["pixels"]) == (kind, (1024, 512), 2_000_000)


def test_a_picture_made_smaller_is_not_made_smaller_again() -> None:
    family = Family(name="qwen2_vl")
    found, made = checked(saved(halves().resize((3000, 2000)), "PNG"), family)
    assert made is not None
    again, left = checked(saved(made, "PNG"), family)

    assert (made.size, left, found["tokens"], again["tokens"]) == ((1204, 812), None, 1247, 1247)


def test_low_detail_is_made_of_few_pixels() -> None:
    found, made = checked(saved(halves().resize((2000, 1000)), "PNG"), detail="low")

    assert made is not None
    assert made.size == (724, 362)
    assert found["tokens"] == 350


def png_of(width: int, height: int) -> bytes:
    """A header that promises more than there is."""
    data = bytearray(saved(Image.new("L", (1, 1)), "PNG"))
    data[16:24] = width.to_bytes(4) + height.to_bytes(4)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(Refused) as caught:
        checked(png_of(50_000, 50_000))

    assert caught.value.code == "image_too_large"


def test_a_cut_picture_is_damaged() -> None:
    noise = Image.effect_noise((64, 64), 90)
    with pytest.raises(Refused, match="damaged"):
        checked(saved(noise, "PNG")[:-400])


def test_pixels_that_are_real_numbers_are_refused_and_not_made_black() -> None:
    with pytest.raises(Refused, match="real numbers"):
        checked(saved(Image.linear_gradient("L").convert("F"), "TIFF"))


def test_more_bytes_than_allowed_are_refused() -> None:
    with pytest.raises(Refused) as caught:
        checked(saved(halves(), "PNG"), most=[100, 50_000_000])

    assert caught.value.code == "image_too_large"


def test_a_shape_that_the_engine_refuses_is_refused_before_it() -> None:
    with pytest.raises(Refused) as caught:
        checked(saved(Image.new("L", (2100, 10)), "PNG"), Family(name="qwen2_vl"))

    assert caught.value.code == "invalid_value"


def test_heic_is_refused_by_name_without_its_decoder() -> None:
    with pytest.raises(Refused, match="the image is heic"):
        check(base64.b64encode(b"x"), "heic", MOST, list(Family()), "auto", None)


def test_a_fetched_file_is_put_in_base64() -> None:
    kept: list[bytes] = []
    data = saved(halves(), "PNG")
    check(io.BytesIO(data), "png", MOST, list(Family()), "auto", kept.append)

    assert base64.b64decode(kept[0]) == data
