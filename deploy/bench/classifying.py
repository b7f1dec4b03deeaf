"""Test sentences, classified as the server would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest, Result


def classify(
    serving: ServingSettings,
    backbone: ServingBackbone,
    texts: Mapping[str, Sequence[str]],
    *,
    told: bool,
    task: str | None = None,
) -> dict[str, list[Result]]:
    """Answer every language's texts, in order.

    Args:
        serving: the server's settings.
        backbone: the model.
        texts: language code -> texts.
        told: whether requests name the language, or it is detected.
        task: None for the default.
    """

    async def ask() -> dict[str, list[Result]]:
        classifier = build_classifier(serving, backbone=lambda name, _: backbone)
        size = serving.max_inputs
        try:
            answers: dict[str, list[Result]] = {code: [] for code in texts}
            for code, inputs in texts.items():
                for begin in range(0, len(inputs), size):
                    request = ClassifyRequest(
                        inputs=list(inputs[begin : begin + size]),
                        task=task,
                        language=code if told else None,
                    )
                    answers[code] += (await classifier.classify(request)).results
            return answers
        finally:
            classifier.close()

    return asyncio.run(ask())
