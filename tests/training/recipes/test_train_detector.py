"""Training a detector on a folder of a few invented sentences, end to end."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.languages import scripts as writing
from isogloss.prompts.languages.languages import languages
from isogloss.serving.detection.ngram_detector import DetectorWeights, NgramDetector
from isogloss.training.recipes import detector as train_detector
from isogloss.training.recipes import detector_corpus
from tests.some import some

SENTENCES = {
    "fra_Latn": "le chat mange une pomme dans la cuisine avec mon frère",
    "deu_Latn": "der hund schläft heute nicht unter dem großen tisch im garten",
    "swh_Latn": "mtoto anacheza mpira nje ya nyumba yetu kila siku jioni",
    "kan_Knda": "ಬೆಕ್ಕು ಮನೆ ಒಳಗೆ ಮಲಗಿದೆ ಇಂದು",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    for code, sentence in SENTENCES.items():
        (tmp_path / "sib200" / code).mkdir(parents=True)
        path = tmp_path / "sib200" / code / "train.tsv"
        with path.open("w", encoding="utf-8", newline="") as out:
            rows = csv.writer(out, delimiter="\t")
            rows.writerow(["index_id", "category", "text"])
            for index in range(60):
                rows.writerow([index, "topic", " ".join(random.choice(sentence.split(), 8))])
    for module in (detector_corpus, train_detector):
        monkeypatch.setattr(module, "ROWS", 500)
    monkeypatch.setattr(train_detector, "STEPS", 40)
    monkeypatch.setattr(train_detector, "BATCH", 64)
    return tmp_path


def _train(data: Path, out: Path) -> NgramDetector:
    allowed = writing.candidates([entry.script for entry in languages().values()])
    corpus = detector_corpus.read_corpus(data)
    slots = detector_corpus.informative(corpus, allowed.shape[1])
    corpus = detector_corpus.select(corpus, slots)
    model = train_detector.train(corpus, allowed, seed=0)
    calibration = train_detector.calibrate(model, corpus, allowed, seed=0)
    train_detector.save(model, slots, calibration, out)
    return NgramDetector(DetectorWeights.load(out))


def test_a_trained_file_detects_what_it_was_trained_on(data: Path, tmp_path: Path) -> None:
    detector = _train(data, tmp_path / "one.npz")
    found = [detection.language.code for detection in detector.detect(list(SENTENCES.values()))]
    assert found == list(SENTENCES)


def test_the_same_seed_gives_the_same_file(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "one.npz")
    _train(data, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_only_the_train_split_is_read(data: Path) -> None:
    for split in ("dev", "test"):
        (data / "sib200" / "fra_Latn" / f"{split}.tsv").write_bytes(b"\xff not to be opened")
    assert len(list(detector_corpus.sentences(data))) == 60 * len(SENTENCES)


def test_documents_for_measuring_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "ntrex"
    folder.mkdir()
    (folder / "DOCUMENT_IDS.tsv").write_text("a\na\nb\n", encoding="utf-8")
    path = folder / "newstest2019-ref.fra.txt"
    path.write_text("Un titre\nUne phrase\nUn autre titre\n", encoding="utf-8")
    found = list(detector_corpus.sentences(tmp_path))
    assert found == [detector_corpus.Sentence("Un autre titre", "fra_Latn", False)]


def test_calibration_takes_the_likeliest_of_its_choices(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_detector, "TEMPERATURES", (100.0, 1.0))  # 100: all alike
    monkeypatch.setattr(train_detector, "DAMPINGS", (1e6, 0.0))  # a million: the bias alone
    allowed = writing.candidates([entry.script for entry in languages().values()])
    corpus = detector_corpus.read_corpus(data)
    corpus = detector_corpus.select(corpus, detector_corpus.informative(corpus, len(languages())))
    model = train_detector.train(corpus, allowed, seed=0)
    fitted = train_detector.calibrate(model, corpus, allowed, seed=0)
    assert (fitted.temperature, fitted.damping) == (1.0, 0.0)


def test_a_language_alone_in_its_script_needs_no_training(data: Path) -> None:
    corpus = detector_corpus.read_corpus(data)
    codes = np.array(list(languages()))
    assert set(codes[corpus.labels]) == set(SENTENCES) - {"kan_Knda"}


def test_snippets_stay_inside_their_sentences(data: Path) -> None:
    corpus = detector_corpus.read_corpus(data)
    corpus = detector_corpus.select(corpus, detector_corpus.informative(corpus, len(languages())))
    chosen = np.arange(len(corpus.labels))
    batch = train_detector.snippets(corpus, chosen, 0.0, np.random.default_rng(1))
    ends = np.append(batch.offsets.numpy()[1:], len(batch.rows))
    for one, start, stop in zip(some(chosen), batch.offsets.numpy(), ends, strict=True):
        whole = corpus.rows[corpus.starts[one] : corpus.starts[one + 1]]
        assert set(batch.rows[start:stop].tolist()) <= set(whole.ravel().tolist())
        assert stop > start
