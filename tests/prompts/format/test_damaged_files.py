"""A file from anywhere is a whole prompt or refused with a reason, and costs no memory of note."""

from __future__ import annotations

import resource
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
import torch

from isogloss.prompts.errors import InvalidPrompt, IsoglossError
from isogloss.prompts.format.prompt import load_prompt, members_of, read_prompt
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples
from tests.prompts.damaged_files import MUTATIONS, classifier, damaged, ensemble, residual
from tests.some import some

IN_THE_SUITE = 2_800
BY_HAND = 200_000
MOST_BYTES = 32 * 2**20


def outcome(data: bytes) -> str:
    """Read a file; what is read must be whole, and its own digest must hold."""
    reason = ""
    try:
        prompt = read_prompt(data)
    except InvalidPrompt as refusal:
        reason = str(refusal)
    if reason:
        assert 10 < len(reason) < 2000, reason
        return "refused"
    for member in some(members_of("p", prompt)):
        assert member.prompt.vectors.dtype == torch.float32
        assert torch.isfinite(member.prompt.vectors).all()
        rows = member.prompt.label_rows
        assert rows is None or torch.isfinite(rows).all()
    assert 4 * prompt.length * prompt.hidden_size <= len(data)
    assert read_prompt(prompt.to_bytes()).digest == prompt.digest
    return "read"


def read_damaged(seeds: range) -> Counter[str]:
    whole = (samples.prompt(1).to_bytes(), residual(), classifier(), ensemble())
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        name, data = damaged(seed, whole)
        try:
            outcomes[outcome(data)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, {name}: {type(error).__name__}") from error
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert grown_kb * 1024 < MOST_BYTES, f"reading them took {grown_kb} KB"
    return outcomes


def test_damaged_files_are_refused_with_a_reason() -> None:
    outcomes = read_damaged(range(IN_THE_SUITE))
    assert outcomes["refused"] > IN_THE_SUITE / 2
    assert outcomes["read"]  # a card may be changed into another card, a number into another


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_very_many_damaged_files_are_refused_with_a_reason() -> None:
    assert read_damaged(range(BY_HAND)).total() == BY_HAND


def test_every_mutation_is_in_the_sample_and_most_change_something() -> None:
    whole = (samples.prompt(1).to_bytes(), residual(), classifier(), ensemble())
    found = [damaged(seed, whole) for seed in range(IN_THE_SUITE)]
    assert {name for name, _ in found} == {own.__name__ for own in MUTATIONS}
    assert sum(data in whole for _, data in found) < IN_THE_SUITE / 20


def test_a_file_that_claims_terabytes_is_refused_before_anything_is_allocated() -> None:
    place = [own.__name__ for own in MUTATIONS].index("claim_terabytes")
    whole = (samples.prompt(1).to_bytes(), ensemble())
    tracemalloc.start()
    try:
        for seed in range(place, place + 20 * len(MUTATIONS), len(MUTATIONS)):
            _, data = damaged(seed, whole)
            assert len(data) < 4000
            with pytest.raises(InvalidPrompt):
                read_prompt(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_no_damaged_file_leaves_anything_in_a_store(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"p": samples.prompt(1)}, [samples.table("p")])
    before = sorted(store.root.rglob("*"))
    whole = (samples.prompt(1).to_bytes(), residual(), classifier(), ensemble())
    path = tmp_path / "given.safetensors"
    refused = 0
    for seed in range(len(MUTATIONS) * 10):
        path.write_bytes(damaged(seed, whole)[1])
        try:
            load_prompt(path)
        except IsoglossError:
            refused += 1
            with pytest.raises(IsoglossError):
                store.publish({"p": load_prompt(path)})
    assert refused > len(MUTATIONS) * 5
    assert sorted(store.root.rglob("*")) == before
