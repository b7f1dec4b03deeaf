"""Models of other architectures from folders in the hub's layout, by the commands alone.

One learns by `train`, one by `tailor`; both are served side by side while prompts are swapped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from tests.architectures import random_decoder
from tests.fakes import http_client
from tests.journeys.test_own_task import isogloss
from tests.prompts.tokenizer_cases import gemma_like, qwen_like
from tests.serving.ray.running import PATIENCE_S, wait_for_url
from tests.training.tiny import LABELS, WORDS, sentences, write_task, write_tsv

QWEN, GEMMA = "tiny-qwen3", "tiny-gemma3"
MADE_OF = {QWEN: ("qwen3", qwen_like), GEMMA: ("gemma3_text", gemma_like)}
WORD_OF = {"garden": "river", "kitchen": "night", "music": "bridge", "weather": "closed"}
SPOKEN = ["--task", "home", *(f"--word={label}={word}" for label, word in WORD_OF.items())]
TEXT = "La soupe, la farine."


def as_on_the_hub(name: str) -> None:
    """A folder as transformers writes it: shards in bfloat16, and a tokenizer of its own."""
    architecture, tokenizer = MADE_OF[name]
    model = random_decoder(architecture, 0, vocab_size=600, bos_token_id=0, pad_token_id=1)
    model.to(torch.bfloat16).save_pretrained(name, max_shard_size="100KB")
    assert Path(name, "model.safetensors.index.json").is_file()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a user sits: two models, data, and a store with routes of both."""
    with pytest.MonkeyPatch.context() as patched:
        place = tmp_path_factory.mktemp("place")
        patched.chdir(place)
        for name in MADE_OF:
            as_on_the_hub(name)
        write_task(Path("home"))
        for split in ("train", "dev", "test"):
            write_tsv(Path("english", "eng_Latn", f"{split}.tsv"), sentences("eng_Latn", split))
        train_and_route()
        tailored = isogloss(
            *("tailor", "--model", GEMMA, "--data", "english", *SPOKEN, "--device", "cpu"),
            *("--out", "tailored", "--store", "store"),
        )
        assert tailored["generation"] == 2
        yield place


def train_and_route() -> None:
    common = ("--model", QWEN, "--data", "home", "--device", "cpu")
    train = ("train", *common, *SPOKEN, "--shots", 4, "--length", 3, "--epochs", 2)
    isogloss(*train, "--seed", 0, 1, "--name", "qwen", "--out", "out")
    prompts = ("--prompts", "out/qwen-seed0.safetensors", "out/qwen-seed1.safetensors")
    evaluated = isogloss("evaluate", *common, "--languages", "all", *prompts, "--out", "dev.csv")
    # Nothing is known of what it read before, so `all` are all that the data has.
    assert set(evaluated["prompts"][0]["languages"]) == set(WORDS)
    route = ("route", "--evaluations", "dev.csv", *prompts, "--min-sentences", 1)
    isogloss(*route, "--store", "store")


@pytest.mark.parametrize("model", [QWEN, GEMMA])
@pytest.mark.usefixtures("place")
def test_an_answer_in_process(model: str) -> None:
    common = ("--task", "home", "--model", model, "--store", "store", "--device", "cpu")
    (result,) = isogloss("classify", TEXT, *common)["results"]
    assert {score["label"] for score in result["scores"]} == set(LABELS)
    assert result["language"]["code"] == "fra_Latn"
    assert result["language"]["known"] is None


@pytest.mark.usefixtures("place")
def test_labels_in_eight_bits_are_compared_with_those_in_float32() -> None:
    asked = ("bench", "precision", "--dtype", "int8", "--store", "store", "--task", "home")
    models = ("--model", QWEN, "--model", GEMMA, "--data", "home", "--languages", "every")
    ratios = isogloss(*asked, *models)["ratios"]
    assert ratios.keys() == MADE_OF.keys()
    assert all(each["int8_agreement"] > 0.7 for each in ratios.values())


@pytest.mark.usefixtures("place")
def test_both_answer_over_http_while_a_prompt_is_swapped() -> None:
    async def run() -> None:
        settings = ServingSettings(models=(QWEN, GEMMA), store=Path("store"), device="cpu")
        served = {name: build_classifier(settings, name) for name in MADE_OF}
        first = served.pop(QWEN)

        def follow() -> None:
            for each in (first, *served.values()):
                assert each.registry.refresh()

        opened = PromptStore.open(Path("store"))
        async with http_client(first, opened, settings, others=served) as client:
            await swap_while_asking(client, follow)

    asyncio.run(run())


@pytest.mark.ray
@pytest.mark.soak
def test_isogloss_serve_has_both_while_a_prompt_is_swapped(place: Path) -> None:
    async def run(url: str) -> None:
        async with httpx.AsyncClient(base_url=url.removesuffix("/v1/classify")) as client:
            await swap_while_asking(client, lambda: None)

    command = [sys.executable, "-P", "-c", "from isogloss.deploy.cli import main; main()", "serve"]
    options = ["--model", QWEN, "--model", GEMMA, "--store", "store", "--port", "0"]
    source = Path(__file__).parents[2] / "src"
    with subprocess.Popen(
        [*command, *options, "--device", "cpu"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(source)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            asyncio.run(run(wait_for_url(process)))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


async def swap_while_asking(client: httpx.AsyncClient, follow: Callable[[], None]) -> None:
    """Ask both, publish another prompt under the name that answers for one, and ask both again."""
    before, of_gemma = await ask(client, QWEN), await ask(client, GEMMA)
    made = {load_prompt(file).digest: file for file in Path("out").glob("*.safetensors")}
    (other,) = made.keys() - {before["digest"]}
    isogloss("prompts", "publish", made[other], "--name", before["name"], "--store", "store")
    follow()
    give_up_s = time.monotonic() + PATIENCE_S
    while (after := await ask(client, QWEN))["digest"] != other:
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.1)
    assert after["name"] == before["name"]
    assert await ask(client, GEMMA) == of_gemma


async def ask(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """The prompt that answers, in our own way of asking; vLLM's has the same probabilities."""
    ours = await post(client, "/v1/classify", {"model": model, "task": "home", "inputs": TEXT})
    theirs = await post(client, "/classify", {"model": f"{model}:home", "input": TEXT})
    (result,), (data,) = ours["results"], theirs["data"]
    assert ours["model"] == model
    assert data["label"] == result["label"]
    scores = sorted(score["score"] for score in result["scores"])
    assert sorted(data["probs"]) == pytest.approx(scores, abs=1e-4)
    prompt: dict[str, Any] = result["prompt"]
    return prompt


async def post(client: httpx.AsyncClient, path: str, request: dict[str, Any]) -> Any:
    answer = await client.post(path, json=request, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()
