"""The snapshot in use, and how it is replaced when the store has a newer generation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from isogloss.prompts.errors import InvalidPrompt, Unavailable
from isogloss.prompts.format.prompt import read_prompt
from isogloss.prompts.store.generations import Follower, PollResult
from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.registry.candidates import key_of
from isogloss.serving.registry.loader import PromptLoader, usable
from isogloss.serving.registry.rehearsal import Perform, Verdict
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.registry.succession import Choice, Succession
from isogloss.serving.telemetry.metrics import ServingMetrics

logger = logging.getLogger(__name__)

_STORE_PATIENCE_S = 3.0
"""A store that takes longer, a file system that hangs for one, is said to be a problem."""
_STRAYS_SHOWN = 3
_LAST_POLL_S = 2.0


class Registry:
    """Holds the newest generation that could be loaded.

    Reading `current` is one attribute read: take it once for a request and keep it. `refresh` may
    be called from any thread.
    """

    def __init__(
        self,
        store: PromptStore,
        backbone: ServingBackbone,
        metrics: ServingMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the newest generation that can be served.

        Raises:
            Unavailable: there is none; of the newest it says why.
        """
        self.store = store
        self.loader = PromptLoader(store, backbone)
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._waiting_since_s: float | None = None
        self._refreshing = 0
        self._follower = Follower(store.generations, clock)
        self._succession = Succession(store, self.loader, clock)
        self._final: GenerationId | None = None  # the newest, where no more can be done about it
        seen = self._follower.poll()
        choice = self._succession.first(seen.newest)
        assert choice.snapshot is not None
        self.current = choice.snapshot
        self._conclude(seen, choice)
        self._show(self.current)

    def rehearse_in(self, perform: Perform) -> None:
        """Have new prompts tried by `perform` from now on: where the model runs."""

        def performed(run: Callable[[], list[Verdict]]) -> list[Verdict]:
            if self._refreshing != threading.get_ident():
                return perform(run)
            self._waiting_since_s = None  # that it takes time is no fault of the store
            try:
                return perform(run)
            finally:
                self._waiting_since_s = self._clock()

        self.loader.rehearsal.perform = performed

    def refresh(self) -> bool:
        """Swap to the store's newest generation if there is one; True if `current` changed.

        A generation that cannot be served leaves the one before in use: `problem` says why. It is
        tried again if the store could not be read, and passed over if it breaks a route.
        """
        with self._lock:
            self._refreshing, self._waiting_since_s = threading.get_ident(), self._clock()
            try:
                return self._swap()
            except Unavailable as problem:
                self._tell(failure=str(problem))
            except Exception as error:  # what is loaded is served, whatever the store does
                name = type(error).__name__
                self._tell(failure=f"the store cannot be read ({name}: {error}); look at it")
            finally:
                self._refreshing, self._waiting_since_s = 0, None
            return False

    def vet(self, prompts: Mapping[str, str], given: Mapping[str, bytes]) -> None:
        """Require that prompts can answer here, before they do: references by digest.

        Those that are not in use are read, from the files that are given or the store, and tried.

        Raises:
            InvalidPrompt: one cannot; the message says which and why.
            Unavailable: one cannot be read or tried now.
        """
        for digest, reference in prompts.items():
            try:
                here = self.current.loaded.get(digest) or self.loader.recent.get(digest)
                if here is not None:
                    usable(here)
                elif digest in given:
                    self.loader.try_new(read_prompt(given[digest]))
                else:
                    self.loader.recall(digest)
            except InvalidPrompt as unfit:
                model = self.loader.backbone.model_id
                raise InvalidPrompt(
                    f"prompt {reference!r} cannot answer on {model}: {unfit}; nothing was changed"
                ) from unfit

    @property
    def problem(self) -> str | None:
        """Why the newest generation is not in use, or what is wrong with the store otherwise."""
        since_s = self._waiting_since_s
        if since_s is not None and (waited_s := self._clock() - since_s) > _STORE_PATIENCE_S:
            return f"the store has not answered for {waited_s:.0f} s; look at its disk or network"
        return self._problem

    @property
    def generation(self) -> int:
        """The number of the generation in use."""
        return self.current.generation

    @property
    def identity(self) -> GenerationId:
        """The generation in use."""
        return self.current.identity

    def _swap(self) -> bool:
        seen = self._follower.poll()
        if seen.newest == self.identity:
            self._tell(remark=self._about(seen.strays))
        if seen.newest in (self.identity, self._final):
            return False
        started_s = time.perf_counter()
        choice = self._succession.next(seen.newest, self.current)
        if choice.snapshot is not None:
            self._replace(choice.snapshot)
            self._metrics.swap_seconds.observe(time.perf_counter() - started_s)
        self._conclude(seen, choice)
        return choice.snapshot is not None

    def _replace(self, aside: Snapshot) -> None:
        before, self.current = self.current, aside
        if aside.generation <= before.generation:
            logger.warning("the store was replaced: %s follows %s", aside.identity, before.identity)
        if aside.state.dropped - before.state.dropped:
            self.loader.recent.clear()  # a deleted prompt stays on no device
        self._metrics.forget_prompts(before.state.prompts.keys() - aside.state.prompts.keys())
        self._show(aside)

    def _conclude(self, seen: PollResult, choice: Choice) -> None:
        self._final = seen.newest if choice.final else None
        self._tell(choice.problem, self._about(seen.strays))

    def _tell(self, failure: str | None = None, remark: str | None = None) -> None:
        """Say what is wrong: once, for the store is asked often."""
        problem = failure or remark
        if problem is not None and problem != self._problem:
            self._metrics.swap_failures.inc(failure is not None)
            logger.error("serving generation %d: %s", self.generation, problem)
        self._problem = problem
        self._metrics.store_problem.set(problem is not None)

    def _about(self, strays: tuple[str, ...]) -> str | None:
        """Say that there are files which look like generations, and what to do about them."""
        if not strays:
            return None
        more = f" and {len(strays) - _STRAYS_SHOWN} more" if len(strays) > _STRAYS_SHOWN else ""
        return (
            f"prompt store {self.store.location} holds {', '.join(strays[:_STRAYS_SHOWN])}{more}, "
            "which no reader counts as a generation: run `isogloss prompts verify --repair --store "
            f"{self.store.location}`"
        )

    def _show(self, snapshot: Snapshot) -> None:
        self._metrics.generation.set(snapshot.generation)
        self._metrics.prompts.set(len(snapshot.served))
        for reference, problem in snapshot.trial_problems.items():
            logger.warning("the trial of %s does not run on all its clades: %s", reference, problem)
        self._metrics.trials.keep(
            {
                key_of(each): snapshot.trial_problems.get(each.candidate)
                for each in snapshot.own_trials
            }
        )


class Poller:
    """A thread that calls `poll` again and again until it is closed."""

    def __init__(self, poll: Callable[[], None], interval_s: float) -> None:
        self._poll = poll
        self._interval_s = interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="isogloss-poller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop and wait for the last poll to end, but not for a store that hangs. Idempotent."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_LAST_POLL_S)

    def _run(self) -> None:
        while not self._closed.wait(self._interval_s):
            try:
                self._poll()
            except Exception:
                logger.exception("a poll failed; it will be tried again")
