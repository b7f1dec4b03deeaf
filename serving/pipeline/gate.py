"""The gate of one model: checks requests, lets them in, ends them when their time is over.

What may be let in is decided in `serving.pipeline.admission`; here are the clock, the cancelling
and the counting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from isogloss.prompts.errors import InvalidInput, TooLarge
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import Admission, Admitted, Load, QueueFull, Ratio
from isogloss.serving.pipeline.caller import Caller, TooLate
from isogloss.serving.registry.store_calls import StoreSilent
from isogloss.serving.telemetry.metrics import ServingMetrics

logger = logging.getLogger(__name__)

_TOKENS_PER_CHARACTER = 0.5
"""Of text and prompt, before any were counted; half as many are usual."""


class Gate:
    """Through which every request of one model comes."""

    def __init__(
        self,
        settings: ServingSettings,
        metrics: ServingMetrics,
        max_text_tokens: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        limit = Load(settings.max_queue_items, settings.max_queue_tokens, settings.max_queue_chars)
        self._admission = Admission(limit)
        self._outside = Admission(limit)
        self._metrics = metrics
        self._max_text_tokens = max_text_tokens
        self._clock = clock
        self._tokens_per_character = Ratio(_TOKENS_PER_CHARACTER)
        self._empty = asyncio.Event()
        self._busy_since_s = clock()
        self._show()

    @property
    def stopping(self) -> bool:
        """Whether nobody is let in any more."""
        return self._admission.stopping

    @property
    def requests(self) -> int:
        """How many are in."""
        return self._admission.requests

    @property
    def tokens(self) -> int:
        """How many are let in and not answered yet."""
        return self._admission.held.tokens

    @contextmanager
    def outside(self, texts: Sequence[str], caller: Caller) -> Iterator[None]:
        """Hold room for a request that has to wait for the store before it can be let in.

        It is a room of its own: while a store hangs, only those who wait for it are in each other's
        way, and the speed of the model is measured without them.

        Raises:
            QueueFull, Stopping: there is no room.
        """
        load = Load(len(texts), 0, sum(map(len, texts)))
        self._outside.stopping = self._admission.stopping
        with self._counting_who_leaves(len(texts)), self._outside.admit(caller.client, load):
            yield

    @contextmanager
    def _counting_who_leaves(self, texts: int) -> Iterator[None]:
        try:
            yield
        except QueueFull as refusal:
            self._metrics.refused.labels(refusal.reason).inc()
            raise
        except (TimeoutError, TooLate, StoreSilent):
            self._metrics.left.labels("deadline").inc(texts)
            raise
        except asyncio.CancelledError:
            self._metrics.left.labels("caller").inc(texts)
            raise

    @asynccontextmanager
    async def enter(self, texts: Sequence[str], caller: Caller) -> AsyncIterator[Admitted]:
        """Hold room for a request while open, and no longer than its time.

        Raises:
            QueueFull, Stopping: the request is not let in.
            TooLate: its time ran out; what was cancelled is dropped by the batchers.
        """
        load, started_s = self._guess(texts), self._clock()
        try:
            if not self._admission.requests:
                self._busy_since_s = started_s
            with (
                self._counting_who_leaves(len(texts)),
                self._admission.admit(caller.client, load, caller.timeout_s) as admitted,
            ):
                async with asyncio.timeout(caller.timeout_s):
                    yield admitted
        except TimeoutError:
            raise TooLate.after(self._clock() - started_s) from None
        finally:
            if not self._admission.requests:
                self._empty.set()

    def settle(self, caller: Caller, admitted: Admitted, tokens: int) -> None:
        """Count a planned request by its tokens, which are known now."""
        self._tokens_per_character.observe(tokens, admitted.load.characters)
        self._admission.settle(caller.client, admitted, Load(admitted.load.items, tokens))

    def observe_speed(self, tokens: int, seconds: float) -> None:
        """Learn from a batch that is done how fast work is done while there is any.

        What passes between batches counts: detection and tokens, and the time that other processes
        take of the processor.
        """
        now_s = self._clock()
        busy_s, self._busy_since_s = now_s - self._busy_since_s, now_s
        self._admission.tokens_per_s.observe(tokens, max(seconds, busy_s))
        self._metrics.tokens_per_second.set(self._admission.tokens_per_s.value or 0.0)

    async def drain(self, timeout_s: float) -> bool:
        """Let nobody in any more, and wait until all who are in have their answers.

        Returns:
            Whether they have; False once the time is over.
        """
        self._admission.stopping = True
        if not self._admission.requests:
            return True
        self._empty.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            logger.error("stopping with %d requests unanswered", self._admission.requests)
            return False
        return True

    def _guess(self, texts: Sequence[str]) -> Load:
        """What a request will hold; its tokens are guessed from those of earlier ones."""
        ratio = self._tokens_per_character.value or _TOKENS_PER_CHARACTER
        tokens = sum(min(self._max_text_tokens, 1 + int(ratio * len(text))) for text in texts)
        return Load(len(texts), tokens, sum(map(len, texts)))

    def _show(self) -> None:
        """Have the metrics look here whenever they are asked for."""
        self._metrics.queue_texts.set_function(lambda: self._admission.held.items)
        self._metrics.queue_tokens.set_function(lambda: self._admission.held.tokens)
        self._metrics.queue_clients.set_function(lambda: self._admission.clients)


def check_texts(texts: Sequence[str], settings: ServingSettings) -> None:
    """Require that every text of a request can be answered.

    Raises:
        InvalidInput: no texts, too many, an empty one, or one that is not whole Unicode; its index
            is named.
        TooLarge: a text has too many characters.
    """
    if not texts:
        raise InvalidInput("inputs: the list is empty; send 1 or more texts")
    if len(texts) > settings.max_inputs:
        raise InvalidInput(
            f"inputs: {len(texts)} texts are more than one request may have; send at most "
            f"{settings.max_inputs} at a time"
        )
    for index, text in enumerate(texts):
        _check_text(index, text, settings.max_text_chars)


def _check_text(index: int, text: str, max_chars: int) -> None:
    if len(text) > max_chars:
        raise TooLarge(
            f"inputs[{index}]: {len(text)} characters are too many; send at most {max_chars} "
            "(the model reads only the beginning of a long text)"
        )
    if not text or text.isspace():
        raise InvalidInput(f"inputs[{index}]: the text is empty; send at least one word")
    if text.isascii():  # known of every string without a look at it
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise InvalidInput(
            f"inputs[{index}]: character {problem.start} is a lone surrogate, no whole character; "
            "send the text in UTF-8"
        ) from None
