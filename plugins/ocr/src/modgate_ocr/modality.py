"""The ocr modality: Mistral's endpoint, units, and how a document becomes page calls."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from modgate.kit.facts import facts_of
from modgate.kit.sniff import HEAD_BYTES
from modgate.plugin import (
    MIB,
    Body,
    Call,
    Drawn,
    Endpoint,
    Fetch,
    File,
    Json,
    Modality,
    Need,
    Part,
    Plan,
    Request,
    StandIn,
    Target,
    Unit,
    Units,
    Work,
)
from modgate_ocr.ask import document_of, head_of, kind_of, pages_of, wishes_of
from modgate_ocr.boxes import box_of
from modgate_ocr.config import Config, Facts
from modgate_ocr.decode import inspect, render
from modgate_ocr.page import PIXELS_PER_TOKEN, Page, Picture
from modgate_ocr.relay import Recognised
from modgate_ocr.samples import SAMPLES


class Ocr(Modality[Config]):
    """Text recognition, metered in pages and pixels."""

    name = "ocr"
    units = (
        Unit("pages", "pages that were recognised"),
        Unit("image_pixels", "pixels of those pages, as the client is told them"),
        Unit("input_tokens", "tokens that a vision model read, where one serves the model"),
        Unit("output_tokens", "tokens that it wrote", learned=True),
    )
    weights = {"image_pixels": 1e-6}
    phases = {"total": Target(base_s=0.5, per_unit={"image_pixels": 0.6e-6})}
    deadlines = {
        "first_byte": Target(base_s=120.0, per_unit={"pages": 60.0}),
        "total": Target(base_s=120.0, per_unit={"pages": 60.0}),
    }
    gateway_counts = frozenset({"pages", "image_pixels"})
    config_type = Config
    model_type = Facts
    samples = SAMPLES
    stand_in = StandIn(said=("page_schema",))

    def endpoints(self) -> Iterator[Endpoint]:
        """Mistral's OCR endpoint."""
        yield Endpoint(
            path="/v1/ocr",
            surfaces=("mistral",),
            shape=self.shape,
            at_most=self.config.document_bytes * 4 // 3 + MIB,
            model_optional=True,
            summary="recognise the text of a document",
            operation="ocr",
        )

    def shape(self, request: Request) -> Generator[Need, Json, Plan]:
        """One call for each page; pages are rendered while others are being recognised."""
        fields = request.fields()
        wishes, wanted = wishes_of(fields), pages_of(fields)
        partial = fields.flag("partial", False)
        found, file = yield from self._opened(request, wanted)
        pages: list[int] = found["pages"]
        facts = facts_of(request, Facts)
        relay = Recognised(
            model=request.asked,
            document_bytes=found["size"],
            count=len(pages),
            wishes=wishes,
            partial=partial,
            schema=facts.page_schema,
        )

        def to_call(index: int, piece: Json) -> Call:
            page = _page(piece)
            relay.pages.append(page)
            return _call(piece["file"], page, facts)

        limits = {
            **self._limits(),
            "long_side": facts.long_side,
            "images_bytes": self.config.images_bytes,
            "crops": wishes.image_base64,
        }
        return Plan(
            calls=Drawn(
                render, (file, found["kind"], pages, limits), to_call, field=found["field"]
            ),
            relay=relay,
            reserve=_size(len(pages), found["pixels"], facts),
            width=min(self.config.width, len(pages)),
            partial=partial,
        )

    def _opened(
        self, request: Request, wanted: list[int] | None
    ) -> Generator[Need, Json, tuple[dict[str, Json], File]]:
        """The document as a file, and what is known of it.

        That is what `inspect` says, with its `kind` and the `field` that named it.
        """
        document = document_of(request.fields(), self.config.document_bytes)
        file: File | None = None
        if document.encoded is not None:
            kind = kind_of(head_of(document), document.field)
        else:
            file = yield Fetch(
                url=document.url,
                at_most=self.config.document_bytes,
                kinds=frozenset({"image", "pdf"}),
                field=document.field,
            )
            kind = kind_of(file.read(0, HEAD_BYTES), document.field)
        found = yield Work(
            inspect, file or document.encoded, kind, wanted, self._limits(), field=document.field
        )
        return {**found, "kind": kind, "field": document.field}, file or found["file"]

    def _limits(self) -> dict[str, Json]:
        return {
            "max_pages": self.config.max_pages,
            "page_pixels": self.config.page_pixels,
            "dpi": self.config.dpi,
        }


def _page(piece: Json) -> Page:
    """A page, from what the decoder process says of it; its pictures' bytes are read here."""
    crops: File | None = piece.get("crops")
    pictures, start = [], 0
    for at, box in enumerate(piece["figures"]):
        length = piece["lengths"][at] if crops is not None else 0
        jpeg = crops.read(start, length).decode() if crops is not None else None
        start += length
        pictures.append(Picture(box=box_of(box), jpeg=jpeg))
    return Page(
        index=piece["index"],
        dpi=piece["dpi"],
        width=piece["width"],
        height=piece["height"],
        scale=piece["scale"],
        links=tuple(piece["links"]),
        pictures=tuple(pictures),
    )


def _call(file: File, page: Page, facts: Facts) -> Call:
    """The call for one page, in the home wire.

    It is a form with the image, and, for a vision model, the prompt and its limit of tokens.
    """
    image = Part(name="image", content=file.slice(), filename="page.png", content_type="image/png")
    parts = [Part(name="model", content=b""), image]
    if facts.prompt is not None:
        parts.append(Part(name="prompt", content=facts.prompt.encode()))
    if facts.max_tokens is not None:
        parts.append(Part(name="max_tokens", content=str(facts.max_tokens).encode()))
    size = _size(1, page.width * page.height, facts)
    return Call(path="/ocr", body=Body.form(parts), size=size)


def _size(pages: int, pixels: int, facts: Facts) -> Units:
    """What pages may cost.  Tokens are in it only if the model's facts say that it writes some."""
    if facts.max_tokens is None:
        return Units(pages=pages, image_pixels=pixels)
    return Units(
        pages=pages,
        image_pixels=pixels,
        input_tokens=-(-pixels // PIXELS_PER_TOKEN),
        output_tokens=pages * facts.max_tokens,
    )
