"""The SDKs that users come with, each loaded when a test first uses it.

Every worker of a run imports all files of tests, and one of them alone runs those of an SDK, whose
import takes as long as many tests.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class Later(ModuleType):
    """A module that is imported once something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # pytest looks at all that a file of tests holds
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


anthropic = Later("anthropic")
cohere = Later("cohere")
langchain_openai = Later("langchain_openai")
langchain_wrong = Later("langchain_core.exceptions")
mistral = Later("mistralai.client")
mistral_errors = Later("mistralai.client.errors")
mistral_models = Later("mistralai.client.models")
openai = Later("openai")
voyageai = Later("voyageai")
voyageai_error = Later("voyageai.error")
