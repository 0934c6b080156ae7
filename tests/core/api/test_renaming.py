"""The engine's name for a model is never what a client reads, however the reply is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modgate.api.select import Served
from modgate.plugin import Body, Call, Dialect

texts = st.text(st.sampled_from('ab"\\{}[]:,é "model"'), max_size=12) | st.just('"model":"x"')
names = st.sampled_from(("model", "id", "choices"))
values = st.recursive(
    st.none() | st.integers(0, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names | texts, inner, max_size=2),
    max_leaves=5,
)


def renaming() -> Dialect:
    call = Call(path="/v1/chat/completions", body=Body.of())
    return Dialect(call, Served(asked="theirs", model="ours", name="engine"))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    members=st.lists(
        st.tuples(st.just("model"), texts | st.none()) | st.tuples(st.just("id") | texts, values),
        max_size=4,
    ),
    separators=st.sampled_from(((",", ":"), (", ", ": "), (" , ", " : "))),
)
@example(members=[("id", {"model": "x"}), ("model", "y")], separators=(",", ":"))
@example(members=[("model", "x"), ("model", "x")], separators=(",", ":"))
@example(members=[("model", 'a"b')], separators=(",", ":"))
def test_only_the_replys_own_model_is_renamed(
    members: list[tuple[str, object]], separators: tuple[str, str]
) -> None:
    comma, colon = separators
    pairs = (json.dumps(n) + colon + json.dumps(v, separators=separators) for n, v in members)
    data = f"{{{comma.join(pairs)}}}".encode()
    expected = dict(members)
    if "model" in expected:
        expected["model"] = "theirs"
    dialect = renaming()

    assert json.loads(dialect.renamed(data)) == expected
    assert json.loads(dialect.renamed(data)) == expected  # and by what was learned
