"""Ask a gateway by LlamaIndex, in an environment that has it: `python ask_llama_index.py ROOT`.

The key is in MODGATE_KEY.  Prints what came, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def main(root: str) -> None:
    """Chat, stream, embed."""
    reached = {"api_base": f"{root}/v1", "api_key": os.environ["MODGATE_KEY"], "max_retries": 0}
    llm = OpenAILike(
        model="gpt-4o-mini", is_chat_model=True, max_tokens=8, temperature=0.0, **reached
    )
    asked = [ChatMessage(role="user", content="Say hello.")]
    whole = llm.chat(asked)
    pieces = [each.delta for each in llm.stream_chat(asked)]
    embedder = OpenAILikeEmbedding(model_name="text-embedding-3-small", **reached)
    vectors = embedder.get_text_embedding_batch(["a red fox", "a fox that is red", "bread"])
    usage = whole.raw.usage
    said = {
        "chat": whole.message.content,
        "stream": pieces,
        "vectors": vectors,
        "tokens": [usage.prompt_tokens, usage.completion_tokens],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
