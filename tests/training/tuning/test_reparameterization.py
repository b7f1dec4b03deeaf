"""Plain and residual prompts against the paper's formula."""

from __future__ import annotations

import torch

from isogloss.training.tuning.reparameterization import PlainPrompt, ResidualPrompt


def residual(seed: int = 0, gain: float = 1.0) -> ResidualPrompt:
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    return ResidualPrompt(vectors, 5, gain, torch.Generator().manual_seed(seed))


def test_the_residual_network_is_the_papers() -> None:
    prompt = residual()
    with torch.no_grad():
        prompt.gain.uniform_(0.5, 2)
        prompt.bias.uniform_(-1, 1)
    assert (prompt.down.shape, prompt.up.shape) == ((8, 5), (5, 8))  # d x m, m x d
    for position, folded in enumerate(prompt()):
        p = prompt.vectors[position]
        hidden = (p @ prompt.down).clamp(min=0) @ prompt.up
        normed = (hidden - hidden.mean()) / (hidden.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(folded, normed * prompt.gain + prompt.bias + p)


def test_every_part_of_the_residual_network_learns() -> None:
    prompt = residual()
    prompt().square().sum().backward()
    names = {name for name, _ in prompt.named_parameters()}
    assert names == {"vectors", "down", "up", "gain", "bias"}
    assert all(p.grad is not None and bool(p.grad.any()) for p in prompt.parameters())


def test_the_seed_decides_the_network_and_a_gain_of_zero_leaves_the_prompt() -> None:
    assert torch.equal(residual(1).down, residual(1).down)
    assert not torch.equal(residual(1).down, residual(2).down)
    silent = residual(gain=0.0)
    assert torch.equal(silent(), silent.vectors)


def test_a_plain_prompt_is_a_copy_of_its_vectors() -> None:
    vectors = torch.zeros(2, 4)
    prompt = PlainPrompt(vectors)
    vectors += 1
    assert torch.equal(prompt(), torch.zeros(2, 4))
