"""Ask a gateway by langchain's ChatCohere, in an environment that has it: `... ROOT`.

The key is in MODGATE_KEY.  Prints what came, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from langchain_cohere import ChatCohere
from langchain_core.messages import HumanMessage, ToolMessage

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def main(root: str) -> None:
    """Call tools, whole and with their answers; stream; ask for JSON."""
    chat = ChatCohere(
        base_url=root, cohere_api_key=os.environ["MODGATE_KEY"], model="chat", temperature=0
    )
    tool = {"title": "weather", "description": "Weather of a city", "properties": {"city": CITY}}
    bound = chat.bind_tools([tool])
    asked = [HumanMessage("Weather?")]
    called = bound.invoke(asked)
    results = [ToolMessage("sun", tool_call_id=call["id"]) for call in called.tool_calls]
    last = bound.invoke([*asked, called, *results])
    pieces = list(chat.stream("Hi?"))
    formed = chat.with_structured_output({"title": "City", **CITY}).invoke("Which city?")
    said = {
        "plan": called.content,
        "calls": [[call["name"], call["args"]] for call in called.tool_calls],
        "tokens": called.usage_metadata,
        "last": last.content,
        "pieces": [piece.content for piece in pieces if piece.content],
        "finish": [piece.additional_kwargs.get("finish_reason") for piece in pieces][-1],
        "formed": formed,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
