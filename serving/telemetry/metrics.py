"""What the server counts. Names are stable: dashboards and alerts depend on them.

Each replica counts in a registry of its own; `merge` joins the replicas' numbers into one page, so
that `/metrics` says the same whichever replica answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from isogloss.serving.telemetry.tally import TrialTallies

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RATIOS = (0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2, 4)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class ServingMetrics:
    """The counters of one replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counter = partial(Counter, registry=self.registry)
        self._gauge = partial(Gauge, registry=self.registry)
        self._histogram = partial(Histogram, registry=self.registry)
        self.requests = self._counter(
            "isogloss_requests",
            "HTTP requests answered, by route, status and error type (empty: no error).",
            ["route", "status", "error_type"],
        )
        self.request_seconds = self._histogram(
            "isogloss_request_seconds",
            "Time from a request's head to the head of its answer, by route and status class.",
            ["route", "class"],
            buckets=(*_SECONDS, 20, 50, 100),
        )
        self.key_requests = self._counter(
            "isogloss_key_requests",
            "HTTP requests answered, by the name of the API key that they bore and status class.",
            ["key", "class"],
        )
        self.key_texts = self._counter(
            "isogloss_key_texts",
            "Texts classified, once for each task, by the name of the API key that asked.",
            ["key"],
        )
        self.asked_again = self._counter(
            "isogloss_asked_again",
            "Requests for another model than the default one that were asked of a second replica, "
            "for the first one died with them.",
        )
        self.texts = self._counter(
            "isogloss_texts",
            "Texts classified, by task, clade of the route and why it was taken.",
            ["task", "clade", "reason"],
        )
        self.prompt_texts = self._counter(
            "isogloss_prompt_texts",
            "Texts classified, by the prompt that answered, alone or in a mixture.",
            ["prompt"],
        )
        self.mixed_texts = self._counter(
            "isogloss_mixed_texts",
            "Texts of uncertain language, answered by several prompts' scores mixed.",
            ["task"],
        )
        self.language_texts = self._counter(
            "isogloss_language_texts",
            "Texts classified, by the language they were routed by.",
            ["language"],
        )
        self.detection_confidence = self._histogram(
            "isogloss_detection_confidence",
            "How certain the detected languages were.",
            buckets=_SHARES,
        )
        self._add_queue()
        self._add_batches()
        self._add_store()
        self._add_trials()

    def _add_queue(self) -> None:
        self.queue_texts = self._gauge("isogloss_queue_texts", "Texts let in and not answered yet.")
        self.queue_tokens = self._gauge(
            "isogloss_queue_tokens", "Tokens let in and not answered yet."
        )
        self.queue_clients = self._gauge(
            "isogloss_queue_clients", "Clients whose texts are waiting."
        )
        self.refused = self._counter(
            "isogloss_refused",
            "Requests not let in, by what there was too much of (items, tokens, characters) or "
            "deadline: the queue was longer than the request's time.",
            ["reason"],
        )
        self.left = self._counter(
            "isogloss_left",
            "Texts let in and not answered: the caller left, or the deadline passed.",
            ["reason"],
        )
        self.tokens_per_second = self._gauge(
            "isogloss_tokens_per_second",
            "Measured speed of the model while it works; Retry-After is computed from it.",
        )

    def _add_batches(self) -> None:
        self.stage_seconds = self._histogram(
            "isogloss_stage_seconds",
            "Time of a batch in each stage: plan (detect, route, tokenize) and score.",
            ["stage"],
            buckets=_SECONDS,
        )
        self.queue_seconds = self._histogram(
            "isogloss_queue_seconds",
            "How long the oldest text of each batch waited.",
            buckets=_SECONDS,
        )
        self.batch_tokens = self._histogram(
            "isogloss_batch_tokens", "Tokens of each batch, texts and prompts.", buckets=_TOKENS
        )
        self.batch_texts = self._histogram(
            "isogloss_batch_texts", "Texts of each batch.", buckets=_TEXTS
        )
        self.batch_cost_ratio = self._histogram(
            "isogloss_batch_cost_ratio",
            "Seconds of each batch over those predicted from the machine's cost table.",
            buckets=_RATIOS,
        )
        self.failed_runs = self._counter(
            "isogloss_failed_runs",
            "Runs of a batch, or of part of one, that failed: for want of memory or by an error.",
            ["stage", "kind"],
        )

    def _add_store(self) -> None:
        self.generation = self._gauge(
            "isogloss_generation", "Generation of the prompt store in use."
        )
        self.prompts = self._gauge("isogloss_prompts", "Prompts resident on the device.")
        self.swap_seconds = self._histogram(
            "isogloss_swap_seconds",
            "Time to load a new generation aside and swap it in.",
            buckets=_SECONDS,
        )
        self.swap_failures = self._counter(
            "isogloss_swap_failures", "Generations that were refused or could not be read."
        )
        self.store_problem = self._gauge(
            "isogloss_store_problem",
            "1 while the store's newest generation cannot be read or served, or files of it only "
            "look like generations, else 0.",
        )

    def _add_trials(self) -> None:
        self.trials = TrialTallies(self.registry)
        self.trials_ended = self._counter(
            "isogloss_trial_ended",
            "Trials that this replica saw break a limit (agreement, score, latency), and ended.",
            ["limit"],
        )

    def forget_prompts(self, names: Iterable[str]) -> None:
        """Count no more under names that nobody can ask for any longer."""
        for name in names:
            self.prompt_texts.remove(name)

    def snapshot(self) -> list[Metric]:
        """All families and their samples, as values that may travel."""
        return list(self.registry.collect())


class _Page:
    """What `generate_latest` takes: anything that collects."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def merge(replicas: Mapping[tuple[str, str], Sequence[Metric]]) -> bytes:
    """Prometheus text of all replicas, by (model, replica): both become labels of every sample."""
    families: dict[str, Metric] = {}
    for (model, replica), metrics in sorted(replicas.items()):
        for metric in metrics:
            family = families.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            family.samples += [
                sample._replace(labels={"model": model, "replica": replica, **sample.labels})
                for sample in metric.samples
                if isinstance(sample, Sample) and not sample.name.endswith("_created")
            ]
    return generate_latest(_Page(list(families.values())))
