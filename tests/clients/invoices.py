"""Invoices drawn from common words, amounts and the fonts of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from clients.drawing import FACES, font
from clients.words import ADJECTIVES, NOUNS

WIDTH = 1000
SIZES = (20, 22, 24, 26)
LINES = (5, 9)
MARGIN = 50
MONTHS = "January February March April May June July August September October November December"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A drawn page.  `rows`: what is written on it, each row from left to right."""

    face: str
    size: int
    rows: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """All of it in reading order, one blank between words."""
        return " ".join(" ".join(row) for row in self.rows)

    def draw(self) -> Image.Image:
        """Black on white: a heading, then three columns."""
        letters, heading = font(self.face, self.size), font(self.face, self.size * 2)
        step = self.size * 2
        picture = Image.new("RGB", (WIDTH, step * (len(self.rows) + 4)), "white")
        pen = ImageDraw.Draw(picture)
        for number, row in enumerate(self.rows):
            top = step * (number + (1 if number == 0 else 2))
            for left, cell in zip(_columns(len(row)), row, strict=True):
                pen.text((left, top), cell, fill="black", font=letters if number else heading)
        return picture


def _columns(cells: int) -> tuple[int, ...]:
    return {1: (MARGIN,), 2: (MARGIN, 780), 3: (MARGIN, 560, 780)}[cells]


def invoice(dice: Random, face: str) -> Invoice:
    """An invoice in one face, everything else drawn."""
    amounts = [dice.randrange(100, 100_000) for _ in range(dice.randint(*LINES))]
    items = [
        (
            f"{dice.choice(ADJECTIVES)} {dice.choice(NOUNS)}",
            f"{dice.randrange(2, 100)} pieces",
            money(amount),
        )
        for amount in amounts
    ]
    day, month, year = dice.randint(1, 28), dice.choice(MONTHS.split()), dice.randint(2015, 2030)
    rows = [
        ("Invoice",),
        (f"Number {dice.randrange(10_000, 100_000)}",),
        (f"Date {day} {month} {year}",),
        *items,
        ("Total amount", money(sum(amounts))),
    ]
    return Invoice(face=face, size=dice.choice(SIZES), rows=tuple(rows))


def money(cents: int) -> str:
    """An amount as invoices write it."""
    return f"{cents // 100}.{cents % 100:02}"


def faces(dice: Random, count: int) -> list[str]:
    """`count` faces, as different as there are: none comes twice before all came once."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += dice.sample(sorted(FACES), len(FACES))
    return drawn[:count]
