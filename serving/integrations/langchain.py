"""A step of a LangChain chain, as `isogloss[langchain]` has it."""

from __future__ import annotations

from typing import Any, TypeAlias, Unpack

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.client.answering import ClassifyOptions, Outcome
from isogloss.serving.client.client import Client
from isogloss.serving.schemas import Result

Worded: TypeAlias = str | Document | BaseMessage
"""What has words to classify."""


class IsoglossClassifier(Runnable[Worded, Result]):
    """Classifies what a chain hands it: a text, a document, or a message.

    `batch` and `abatch` ask for up to 256 at a time, where a function in a chain would ask for each
    alone. Options may also be bound, as in `classifier.bind(task="tickets")`.

    Args:
        client: that asks; None: one made from the environment.
        options: `model`, `task`, `language`, `languages`, `prompt`, `top_k`, `abstain`.
    """

    def __init__(self, client: Client | None = None, **options: Unpack[ClassifyOptions]) -> None:
        self.client = client or Client()
        self.options = options

    def invoke(self, input: Worded, config: RunnableConfig | None = None, **options: Any) -> Result:
        """Classify one; raises the errors of `isogloss.prompts.errors`."""
        return self._call_with_config(self._one, input, config, **options)

    def batch(
        self,
        inputs: list[Worded],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Result]:
        """Classify any number; with `return_exceptions`, an error takes its input's place."""
        return self._batch_with_config(
            self._each, inputs, config, return_exceptions=return_exceptions, **options
        )

    async def abatch(
        self,
        inputs: list[Worded],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Result]:
        """As `batch`, in a thread."""

        def batch() -> list[Result]:
            return self.batch(inputs, config, return_exceptions=return_exceptions, **options)

        return await run_in_executor(None, batch)

    def _one(self, input: Worded, **options: Any) -> Result:
        return self.client.classify(_words(input), **{**self.options, **options})

    def _each(self, inputs: list[Worded], **options: Any) -> list[Outcome]:
        texts = map(_words, inputs)
        return list(self.client.classify_each(texts, **{**self.options, **options}))


def _words(given: Worded) -> str:
    if isinstance(given, Document):
        return given.page_content
    if isinstance(given, BaseMessage):
        return str(given.text)
    if isinstance(given, str):
        return given
    raise InvalidInput(
        f"input: a {type(given).__name__} has no words to classify; hand over a text, a Document "
        "or a message, such as `itemgetter('text') | classifier`"
    )
