"""Formats by their first bytes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modgate.kit.sniff import HEAD_BYTES, family, media_type, sniff

BOX = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "jpeg"),
        (b"GIF89a\x01\0", "gif"),
        (b"GIF87a\x01\0", "gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "webp"),
        (b"II*\0\x08\0\0\0", "tiff"),
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"BM" + b"\x46\0\0\0" + b"\0\0\0\0" + b"\x36\0\0\0" + b"\x28\0\0\0", "bmp"),
        (BOX + b"heic\0\0\0\0mif1heic", "heic"),
        (BOX + b"mif1\0\0\0\0heicmif1", "heic"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"fLaC\0\0\0\x22", "flac"),
        (b"ID3\x04\0\0\0\0\0\0", "mp3"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xf3\x40\xc0", "mp3"),
        (b"OggS\0\x02" + bytes(22) + b"\x01\x1e\x01vorbis", "ogg"),
        (b"OggS\0\x02" + bytes(22) + b"OpusHead\x01", "opus"),
        (BOX + b"M4A \0\0\0\0isomM4A ", "m4a"),
        (BOX + b"isom\0\0\x02\0isomiso2", "mp4"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81", "webm"),
        (b"FORM\0\0\0\x1eAIFFCOMM", "aiff"),
        (b"FORM\0\0\0\x1eAIFCFVER", "aiff"),
        (b"\xff\xf1\x50\x80\x02", "aac"),
        (b"%PDF-1.7\n", "pdf"),
        (b"\xef\xbb\xbf\r\n%PDF-1.4\n", "pdf"),
    ],
)
def test_a_format_is_known_by_its_first_bytes(head: bytes, name: str) -> None:
    assert sniff(head + bytes(64)) == name


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"<html><body>",
        b"BMW is a car, and not a bitmap at all",
        b"\xff\xfet\0e\0x\0t\0",  # UTF-16 text
        b"RIFF\x24\0\0\0AVI LIST",
        BOX + b"avif\0\0\0\0mif1avif",
        b"PK\x03\x04",
        b"#!/bin/sh\n",
        b"x" * HEAD_BYTES + b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_known_format_has_no_name(head: bytes) -> None:
    assert sniff(head) == ""


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "gif", "bmp", "tiff"])
def test_what_pillow_writes_is_known(name: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, name)

    assert sniff(file.getvalue()[:HEAD_BYTES]) == name


@pytest.mark.parametrize(
    ("name", "kind", "kind_of_media"),
    [
        ("png", "image", "image/png"),
        ("mp3", "audio", "audio/mpeg"),
        ("pdf", "pdf", "application/pdf"),
        ("", "", "application/octet-stream"),
        ("exe", "", "application/octet-stream"),
    ],
)
def test_a_format_has_a_family_and_a_media_type(name: str, kind: str, kind_of_media: str) -> None:
    assert (family(name), media_type(name)) == (kind, kind_of_media)


@given(st.binary(max_size=80))
@settings(derandomize=True, deadline=None)
def test_any_bytes_have_a_name_that_is_known_or_none(head: bytes) -> None:
    name = sniff(head)

    assert name == "" or family(name) in {"image", "audio", "pdf"}
