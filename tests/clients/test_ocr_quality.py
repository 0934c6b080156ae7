"""Drawn invoices must be read as they were written."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from sdks import mistral

from clients.drawing import data_uri, png
from clients.invoices import Invoice, faces, invoice
from clients.sentences import distance
from modgate_ocr.samples import HELLO

SAMPLES = 7
AT_ONCE = 2
CHARACTER_ERRORS = 0.02
MARKS = re.compile(r"^#+ |^\|[ |-]+\|$|\|", re.MULTILINE)  # what markdown adds to the words


def test_an_invoice_is_drawn_from_its_seed() -> None:
    first = invoice(Random(1), "FreeSans")

    assert invoice(Random(1), "FreeSans") == first
    assert invoice(Random(2), "FreeSans") != first
    assert len(set(faces(Random(1), SAMPLES))) >= 3


@pytest.mark.models
def test_what_try_sends_to_a_model_that_reads_has_words_in_it(reader: mistral.Mistral) -> None:
    uri = data_uri("image/png", HELLO)
    reply = reader.ocr.process(
        model="mistral-ocr-latest", document={"type": "image_url", "image_url": uri}
    )

    assert reply.pages[0].markdown == "Hello world."


@pytest.mark.models
def test_invoices_are_read_with_few_wrong_characters(
    reader: mistral.Mistral, dice: Random, figure: Callable[[str], None]
) -> None:
    def read(drawn: Invoice) -> str:
        uri = data_uri("image/png", png(drawn.draw()))
        reply = reader.ocr.process(
            model="mistral-ocr-latest", document={"type": "image_url", "image_url": uri}
        )
        return " ".join(MARKS.sub(" ", reply.pages[0].markdown).split())

    invoices = [invoice(dice, face) for face in faces(dice, SAMPLES)]
    wrong = written = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for drawn, found in zip(invoices, threads.map(read, invoices), strict=True):
            errors = distance(drawn.text, found)
            if errors:
                print(f"{errors} wrong in {drawn.face} {drawn.size}:")
                print(f"  {drawn.text}\n  {found}")
            wrong, written = wrong + errors, written + len(drawn.text)
    figure(f"invoices read: CER {wrong / written:.4f} ({wrong} of {written}, {SAMPLES} faces)")

    assert wrong / written <= CHARACTER_ERRORS
