"""PDFs that are made by hand: of pages of any width, locked, empty, damaged.

Source: ISO 32000-1, 7.6.3 (the standard security handler, revision 2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
ID = bytes(range(16))
PERMISSIONS = -4


def pdf(widths: Sequence[int], more: str = "") -> bytes:
    """A page of each width and 36 points high; at 200 dpi a point is 200 / 72 pixels."""
    kids = " ".join(f"{3 + page} 0 R" for page in range(len(widths)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(widths)}>>",
        *(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} 36]>>" for width in widths),
    ]
    out, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj{each}endobj\n"
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{rows}"
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R{more}>>\n"
    return (out + table + trailer + f"startxref\n{len(out)}\n%%EOF").encode()


def locked(password: str) -> bytes:
    """A PDF of one page that opens with this password; without one when it is empty."""
    user = (password.encode() + PAD)[:32]
    owner = _rc4(hashlib.md5((b"owner" + PAD)[:32], usedforsecurity=False).digest()[:5], user)
    whole = user + owner + PERMISSIONS.to_bytes(4, "little", signed=True) + ID
    check = _rc4(hashlib.md5(whole, usedforsecurity=False).digest()[:5], PAD)
    rules = f"/Filter/Standard/V 1/R 2/O<{owner.hex()}>/U<{check.hex()}>/P {PERMISSIONS}"
    return pdf([72], f"/Encrypt<<{rules}>>/ID[<{ID.hex()}><{ID.hex()}>]")


def _rc4(key: bytes, data: bytes) -> bytes:
    state, at = list(range(256)), 0
    for place in range(256):
        at = (at + state[place] + key[place % len(key)]) % 256
        state[place], state[at] = state[at], state[place]
    return bytes(byte ^ mask for byte, mask in zip(data, _masks(state), strict=False))


def _masks(state: list[int]) -> Iterator[int]:
    place = at = 0
    while True:
        place = (place + 1) % 256
        at = (at + state[place]) % 256
        state[place], state[at] = state[at], state[place]
        yield state[(state[place] + state[at]) % 256]
