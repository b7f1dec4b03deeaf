"""From settings to a classifier: what `isogloss classify` and every replica begin with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from isogloss.prompts.store.store import PromptStore, open_store
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.detection.detectors import Detector
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.planning import Planner
from isogloss.serving.registry.registry import Registry
from isogloss.serving.telemetry.metrics import ServingMetrics

LoadBackbone = Callable[[str, ServingSettings], ServingBackbone]
LoadDetector = Callable[[str], Detector]


# On a GPU: the largest batch whose kernels are captured; some 300 texts of usual length.
GRAPHED_TOKENS = 16_384


def load_backbone(model: str, settings: ServingSettings) -> ServingBackbone:
    """Load a frozen model, with the threads it may use.

    Raises:
        NotFound, InvalidInput, Unavailable: as `Backbone.load`.
    """
    import torch

    from isogloss.prompts.model.backbone import Backbone

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    backbone = Backbone.load_for_serving(model, device=settings.device, dtype=settings.dtype)
    backbone.warm_up(settings.budget_tokens or GRAPHED_TOKENS)
    return backbone


def load_detector(name: str) -> Detector:
    """Load a language detector by name."""
    from isogloss.serving.detection import detectors

    return detectors.load_detector(name)


def open_prompts(settings: ServingSettings) -> PromptStore:
    """Open the store that the settings name, or the user's own.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    return open_store(settings.store)


def build_classifier(
    settings: ServingSettings,
    model: str | None = None,
    *,
    backbone: LoadBackbone = load_backbone,
    detector: LoadDetector = load_detector,
) -> Classifier:
    """Load everything one model needs to answer.

    It is loaded in a thread that ends with it. OpenMP's helpers of a thread stay as long as it
    does, and with those of the thread that scores there would be more of them than cores: then
    every operation of a small batch waits for helpers to be woken (see `Batcher.call`).

    Args:
        settings: of the whole server.
        model: which of its models; the default one if None.
        backbone: how to load a model; tests have another way.
        detector: how to load a language detector.

    Raises:
        IsoglossError: the model, the detector or the store cannot be loaded; the message says why.
    """

    def build() -> Classifier:
        store = open_prompts(settings)  # first: a wrong path should not cost a model's loading
        metrics = ServingMetrics()
        frozen = backbone(model or settings.default_model, settings)
        registry = Registry(store, frozen, metrics)
        planner = Planner(
            frozen.tokenizer,
            frozen.max_text_tokens,
            detector(settings.detector),
            settings.mixture_threshold,
        )
        return Classifier(frozen, planner, registry, settings, metrics)

    with ThreadPoolExecutor(1, thread_name_prefix="isogloss-loading") as loading:
        return loading.submit(build).result()
