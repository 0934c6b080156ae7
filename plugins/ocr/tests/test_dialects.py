"""What a transcript cannot say: replies that do not fit, and the details of each family."""

from __future__ import annotations

import base64
import re

import orjson
import pytest

from modgate.plugin import (
    BadReply,
    Body,
    Call,
    Dialect,
    Event,
    GatewayError,
    Json,
    Part,
    Served,
    Units,
    UpstreamFailed,
)
from modgate_ocr.dialects import OcrPaddleX, OcrRapidOcrApi, OcrVllm
from modgate_ocr.dialects.vllm import PROMPT, unfenced

IMAGE = b"\x89PNG a page"
PATH = "imgs/img_in_image_box_1_2_30_40.jpg"


def call(**texts: str) -> Call:
    image = Part(name="image", content=IMAGE, filename="page.png", content_type="image/png")
    more = [Part(name=name, content=text.encode()) for name, text in texts.items()]
    body = Body.form([Part(name="model", content=b""), image, *more])
    return Call(path="/ocr", body=body, size=Units(pages=1, image_pixels=7500))


def spoken(kind: type[Dialect], name: str = "engine", **texts: str) -> Dialect:
    return kind(call(**texts), Served(asked="m", model="m", name=name))


def decoded(dialect: Dialect, value: Json) -> Json:
    (event,) = dialect.decode(Event(orjson.dumps(value)))
    return event.json()


def sent(dialect: Dialect) -> Json:
    content = dialect.encode().body.content
    assert isinstance(content, bytes)
    return orjson.loads(content)


def test_numbered_lines_come_in_the_order_of_their_numbers() -> None:
    line = {"dt_boxes": [[0, 0], [1, 0], [1, 1], [0, 1]], "score": 0.5}
    reply = {str(at): {"rec_txt": f"t{at}", **line} for at in (10, 9, 0)} | {"later": 1}

    lines = decoded(spoken(OcrRapidOcrApi), reply)["lines"]

    assert [each["text"] for each in lines] == ["t0", "t9", "t10"]


@pytest.mark.parametrize(
    "reply",
    [{"0": 1}, {"0": {"rec_txt": "a"}}, {"detail": "no"}, {"0": {"rec_txt": 1, "dt_boxes": [1]}}],
)
def test_lines_that_do_not_fit_are_a_bad_reply(reply: Json) -> None:
    with pytest.raises(BadReply):
        decoded(spoken(OcrRapidOcrApi), reply)


@pytest.mark.parametrize(("name", "path"), [("OCR", "/ocr"), ("PP-StructureV3", "/layout-parsing")])
def test_the_pipelines_name_decides_the_path(name: str, path: str) -> None:
    outgoing = spoken(OcrPaddleX, name).encode()

    assert outgoing.path == path
    assert base64.b64decode(sent(spoken(OcrPaddleX, name))["file"]) == IMAGE


@pytest.mark.parametrize(
    "text",
    [
        f'<div style="x"><img src="{PATH}" alt="Image" /></div>',
        f"![chart]({PATH})",
        f'<img width="3" src="{PATH}">',
    ],
)
def test_a_picture_gets_its_place_from_its_name(text: str) -> None:
    result = {
        "prunedResult": {"parsing_res_list": []},
        "markdown": {"text": f"a\n\n{text}\n\n![kept](else.png)", "images": {PATH: "/9j/"}},
    }

    made = decoded(
        spoken(OcrPaddleX), {"errorCode": 0, "result": {"layoutParsingResults": [result]}}
    )

    assert made["markdown"] == f"a\n\n![{PATH}]({PATH})\n\n![kept](else.png)"
    assert made["pictures"] == [{"mark": PATH, "box": [1, 2, 30, 40], "jpeg": "/9j/"}]


@pytest.mark.parametrize(
    "mark", ["<img ", '<img src="', "<div", "![", "![](", 'src="a" '], ids=lambda mark: mark.strip()
)
def test_marks_of_pictures_that_are_never_closed_are_read_once(mark: str) -> None:
    text = "<img " + mark * 300_000
    result = {
        "prunedResult": {"parsing_res_list": []},
        "markdown": {"text": f'{text}<img alt="a" src="{PATH}">', "images": {PATH: "AAAA"}},
    }

    made = decoded(spoken(OcrPaddleX), {"result": {"layoutParsingResults": [result]}})

    assert made["markdown"].startswith(text[:-9])


@pytest.mark.parametrize("image", ["https://store.example/a.jpg", 7, None])
def test_a_picture_by_address_is_not_followed(image: Json) -> None:
    result = {
        "prunedResult": {"parsing_res_list": []},
        "markdown": {"text": f"![]({PATH})", "images": {PATH: image}},
    }

    made = decoded(spoken(OcrPaddleX), {"result": {"layoutParsingResults": [result]}})

    assert made["pictures"][0]["jpeg"] is None


@pytest.mark.parametrize("place", ["1_2_3_" + "9" * 20, "1_2_3_" + "9" * 5000, "1_2_3"])
def test_a_picture_whose_name_tells_no_place_on_a_page_is_none(place: str) -> None:
    path = f"imgs/img_{place}.jpg"
    result = {
        "prunedResult": {"parsing_res_list": []},
        "markdown": {"text": f"a ![]({path})", "images": {path: "AAAA"}},
    }

    made = decoded(spoken(OcrPaddleX), {"result": {"layoutParsingResults": [result]}})

    assert made["pictures"] == []


@pytest.mark.parametrize(
    "result",
    [
        {"ocrResults": []},
        {"ocrResults": [{}, {}]},
        {"ocrResults": [{"prunedResult": {"rec_texts": ["a"], "rec_boxes": []}}]},
    ],
)
def test_a_result_that_does_not_fit_is_a_bad_reply(result: Json) -> None:
    with pytest.raises(BadReply):
        decoded(spoken(OcrPaddleX, "OCR"), {"errorCode": 0, "result": result})


@pytest.mark.parametrize("code", ["E1", 1, True, 700])
def test_an_unknown_error_code_in_a_good_status_is_the_engines_failure(code: Json) -> None:
    with pytest.raises(UpstreamFailed):
        decoded(spoken(OcrPaddleX, "OCR"), {"errorCode": code, "errorMsg": "at host-7"})


def test_the_models_own_prompt_and_limit_are_sent() -> None:
    own = sent(spoken(OcrVllm, prompt="OCR:", max_tokens="77"))
    plain = sent(spoken(OcrVllm))

    assert own["messages"][0]["content"][1] == {"type": "text", "text": "OCR:"}
    assert (own["max_tokens"], own["temperature"], own["model"]) == (77, 0, "engine")
    assert plain["messages"][0]["content"][1]["text"] == PROMPT
    url = plain["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == IMAGE


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("```markdown\n# A\n```", "# A"),
        ("```\n# A\n\nb\n```\n", "# A\n\nb"),
        ("```md\n# A", "# A"),
        ("# A\n\n```python\nx\n```", "# A\n\n```python\nx\n```"),
        (
            "```python\nx\n```\n\nand\n\n```python\ny\n```",
            "```python\nx\n```\n\nand\n\n```python\ny\n```",
        ),
        ("```\nx\n```\n\nand\n\n```\ny\n```", "```\nx\n```\n\nand\n\n```\ny\n```"),
        ("  plain \n", "plain"),
        ("", ""),
    ],
)
def test_only_a_fence_around_everything_is_taken_off(said: str, text: str) -> None:
    assert unfenced(said) == text


def test_a_long_run_of_newlines_in_a_fence_is_read_once() -> None:
    assert unfenced("```\n" + "\n" * 1_000_000 + "x") == "\n" * 1_000_000 + "x"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"completion_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 0},
    ],
)
def test_a_missing_usage_is_guessed_and_says_so(usage: dict[str, int] | None) -> None:
    choice = {"message": {"content": "abcdef"}, "finish_reason": "stop"}
    reply = {"choices": [choice], "usage": usage}

    assert decoded(spoken(OcrVllm), reply)["tokens"] == {"input": 10, "output": 2, "guessed": True}


@pytest.mark.parametrize(
    "reply", [{"choices": []}, {}, {"choices": [{}]}, {"choices": [{"message": {"content": 3}}]}]
)
def test_a_chat_that_does_not_fit_is_a_bad_reply(reply: Json) -> None:
    with pytest.raises(BadReply):
        decoded(spoken(OcrVllm), reply)


def test_an_engines_failure_names_no_host() -> None:
    for kind in (OcrRapidOcrApi, OcrPaddleX, OcrVllm):
        error: GatewayError = spoken(kind).refusal(500, {}, b'{"errorMsg":"at 10.0.0.7"}')

        assert re.search("10.0", str(error)) is None
