"""The bank in use, and the watch that replaces it when the store has a newer generation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from prompts.errors import InvalidPrompt, NotFound, StoreError, Unavailable
from prompts.soft_prompt import SoftPrompt
from prompts.store import PromptStore
from serving.bank import BankRefused, PromptBank, build_bank
from serving.metrics import ServingMetrics
from serving.reader import PromptReader, usable
from serving.rehearsal import Perform, Verdict
from serving.residents import HostsPrompts
from serving.trials.candidates import key_of

logger = logging.getLogger(__name__)

_STORE_PATIENCE_S = 3.0
"""A store that takes longer, a file system that hangs for one, is said to be a problem."""
_LAST_LOOK_S = 2.0


class LiveBank:
    """Holds the newest generation that could be loaded.

    Reading `current` is one attribute read: take it once for a request and keep it. `refresh` may
    be called from any thread.
    """

    def __init__(self, store: PromptStore, backbone: HostsPrompts, metrics: ServingMetrics) -> None:
        """Load the newest generation that can be served.

        Raises:
            Unavailable: there is none; of the newest it says why.
        """
        self.store = store
        self.reader = PromptReader(store, backbone)
        self._metrics = metrics
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._looking_since_s: float | None = None
        self._looker = 0
        self._seen, self.current = self._newest_servable(store.latest())
        self._show(self.current)

    def rehearse_in(self, perform: Perform) -> None:
        """Have new prompts tried by `perform` from now on: where the model runs."""

        def performed(run: Callable[[], list[Verdict]]) -> list[Verdict]:
            if self._looker != threading.get_ident():
                return perform(run)
            self._looking_since_s = None  # that it takes time is no fault of the store
            try:
                return perform(run)
            finally:
                self._looking_since_s = time.monotonic()

        self.reader.rehearsal.perform = performed

    def refresh(self) -> bool:
        """Swap to the store's newest generation if there is one; True if `current` changed.

        A generation that cannot be served leaves the one before in use: `problem` says why. It is
        tried again if the store could not be read, and passed over if it breaks a route.
        """
        with self._lock:
            self._looker, self._looking_since_s = threading.get_ident(), time.monotonic()
            try:
                changed = self._swap()
            except Unavailable as problem:
                self._keep(problem)
                return False
            except Exception as error:  # what is loaded is served, whatever the store does
                name = type(error).__name__
                self._keep(StoreError(f"the store cannot be read ({name}: {error}); look at it"))
                return False
            finally:
                self._looker, self._looking_since_s = 0, None
            self._metrics.store_problem.set(self._problem is not None)
            return changed

    def vet(self, prompts: Mapping[str, str], given: Mapping[str, bytes]) -> None:
        """Require that prompts can answer here, before they do: references by digest.

        Those that are not in use are read, from the files that are given or the store, and tried.

        Raises:
            InvalidPrompt: one cannot; the message says which and why.
            Unavailable: one cannot be read or tried now.
        """
        for digest, reference in prompts.items():
            try:
                here = self.current.residents.get(digest) or self.reader.recent.get(digest)
                if here is not None:
                    usable(here)
                elif digest in given:
                    self.reader.audition(SoftPrompt.from_bytes(given[digest]))
                else:
                    self.reader.recall(digest)
            except InvalidPrompt as unfit:
                model = self.reader.backbone.model_id
                raise InvalidPrompt(
                    f"prompt {reference!r} cannot answer on {model}: {unfit}; nothing was changed"
                ) from unfit

    @property
    def problem(self) -> str | None:
        """Why the newest generation is not in use; None while it is, as far as is known."""
        since_s = self._looking_since_s
        if since_s is not None and (waited_s := time.monotonic() - since_s) > _STORE_PATIENCE_S:
            return f"the store has not answered for {waited_s:.0f} s; look at its disk or network"
        return self._problem

    @property
    def generation(self) -> int:
        """The generation in use."""
        return self.current.generation

    def _newest_servable(self, latest: int) -> tuple[int, PromptBank]:
        """Load the newest generation, or the newest before it that can be; and which was seen."""
        try:
            return latest, build_bank(self.store.state(latest), self.reader)
        except Unavailable as problem:
            for generation in reversed(self.store.generations.numbers()):
                with suppress(Unavailable, NotFound):
                    if generation < latest:
                        found = build_bank(self.store.state(generation), self.reader)
                        return self._fallen_back(latest, found, problem)
            raise

    def _fallen_back(
        self, latest: int, found: PromptBank, problem: Unavailable
    ) -> tuple[int, PromptBank]:
        self._problem = str(problem)
        self._metrics.store_problem.set(1)
        logger.error("starting with generation %d: %s", found.generation, problem)
        return latest if isinstance(problem, BankRefused) else found.generation, found

    def _swap(self) -> bool:
        latest = self.store.latest(self._seen)
        if latest == self._seen:
            if self.current.generation == latest:
                self._problem = None
            return False
        started_s = time.perf_counter()
        state = self.store.state(latest)
        try:
            aside = build_bank(state, self.reader, self.current)
        except BankRefused:
            self._seen = latest  # only a newer generation can mend it
            raise
        before, self._seen, self.current, self._problem = self.current, latest, aside, None
        if state.dropped - before.state.dropped:
            self.reader.recent.clear()  # a deleted prompt stays on no device
        self._metrics.forget_prompts(before.state.prompts.keys() - state.prompts.keys())
        self._metrics.swap_seconds.observe(time.perf_counter() - started_s)
        self._show(aside)
        return True

    def _keep(self, problem: Unavailable) -> None:
        """Go on with the generation in use, and say why: once, for the store is asked often."""
        if str(problem) != self._problem:
            self._metrics.swap_failures.inc()
            logger.error("still serving generation %d: %s", self.generation, problem)
        self._problem = str(problem)
        self._metrics.store_problem.set(1)

    def _show(self, bank: PromptBank) -> None:
        self._metrics.generation.set(bank.generation)
        self._metrics.prompts.set(len(bank.served))
        for reference, problem in bank.trial_problems.items():
            logger.warning("the trial of %s does not run on all its clades: %s", reference, problem)
        self._metrics.trials.keep(
            {key_of(each): bank.trial_problems.get(each.candidate) for each in bank.own_trials}
        )


class Watch:
    """A thread that calls `look` again and again until it is closed."""

    def __init__(self, look: Callable[[], None], interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="isogloss-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop and wait for the last look to end, but not for a store that hangs. Idempotent."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_LAST_LOOK_S)

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            try:
                self._look()
            except Exception:
                logger.exception("the store watch failed; it will look again")
