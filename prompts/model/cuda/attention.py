"""Attention of packed rows over packed rows, of every architecture, in one kernel.

FlexAttention (torch.nn.attention.flex_attention; Dong et al. 2024) compiles what a row sees and
what is added to its scores into a fused kernel that computes only the blocks it is told of. ALiBi
is added to the scores in float32 as slope x distance, so that nothing is rounded and no bias is
kept in memory. Besides queries, keys and values the kernel reads the tensors of `Sight` and the
slopes, at addresses and of shapes that never change: a captured kernel serves any batch of its
rung once they are overwritten.

What else was weighed:

- `torch.nn.attention.varlen.varlen_attn` knows ragged batches but no bias. ALiBi can ride in three
  more dimensions of queries and keys, but flash attention wants sizes in multiples of 8, rounds
  them to bf16, and sees each prompt's text as a sequence of its own: prompts that share a text
  would need two calls, merged by their log-sum-exp, or a copy of the text each.
- `scaled_dot_product_attention` over buckets of similar length, as on the CPU, takes a dozen
  launches a layer, and the shapes of its buckets change from batch to batch: nothing to capture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from isogloss.prompts.model.cuda.plan import BLOCK
from isogloss.prompts.model.decoder.weights import DecoderWeights


@dataclass(frozen=True, slots=True)
class Sight:
    """What each of R rows sees (see `plan`), on the device; all int32.

    torch 2.13 numbers sizes by the names of these fields, and its template for processors puts
    "cur_qSplitSize" for ks1 also within ks13: with some names it makes C++ that no compiler takes.
    The tests with ISOGLOSS_COMPILE=1 tell.
    """

    first: Tensor  # (R,)
    text_end: Tensor  # (R,)
    prompt_begin: Tensor  # (R,)
    block_counts: Tensor  # (B,)
    blocks: Tensor  # (B, B)


def attend(
    q: Tensor, k: Tensor, v: Tensor, sight: Sight, weights: DecoderWeights, window: int | None
) -> Tensor:
    """q (1, heads, rows, head_size), k and v (1, kv_heads, rows, head_size) -> as q."""
    first, text_end, prompt_begin = sight.first, sight.text_end, sight.prompt_begin
    slopes, cap = weights.slopes, weights.score_cap
    rows = q.shape[2]

    def distance(query: Tensor, key: Tensor) -> Tensor:
        # Between a prompt and its text may lie the text's other prompts: they take no positions.
        between = prompt_begin[query] - text_end[query]
        return key - query + torch.where(key < prompt_begin[query], between, 0)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        in_sight = (key >= first[query]) & (key <= query)
        in_sight = in_sight & ((key < text_end[query]) | (key >= prompt_begin[query]))
        return in_sight if window is None else in_sight & (distance(query, key) > -window)

    def scored(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if cap is not None:
            score = (score / cap).tanh() * cap
        return score if slopes is None else score + slopes[head] * distance(query, key).float()

    mask = BlockMask.from_kv_blocks(
        sight.block_counts[None, None],
        sight.blocks[None, None],
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(rows, rows),
        compute_q_blocks=False,  # those are for the backward pass
    )
    # No promise of ROWS_GUARANTEED_SAFE: every row sees itself, but perhaps nothing of the first
    # block that its neighbours in the block of queries see.
    return _flex(q, k, v, None if slopes is None and cap is None else scored, mask)


def _flex(q: Tensor, k: Tensor, v: Tensor, score_mod: Any, mask: BlockMask) -> Tensor:
    # TRITON: below 128 rows torch would take another kernel, for decoding, that has other rules.
    options: Any = {"BACKEND": "TRITON"} if q.device.type == "cuda" else None
    call: Any = flex_attention
    mixed: Tensor = call(
        q,
        k,
        v,
        score_mod=score_mod,
        block_mask=mask,
        enable_gqa=q.shape[1] != k.shape[1],
        kernel_options=options,
    )
    return mixed
