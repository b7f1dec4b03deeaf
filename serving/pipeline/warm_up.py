"""What a replica does before its first request: run once under each prompt, and measure costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from isogloss.prompts.model.processor import processor
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.costs import CostTable
from isogloss.serving.batching.kept_costs import CostKey, cost_folder, keep, recall
from isogloss.serving.batching.measure_costs import measure_costs, seems_slow
from isogloss.serving.pipeline.planning import Plan, Share, candidate_share
from isogloss.serving.pipeline.scoring import score_batch, score_plans
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.snapshot import Snapshot

logger = logging.getLogger(__name__)

_WARM_UP_TEXT = "The first sentence takes longest, so it had better be ours."


def run_once(backbone: ServingBackbone, snapshot: Snapshot) -> None:
    """Read one text under every prompt that may answer, candidates on trial included."""
    (text,) = backbone.tokenizer.encode([_WARM_UP_TEXT], backbone.max_text_tokens)
    score_plans(backbone, [plan_of(text, Share(prompt)) for prompt in snapshot.answering])
    for on_trial in {each.trial.candidate: each for each in snapshot.trials.values()}.values():
        beside = next(filter(on_trial.candidate.answers_like, snapshot.answering))
        plan = plan_of(text, Share(beside), candidate_share(on_trial))
        score_batch(backbone, [(plan,)])


def plan_of(text: TokenizedText, *shares: Share) -> Plan:
    """Tokens that stand for a text in whatever template: how many they are is all that counts."""
    templates = {each for share in shares for each in share.prompt.loaded.templates if each}
    return Plan(text.ids, shares, framed=dict.fromkeys(templates, text))


def find_costs(
    backbone: ServingBackbone,
    snapshot: Snapshot,
    limit_s: float,
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable | None:
    """The cost table of this model on this machine: kept from an earlier start, or measured now.

    One that was measured while something else took the cores is measured again.

    None where the store has no prompt to measure with.
    """
    prompts = [each for each in snapshot.answering if not each.loaded.prefixes]
    if not prompts:
        return None
    usual = min(prompts, key=lambda each: len(each.loaded.members))  # texts have one prompt
    folder, key = folder or cost_folder(), cost_key(backbone)
    run = partial(_score, backbone, usual)
    sizes = {
        "vocab_size": backbone.vocab_size,
        "max_text_tokens": backbone.max_text_tokens,
        "prompt_length": usual.loaded.length,
    }
    kept = recall(folder, key)
    if kept is not None and not seems_slow(kept, run, **sizes, clock=clock):
        return kept
    started_s = clock()
    table = measure_costs(run, **sizes, limit_s=limit_s, clock=clock)
    logger.info("measured what batches cost in %.1f s: %s", clock() - started_s, table)
    keep(folder, key, table)
    return table


def cost_key(backbone: ServingBackbone) -> CostKey:
    """All that the seconds of a model's batches depend on in this process."""
    on_gpu = backbone.device.type == "cuda"
    try:
        release = version("isogloss")
    except PackageNotFoundError:  # run from a checkout
        release = ""
    return CostKey(
        fingerprint=backbone.fingerprint,
        device=torch.cuda.get_device_name(backbone.device) if on_gpu else processor(),
        dtype=f"{backbone.dtype}, layers {backbone.linear_dtype}",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        isogloss=release,
    )


def _score(
    backbone: ServingBackbone, prompt: ServedPrompt, texts: Sequence[Sequence[int]]
) -> object:
    """What serving does with a batch, answers brought to the host included."""
    each = (TokenizedText(tuple(ids), truncated=False) for ids in texts)
    return score_plans(backbone, [plan_of(text, Share(prompt)) for text in each])
