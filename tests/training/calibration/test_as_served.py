"""Training and serving scale scores alike: what `calibrate` computed is what `classify` answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.format.soft_prompt import ModelRef
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest
from isogloss.training.calibration.calibrated import calibrate, publish_temperatures
from isogloss.training.calibration.priors import learn_priors
from isogloss.training.calibration.scaling import PriorRule, Scaling
from isogloss.training.calibration.temperatures import Answers
from isogloss.training.data.labelled import Example
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.evaluation.scoring import predict
from tests.some import some
from tests.training.tiny import WORDS, prompt, save_tiny, sentences, tiny

Scores = list[dict[str, float]]


def served(model: Path, store: Path, code: str, texts: list[str]) -> Scores:
    """Label -> probability of each text, by the model as it is served."""
    settings = ServingSettings(models=(str(model),), store=store, device="cpu")
    request = ClassifyRequest(inputs=texts, language=code, task="home")

    async def ask() -> Scores:
        classifier = build_classifier(settings)
        try:
            answered = await classifier.classify(request)
        finally:
            classifier.close()
        results = answered.model_dump(mode="json")["results"]
        return [{each["label"]: each["score"] for each in result["scores"]} for result in results]

    return asyncio.run(ask())


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_classify_gives_the_probabilities_that_calibrate_computed(
    architecture: str, tmp_path: Path
) -> None:
    model = tiny(architecture)
    alone, *members = (prompt(model, seed) for seed in range(4))
    both = Ensemble.of([(f"m{n}", None, member) for n, member in enumerate(members)])
    table = RouteTable(
        model=ModelRef(id=model.model_id, fingerprint=model.fingerprint),
        task="home",
        universal="alone",
        clades={"Romance": "both"},
    )
    store = PromptStore.open(tmp_path / "store", create=True)
    prompts: dict[str, Prompt] = {"alone": alone, "both": both}
    store.publish(prompts, [table])

    candidates = [Candidate(name, each) for name, each in prompts.items()]
    dev: list[Prediction] = []
    for code in some(WORDS):
        examples = [Example(*row) for row in sentences(code, "dev")]
        dev += predict(model, candidates, examples, code, "dev")
    texts = {code: [text for _, _, text in sentences(code, "train")] for code in WORDS}
    learned = learn_priors(model, table, prompts, texts, tmp_path / "read")
    rule = PriorRule(learned, 0.0)
    calibrated = calibrate((model.fingerprint, "home"), dev, [], store.state(), rule)
    # Dev may have declined some; here each prior is to be compared.
    priors = {name: prior for below in learned.priors.values() for name, prior in below.items()}
    with_priors = calibrated.table.model_copy(update={"priors": priors})
    store.publish({}, [with_priors])

    folder = save_tiny(architecture, tmp_path / "model")
    for code in some(WORDS):
        route = with_priors.route(("Italic", "Romance") if code == "fra_Latn" else (), code)
        assert route.prior == priors[code]
        rows = [r for r in dev if r.language == code and r.prompt == route.reference]
        answers = Answers.of(rows)
        expected = np.exp(Scaling.served(answers, with_priors).log_probs(answers))
        asked = [text for _, _, text in sentences(code, "dev")]
        for scores, row in zip(served(folder, store.root, code, asked), expected, strict=True):
            assert [scores[label] for label in answers.labels] == pytest.approx(row, abs=1e-4)
        unscaled = np.exp(Scaling.none(answers).log_probs(answers))
        assert np.abs(expected - unscaled).max() > 0.01
    assert publish_temperatures(store, [calibrated], "").routes[0].priors == calibrated.table.priors
