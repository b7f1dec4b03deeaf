"""Evaluation: right answers, one pass for all prompts, files, resuming, languages."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from isogloss.prompts.errors import InvalidData, InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.store.store import PromptStore
from isogloss.training.data.clades import branching_clades
from isogloss.training.data.labelled import Example, load_split
from isogloss.training.evaluation.candidates import Candidate, load_candidates
from isogloss.training.evaluation.evaluate import Evaluation, choose_languages, evaluate
from isogloss.training.evaluation.predictions import Prediction, read_predictions, to_bytes
from isogloss.training.evaluation.scoring import predict, score_prompts
from isogloss.training.evaluation.summary import summarize
from isogloss.training.tuning.texts import tokenize
from tests.some import some
from tests.training.tiny import (
    LABELS,
    SIZES,
    WORDS,
    prompt,
    sentences,
    tiny,
    tiny_transformer,
    write_task,
    write_tsv,
)

CODES = tuple(sorted(WORDS))


class Quiet:
    """Notes every language, and presses Ctrl-C after some."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[tuple[str, bool]] = []
        self.stop_after = stop_after

    def __call__(self, code: str, done: int, total: int, kept: bool) -> None:
        self.seen.append((code, kept))
        if done == self.stop_after:
            raise KeyboardInterrupt


def examples(code: str, split: str = "dev") -> list[Example]:
    return [Example(*row) for row in sentences(code, split)]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "home")


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
@pytest.mark.parametrize("position", ["suffix", "prefix"])
def test_scores_are_those_of_transformers(
    architecture: str, position: Literal["suffix", "prefix"]
) -> None:
    model = tiny(architecture)
    own = prompt(model, 0, position=position)
    texts = [one.text for one in examples("fra_Latn")]
    scores = score_prompts(model, [Candidate("p", own)], texts)[0]
    oracle = tiny_transformer(architecture)
    tokens = [label.token_id for label in own.card.labels]
    for text, row in zip(some(tokenize(model, texts, None)), scores, strict=True):
        with torch.no_grad():
            words = oracle.get_input_embeddings()(torch.tensor([text]))
            parts = (
                [words, own.vectors[None]] if position == "suffix" else [own.vectors[None], words]
            )
            logits = oracle(inputs_embeds=torch.cat(parts, dim=1)).logits[0, -1]
        torch.testing.assert_close(row, logits[tokens].log_softmax(-1), atol=1e-4, rtol=0)


def test_many_prompts_of_any_length_position_and_words_score_as_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "isogloss.training.evaluation.scoring._PROMPT_TOKENS_AT_ONCE", {"cpu": 8 * 32}
    )  # several groups
    model = tiny("bloom")
    other_words = {"music": "violin", "garden": "hedge"}
    mixed = [
        Candidate("a", prompt(model, 1, length=1)),
        Candidate("b", prompt(model, 2, length=7, words=other_words)),
        Candidate("c", prompt(model, 3, position="prefix")),
        Candidate("d", prompt(model, 4, length=20)),  # beyond the bound alone
        Candidate("e", prompt(model, 5, labels=LABELS[::-1])),
        Candidate("f", prompt(model, 6, length=4)),
        Candidate("g", prompt(model, 7, length=5)),
    ]
    texts = [one.text for one in examples("deu_Latn")] * 3  # 48 texts, two batches
    together = score_prompts(model, mixed, texts)
    for candidate, own in zip(mixed, together, strict=True):
        alone = score_prompts(model, [candidate], texts)[0]
        torch.testing.assert_close(own, alone, atol=1e-5, rtol=0)


def test_one_pass_over_the_texts_serves_every_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bloom")
    encoded: list[int] = []
    encode = Backbone.encode

    def counting(self: Backbone, texts: Any) -> Any:
        encoded.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(Backbone, "encode", counting)
    many = [Candidate(f"p{n}", prompt(model, n)) for n in range(20)]
    predict(model, many, examples("eng_Latn"), "eng_Latn", "dev")
    assert sum(encoded) == len(examples("eng_Latn"))


def test_predictions_name_the_most_probable_label_of_each_prompt() -> None:
    model = tiny("xglm")
    candidates = [Candidate("p", prompt(model, 1)), Candidate("q", prompt(model, 2))]
    rows = predict(model, candidates, examples("eng_Latn"), "eng_Latn", "dev")
    assert [row.prompt for row in rows] == ["p"] * 16 + ["q"] * 16
    assert [row.index_id for row in rows[:16]] == [row.index_id for row in rows[16:]]
    for row in rows:
        assert row.log_probs[row.predicted] == max(row.log_probs.values())
        assert set(row.log_probs) == set(LABELS)
        assert row.correct == (row.predicted == row.index_id.split("-")[1])
    assert {row.digest for row in rows} == {c.prompt.digest for c in candidates}
    assert len({row.predicted for row in rows}) > 1


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_of_predictions_reads_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    model = tiny("bloom")
    rows = predict(
        model, [Candidate("p", prompt(model, 1))], examples("fra_Latn"), "fra_Latn", "dev"
    )
    rows[0] = replace(rows[0], index_id='a "b",\tc\nd é')
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(to_bytes(rows, suffix))
    found = read_predictions(path)
    assert [replace(row, log_probs={}) for row in found] == [
        replace(row, log_probs={}) for row in rows
    ]
    for own, other in zip(found, rows, strict=True):
        assert own.log_probs == pytest.approx(other.log_probs, rel=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_scores_may_be_left_out(tmp_path: Path, suffix: str) -> None:
    model = tiny("bloom")
    rows = predict(
        model, [Candidate("p", prompt(model, 1))], examples("fra_Latn"), "fra_Latn", "dev"
    )
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(to_bytes(rows, suffix, scores=False))
    assert read_predictions(path) == [replace(row, log_probs={}) for row in rows]


@pytest.fixture(scope="module")
def predicted() -> list[Prediction]:
    model = tiny("bloom")
    rows = predict(
        model, [Candidate("p", prompt(model, 1))], examples("fra_Latn"), "fra_Latn", "dev"
    )
    scores = {label: round(value, 3) for label, value in rows[0].log_probs.items()}
    return [replace(row, log_probs=scores) for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data + b"\n\n",
        lambda data: data.removesuffix(b"\n"),
    ],
)
def test_predictions_that_went_through_other_tools(
    predicted: list[Prediction], tmp_path: Path, suffix: str, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(change(to_bytes(predicted, suffix)))
    assert read_predictions(path) == predicted


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_predictions_come_through_a_pipe_of_any_name(
    predicted: list[Prediction], tmp_path: Path, suffix: str
) -> None:
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(to_bytes(predicted, suffix),))
    writer.start()
    assert read_predictions(pipe) == predicted
    writer.join()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b",", b";"), "line 1: its columns are separated by semicolons"),
        (lambda data: gzip.compress(data), "compressed with gzip"),
        (lambda data: data.decode().encode("utf-16"), "text in UTF-16"),
        (lambda data: data.replace(b",-", b",x-"), r"line 2: column log_prob\.\w+ holds 'x-"),
        (lambda data: data.replace(b"predicted", b"said"), "line 1: no column predicted"),
    ],
)
def test_what_other_tools_made_of_predictions_is_named(
    predicted: list[Prediction], tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(change(to_bytes(predicted, ".csv")))
    with pytest.raises(InvalidData, match=rf"rows\.csv.* ?{said}"):
        read_predictions(path)
    with pytest.raises(InvalidData, match="a folder, where a file is wanted"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"model,prompt\nx,y\n", "line 1: no column fingerprint"),
        ("rows.csv", b"", "no predictions"),
        ("rows.jsonl", b'{"model": "x"}\n', "line 1: not a prediction"),
        ("rows.jsonl", b"not json\n", "line 1: not a prediction"),
        ("rows.csv", b"\xff\xfe", "text in UTF-16"),
    ],
)
def test_a_damaged_file_of_predictions(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidData, match=said):
        read_predictions(path)
    with pytest.raises(InvalidData, match="no such file"):
        read_predictions(tmp_path / "absent.csv")
    with pytest.raises(InvalidInput, match=r"\.csv or \.jsonl"):
        read_predictions(tmp_path / "rows.parquet")


def test_an_interrupted_evaluation_keeps_finished_languages(task: Path, tmp_path: Path) -> None:
    model = tiny("bloom")
    candidates = [Candidate("p", prompt(model, 1))]
    whole = Evaluation(str(task), "dev", CODES, tmp_path / "whole.csv")
    evaluate(model, candidates, whole, Quiet())
    job = replace(whole, out=tmp_path / "rows.csv")
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, candidates, job, Quiet(stop_after=2))
    assert not job.out.exists()
    again = Quiet()
    rows = evaluate(model, candidates, job, again)
    assert again.seen == [("deu_Latn", True), ("eng_Latn", True), ("fra_Latn", False)]
    assert job.out.read_bytes() == whole.out.read_bytes()
    assert len(rows) == 3 * 4 * SIZES["dev"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "rows.csv", "whole.csv"]


def test_other_prompts_or_changed_sentences_are_evaluated_anew(task: Path, tmp_path: Path) -> None:
    model = tiny("bloom")
    job = Evaluation(str(task), "dev", CODES, tmp_path / "rows.csv")
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, [Candidate("p", prompt(model, 1))], job, Quiet(stop_after=2))
    write_tsv(task / "deu_Latn" / "dev.tsv", sentences("deu_Latn", "dev")[:-1])
    other = Quiet(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, [Candidate("p", prompt(model, 2))], job, other)
    assert other.seen == [("deu_Latn", False)]
    same = Quiet()
    evaluate(model, [Candidate("p", prompt(model, 1))], job, same)
    assert same.seen == [("eng_Latn", True), ("deu_Latn", False), ("fra_Latn", False)]


def test_evaluating_on_dev_does_not_read_test(task: Path, tmp_path: Path) -> None:
    for code in CODES:
        (task / code / "test.tsv").write_bytes(b"\xff\xff")
    model = tiny("bloom")
    job = Evaluation(str(task), "dev", CODES, tmp_path / "rows.csv")
    evaluate(model, [Candidate("p", prompt(model, 1))], job, Quiet())
    with pytest.raises(InvalidData, match="not UTF-8"):
        evaluate(model, [Candidate("p", prompt(model, 1))], replace(job, split="test"), Quiet())


def test_labels_the_prompt_does_not_know(task: Path, tmp_path: Path) -> None:
    write_tsv(task / "fra_Latn" / "dev.tsv", [("1", "cuisine", "une soupe")])
    model = tiny("bloom")
    job = Evaluation(str(task), "dev", CODES, tmp_path / "rows.csv")
    with pytest.raises(InvalidData, match=r"fra_Latn dev: unknown labels \['cuisine'\]"):
        evaluate(model, [Candidate("p", prompt(model, 1))], job, Quiet())


def test_prompts_that_cannot_be_evaluated_together(task: Path, tmp_path: Path) -> None:
    model = tiny("bloom")
    job = Evaluation(str(task), "dev", CODES, tmp_path / "rows.csv")
    fewer = prompt(model, 1, labels=("garden", "music"))
    with pytest.raises(InvalidInput, match="'p' and 'q' have different tasks or labels"):
        evaluate(model, [Candidate("p", prompt(model, 1)), Candidate("q", fewer)], job, Quiet())
    with pytest.raises(InvalidPrompt, match="was trained for tiny-xglm"):
        evaluate(model, [Candidate("x", prompt(tiny("xglm"), 1))], job, Quiet())


def test_prompts_are_found_as_files_folders_and_stored_names(tmp_path: Path) -> None:
    model = tiny("bloom")
    folder = tmp_path / "out"
    folder.mkdir()
    for n, name in enumerate(("a", "b")):
        prompt(model, n).save(folder / f"{name}.safetensors")
    (folder / "a.state.safetensors").write_bytes(b"a run's state is no prompt")
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"kept": prompt(model, 5)})
    store.publish({"kept": prompt(model, 6)})
    found = load_candidates([str(folder), "kept@1"], store.root)
    assert [c.name for c in found] == ["a", "b", "kept@1"]
    assert found[2].prompt.digest == prompt(model, 5).digest
    one = str(folder / "a.safetensors")
    with pytest.raises(InvalidInput, match="two prompts are called 'a'"):
        load_candidates([str(folder), one], None)
    with pytest.raises(NotFound, match="no such file"):
        load_candidates([str(folder / "c.safetensors")], None)
    with pytest.raises(NotFound, match="no prompt 'nobody'"):
        load_candidates(["nobody"], store.root)
    with pytest.raises(InvalidInput, match="name at least one"):
        load_candidates([], None)


def test_languages_all_are_those_the_model_was_pretrained_on(tmp_path: Path) -> None:
    codes = (
        "kan_Knda",  # BLOOM, in the paper
        "lug_Latn",  # BLOOM, not in the paper
        "fin_Latn",  # XGLM, in the paper
        "isl_Latn",  # neither
        "own_Code",
    )
    for code in codes:
        write_tsv(tmp_path / code / "dev.tsv", sentences("eng_Latn", "dev"))
    data = str(tmp_path)
    assert choose_languages(tiny("bloom"), data, "all") == ("kan_Knda", "lug_Latn")
    assert choose_languages(tiny("xglm"), data, "all") == ("fin_Latn",)
    pocket = replace(tiny("bloom"), model_id="pocket-bloom")
    assert choose_languages(pocket, data, "all") == ("fin_Latn", "kan_Knda")
    assert choose_languages(tiny("bloom"), data, "every") == tuple(sorted(codes))
    asked = choose_languages(tiny("bloom"), data, "own_Code, isl_Latn")
    assert asked == ("own_Code", "isl_Latn")
    asked = choose_languages(tiny("bloom"), data, "own_Code,is,FI,fin,isl_Latn")
    assert asked == ("own_Code", "isl_Latn", "fin_Latn")
    with pytest.raises(InvalidData, match="has no xyz_Latn"):
        choose_languages(tiny("bloom"), data, "own_Code,xyz_Latn")


def test_none_of_the_languages_was_in_pretraining(tmp_path: Path) -> None:
    write_tsv(tmp_path / "own_Code" / "dev.tsv", sentences("eng_Latn", "dev"))
    with pytest.raises(InvalidData, match="--languages every"):
        choose_languages(tiny("bloom"), str(tmp_path), "all")


def row(prompt: str, language: str, index_id: str, correct: bool) -> Prediction:
    predicted = "music" if correct else "garden"
    return Prediction(
        "m", "f", prompt, f"d-{prompt}", "home", language, "dev", index_id, "music", predicted, {}
    )


def test_a_mean_counts_every_language_the_same() -> None:
    rows = [row("p", "fra_Latn", str(n), correct=True) for n in range(8)]
    rows += [row("p", "spa_Latn", str(n), correct=n == 0) for n in range(2)]
    rows += [row("p", "deu_Latn", "0", correct=False), row("p", "own_Code", "0", correct=True)]
    summary = summarize(rows)[0]
    assert summary.languages == {"fra_Latn": 1, "spa_Latn": 0.5, "deu_Latn": 0, "own_Code": 1}
    assert summary.mean == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert summary.clades == {"Indo-European": 0.5, "Italic": 0.75}


def test_a_chain_of_clades_with_the_same_languages_counts_once() -> None:
    lineages = {
        "a": ("Root", "North", "Inner", "One"),
        "b": ("Root", "North", "Inner", "Two"),
        "c": ("Root", "South"),
        "d": (),
    }
    assert branching_clades(lineages) == {"Root": ("a", "b", "c"), "North": ("a", "b")}
    assert branching_clades(lineages, 1) == {
        "Root": ("a", "b", "c"),
        "North": ("a", "b"),
        "South": ("c",),
        "One": ("a",),
        "Two": ("b",),
    }


def test_the_folder_and_the_rows_agree(task: Path) -> None:
    assert [e.index_id for e in load_split(str(task), "eng_Latn", "dev")] == [
        e.index_id for e in examples("eng_Latn")
    ]
