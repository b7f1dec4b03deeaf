"""Parallel text: three layouts, what is refused, and which sentences a run draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.training.data.parallel import ParallelText, Translation, draw_pairs
from tests.training.tiny import WORDS, sentences, write_task

LINES = {
    "eng_Latn": ["The cat sleeps.", "It rained all day.", "We bake bread."],
    "fra_Latn": ["Le chat dort.", "Il a plu toute la journée.", "Nous faisons du pain."],
    "deu_Latn": ["Die Katze schläft.", "Es regnete den ganzen Tag.", "Wir backen Brot."],
}


def write_lines(folder: Path, lines: dict[str, list[str]] = LINES, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for code, own in lines.items():
        (folder / f"{code}.txt").write_bytes(("\n".join(own) + end).encode())
    return folder


def load(*folders: Path, original: str = "eng_Latn", sources: str = "fra_Latn") -> ParallelText:
    return ParallelText.load(folders, original, sources.split(","))


def refusal(*folders: Path, original: str = "eng_Latn", sources: str = "fra_Latn") -> str:
    with pytest.raises(InvalidData) as error:
        load(*folders, original=original, sources=sources)
    return str(error.value)


@pytest.mark.parametrize("end", ["\n", "", "\n\n \n"])
def test_lines_are_matched_by_number(tmp_path: Path, end: str) -> None:
    folder = write_lines(tmp_path / "own", end=end)
    text = load(folder, sources="fra_Latn,deu_Latn")
    assert list(text.sentences) == LINES["eng_Latn"]
    assert text.sentences["We bake bread."] == (
        Translation("fra_Latn", "Nous faisons du pain.", "We bake bread."),
        Translation("deu_Latn", "Wir backen Brot.", "We bake bread."),
    )
    assert text.folders == (("own", 3),)


def test_files_of_several_tools_are_matched(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "own")
    french = "\r\n".join([*LINES["fra_Latn"], "", ""]).encode()
    (folder / "fra_Latn.txt").write_bytes(b"\xef\xbb\xbf" + french)
    (folder / "deu_Latn.txt").write_bytes("\r".join(LINES["deu_Latn"]).encode())
    text = load(folder, sources="fra_Latn,deu_Latn")
    assert [one.text for one in text.sentences["The cat sleeps."]] == [
        "Le chat dort.",
        "Die Katze schläft.",
    ]
    assert len(text.sentences) == 3


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "own")
    (folder / "fra_Latn.txt").write_bytes("\n".join(LINES["fra_Latn"]).encode("utf-16"))
    assert "fra_Latn.txt: text in UTF-16" in refusal(folder)
    (folder / "fra_Latn.txt").write_bytes("\n".join(LINES["fra_Latn"]).encode("latin-1"))
    assert "fra_Latn.txt, line 2: byte 0xe9 is not UTF-8" in refusal(folder)


def test_files_are_found_by_any_code_of_their_language(tmp_path: Path) -> None:
    names = {"en": "eng_Latn", "fr": "fra_Latn", "de-DE": "deu_Latn"}
    folder = write_lines(tmp_path, {name: LINES[code] for name, code in names.items()})
    text = load(folder, sources="fra_Latn,deu_Latn")
    assert {own.code for held in text.sentences.values() for own in held} == {
        "fra_Latn",
        "deu_Latn",
    }
    write_lines(folder, {"fra_Latn": LINES["fra_Latn"]})
    assert "'fr' and 'fra_Latn' are both French" in refusal(folder)


def test_only_a_line_feed_ends_a_line_and_an_empty_line_is_no_sentence(tmp_path: Path) -> None:
    lines = {
        "eng_Latn": ["One\u2028two.", "", "Three.", "Four.\r"],
        "fra_Latn": ["Un\x85deux.", "Rien.", "", "Quatre."],
    }
    text = load(write_lines(tmp_path, lines))
    assert [own[0].text for own in text.sentences.values()] == ["Un\x85deux.", "Quatre."]
    assert list(text.sentences) == ["One\u2028two.", "Four."]


def test_sib200_is_matched_by_index_id_and_only_train_is_opened(tmp_path: Path) -> None:
    task = write_task(tmp_path / "home")
    for code in WORDS:
        for split in ("dev", "test"):
            (task / code / f"{split}.tsv").write_bytes(b"\xff not to be read")
    french = (task / "fra_Latn" / "train.tsv").read_text(encoding="utf-8").splitlines()
    (task / "fra_Latn" / "train.tsv").write_text("\n".join([french[0], *french[:0:-1]]))
    text = load(task)
    pairs = {
        english: french
        for (_, _, english), (_, _, french) in zip(
            sentences("eng_Latn", "train"), sentences("fra_Latn", "train"), strict=True
        )
    }
    assert {own.original: own.text for held in text.sentences.values() for own in held} == pairs


def test_sib200_needs_no_categories(tmp_path: Path) -> None:
    for code, said in (("eng_Latn", "Good morning."), ("fra_Latn", "Bonjour.")):
        (tmp_path / code).mkdir()
        (tmp_path / code / "train.tsv").write_text(f"index_id\ttext\n7\t{said}\n")
    assert load(tmp_path).sentences["Good morning."][0].text == "Bonjour."


def test_ntrex_is_read_as_it_is_handed_out(tmp_path: Path) -> None:
    named = {
        "src.eng": "Rain is on its way.",
        "ref.eng-US": "Not this one.",
        "ref.fra": "La pluie arrive.",
        "ref.fra-CA": "Pas celle-ci.",
        "ref-2.spa": "Esta no.",
        "ref.spa": "Se acerca la lluvia.",
        "ref.sna-Latn": "Mvura iri kuuya.",
        "ref.npi": "no such name",
        "ref.nep": "पानी आउँदैछ।",
        "ref.zho-CN": "雨要来了。",
        "ref.zho-TW": "雨要來了。",
        "ref.arb": "المطر قادم.",
    }
    for name, line in named.items():
        (tmp_path / f"newstest2019-{name}.txt").write_text(line + "\n", encoding="utf-8")
    codes = ["fra_Latn", "spa_Latn", "sna_Latn", "npi_Deva", "zho_Hans", "zho_Hant", "arb_Arab"]
    (held,) = load(tmp_path, sources=",".join(codes)).sentences.values()
    wanted = ["fra", "spa", "sna-Latn", "nep", "zho-CN", "zho-TW", "arb"]
    assert [own.text for own in held] == [named[f"ref.{name}"] for name in wanted]
    assert {own.original for own in held} == {named["src.eng"]}
    assert "--source arb_Latn" in refusal(tmp_path, sources="arb_Latn")  # another script


def test_folders_add_up_and_a_sentence_in_two_of_them_is_one(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "first")
    second = write_lines(
        tmp_path / "second",
        {
            "eng_Latn": ["We bake bread.", "Snow fell.", "It rained all day."],
            "fra_Latn": ["On cuit du pain.", "La neige est tombée.", LINES["fra_Latn"][1]],
        },
    )
    text = load(first, second, sources="fra_Latn,deu_Latn")
    assert text.folders == (("first", 3), ("second", 3))
    assert len(text.sentences) == 4
    assert [own.text for own in text.sentences["We bake bread."]] == [
        "Nous faisons du pain.",
        "Wir backen Brot.",
        "On cuit du pain.",
    ]
    assert len(text.sentences["It rained all day."]) == 2  # the same translation counts once


def test_another_language_than_english_can_be_read_by_the_teacher(tmp_path: Path) -> None:
    text = load(write_lines(tmp_path), original="deu_Latn")
    assert list(text.sentences) == LINES["deu_Latn"]


def test_what_cannot_be_matched_is_refused(tmp_path: Path) -> None:
    own = write_lines(tmp_path / "own")
    said = refusal(own, sources="fra_Latn,wol_Latn")
    assert "--source wol_Latn: no text of it" in said
    assert str(own) in said
    assert "no wol_Latn, the teacher's language" in refusal(own, original="wol_Latn")
    assert "no such folder" in refusal(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "holds neither <code>.txt" in refusal(tmp_path / "empty")
    short = write_lines(tmp_path / "short", {**LINES, "fra_Latn": LINES["fra_Latn"][:2]})
    assert "fra_Latn has 2 lines and eng_Latn 3" in refusal(short)
    assert load(short, sources="deu_Latn").sentences  # what is not asked for is not read
    bad = write_lines(tmp_path / "bad")
    (bad / "fra_Latn.txt").write_bytes("été\nn\xe9\n".encode("latin-1"))
    assert "fra_Latn.txt, line 1: byte 0xe9 is not UTF-8" in refusal(bad)


def test_a_language_without_a_common_sentence_is_refused(tmp_path: Path) -> None:
    for code, number in (("eng_Latn", 1), ("fra_Latn", 2)):
        (tmp_path / code).mkdir()
        (tmp_path / code / "train.tsv").write_text(f"index_id\ttext\n{number}\tNo.\n")
    assert "--source fra_Latn: no sentence in common" in refusal(tmp_path)


def many(count: int, codes: tuple[str, ...] = ("fra_Latn", "deu_Latn")) -> ParallelText:
    return ParallelText(
        {
            f"sentence {i}": tuple(
                Translation(code, f"{code} {i}", f"sentence {i}") for code in codes
            )
            for i in range(count)
        },
        (("made", count),),
    )


def test_a_run_draws_its_sentences_by_its_seed_and_holds_some_out() -> None:
    text = many(60)
    first = draw_pairs(text, 40, seed=1)
    assert first == draw_pairs(text, 40, seed=1)
    assert first != draw_pairs(text, 40, seed=2)
    train, held_out = ({own.original for own in part} for part in (first.train, first.validation))
    assert (len(train), len(held_out)) == (36, 4)
    assert not train & held_out
    assert len(first.train) == 2 * 36  # in both languages
    everything = draw_pairs(text, None, seed=1)
    assert {own.original for own in (*everything.train, *everything.validation)} == set(
        text.sentences
    )
    assert len(draw_pairs(many(3000, ("fra_Latn",)), None, 0).validation) == 200
    assert len(draw_pairs(many(2), None, 0).validation) == 2  # one sentence, two languages


@pytest.mark.parametrize(("count", "pairs"), [(5, 6), (1, None)])
def test_too_few_sentences_are_refused(count: int, pairs: int | None) -> None:
    with pytest.raises(InvalidData, match=f"the parallel text has {count} sentences"):
        draw_pairs(many(count), pairs, 0)
