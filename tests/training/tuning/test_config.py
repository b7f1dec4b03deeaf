"""Settings: the paper's per model, and refusals that say what would be accepted."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.training.cli.options import parse_languages
from isogloss.training.tuning.config import ModelDefaults, TrainingConfig, configure, defaults_for
from tests.training.tiny import tiny


@pytest.mark.parametrize(
    ("architecture", "hidden_size", "expected"),
    [  # Table 3 and Appendix C; bottlenecks of the larger models by the same share
        ("bloom", 1024, ModelDefaults(5, 500, 0.1, 1e-6)),
        ("bloom", 1536, ModelDefaults(10, 768, 0.1, 1e-6)),
        ("xglm", 1024, ModelDefaults(10, 200, 0.1, 5e-6)),
        ("xglm", 2048, ModelDefaults(10, 409, 0.1, 5e-6)),
        ("bloom", 4096, ModelDefaults(10, 2048, 0.1, 1e-6)),
        ("bloom", 256, ModelDefaults(10, 128, 0.03, 1e-4)),
        ("xglm", 256, ModelDefaults(10, 51, 0.03, 1e-4)),
    ],
)
def test_defaults_per_model(
    architecture: Literal["bloom", "xglm"], hidden_size: int, expected: ModelDefaults
) -> None:
    assert defaults_for(architecture, hidden_size, spread=lambda: 0.5) == expected


def test_other_models_steps_are_by_the_size_of_their_embeddings() -> None:
    assert defaults_for("qwen3", 1024, lambda: 0.0314) == ModelDefaults(10, 204, 0.0094, 5e-6)
    assert defaults_for("gemma3_text", 640, lambda: 1.26) == ModelDefaults(10, 128, 0.38, 1e-4)


def test_what_the_paper_states_is_the_default() -> None:
    config = configure(tiny("bloom"), {"length": None, "seed": 3})
    assert (config.epochs, config.batch_size, config.shots) == (20, 8, 8)
    assert (config.sources, config.task) == (("eng_Latn",), "topic")
    assert (config.kind, config.bottleneck, config.seed) == ("plain", None, 3)


def test_a_residual_run_gets_the_models_bottleneck_and_an_unfrozen_one_its_rate() -> None:
    residual = configure(tiny("xglm"), {"reparameterization": "residual"})
    assert (residual.kind, residual.bottleneck) == ("residual", 6)  # 32 // 5
    assert configure(tiny("xglm"), {"unfrozen": True}).learning_rate == 1e-4
    chosen = configure(tiny("xglm"), {"unfrozen": True, "learning_rate": 0.5})
    assert chosen.learning_rate == 0.5


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": -1}, "batch_size = -1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"seed": -1}, "seed = -1"),
        ({"sources": ()}, "sources"),
        ({"task": "My Task"}, "task = 'My Task'"),
        ({"length": 0}, "length = 0"),
        ({"bottleneck": 4}, "a bottleneck goes with reparameterization 'residual'"),
        ({"length": 17}, "tiny-xglm takes prompts of at most 16 tokens"),
        ({"lerning_rate": 0.1}, "lerning_rate"),
    ],
)
def test_a_setting_out_of_range_is_named(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        configure(tiny("xglm"), choices)
    assert said in str(error.value)


def test_a_configuration_survives_json_and_cannot_be_changed() -> None:
    config = configure(tiny("bloom"), {"words": {"music": "tune"}, "shots": "all"})
    assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 3


def test_languages_of_an_option_are_the_tables_codes() -> None:
    assert parse_languages("fr, pt-BR,fra_Latn,own_Code,srp_Latn") == (
        *("fra_Latn", "por_Latn", "own_Code", "srp_Latn"),
    )
