"""Labelled texts from folders and from the hub, and the few-shot samples drawn from them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.languages import language
from isogloss.training.data.articles import articles_of
from isogloss.training.data.labelled import (
    Example,
    check_labels,
    labels_of,
    language_codes,
    load_split,
)
from isogloss.training.data.shots import SourceData, draw_shots
from tests.training.tiny import LABELS, sentences, write_task, write_tsv

HEADER = b"index_id\tcategory\ttext\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "home")


def load_bytes(tmp_path: Path, content: bytes) -> list[Example]:
    path = tmp_path / "eng_Latn" / "train.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return load_split(str(tmp_path), "eng_Latn", "train")


def test_a_folder_is_read_as_it_was_written(task: Path) -> None:
    found = load_split(str(task), "fra_Latn", "dev")
    assert [(e.index_id, e.label, e.text) for e in found] == sentences("fra_Latn", "dev")
    assert '"' in found[0].text  # quoting was undone
    assert language_codes(str(task)) == ["deu_Latn", "eng_Latn", "fra_Latn"]


@pytest.mark.parametrize(
    ("folder", "asked"),
    [
        ("fr", "fra_Latn"),
        ("fra_Latn", "fr"),
        ("pt-BR", "por_Latn"),
        ("pt_BR", "pt"),
        ("zh-TW", "zho_Hant"),
    ],
)
def test_a_folder_is_found_by_any_code_of_its_language(
    tmp_path: Path, folder: str, asked: str
) -> None:
    write_tsv(tmp_path / folder / "train.tsv", sentences("fra_Latn", "train"))
    assert load_split(str(tmp_path), asked, "train")
    assert language_codes(str(tmp_path)) == [language(asked).code]


def test_names_of_ones_own_stay(tmp_path: Path) -> None:
    for name in ("own_Code", "srp_Latn", "sr", "x.y"):
        write_tsv(tmp_path / name / "train.tsv", sentences("fra_Latn", "train"))
    (tmp_path / "srp_Cyrl").mkdir()  # without texts
    assert language_codes(str(tmp_path)) == ["own_Code", "srp_Cyrl", "srp_Latn", "x.y"]
    for name in ("own_Code", "srp_Latn", "srp_Cyrl", "x.y"):
        assert load_split(str(tmp_path), name, "train")


def test_two_folders_of_one_language_are_refused(task: Path) -> None:
    write_tsv(task / "fr" / "train.tsv", sentences("fra_Latn", "train"))
    said = r"--data .*home: 'fr' and 'fra_Latn' are both French, fra_Latn; put their texts together"
    with pytest.raises(InvalidData, match=said):
        language_codes(str(task))
    for code in ("fr", "fra_Latn", "fre"):
        with pytest.raises(InvalidData, match=said):
            load_split(str(task), code, "train")
    assert load_split(str(task), "eng_Latn", "train")


def test_byte_order_mark_blank_lines_and_other_columns_are_accepted(tmp_path: Path) -> None:
    content = "\ufeffindex_id\tnote\tcategory\ttext\n\n7\tx\tmusic\ta choir\n\t\t\t\n".encode()
    assert load_bytes(tmp_path, content) == [Example("7", "music", "a choir")]


def test_a_quoted_text_may_hold_tabs_and_line_breaks(tmp_path: Path) -> None:
    content = HEADER + b'1\tmusic\t"a\tchoir\nand ""drums"""\n'
    assert load_bytes(tmp_path, content)[0].text == 'a\tchoir\nand "drums"'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no examples"),
        (HEADER, "no examples"),
        (b"index_id\ttext\n1\ta choir\n", "line 1: no column category"),
        (HEADER + b"1\tmusic\n", "line 2: 2 columns where the header has 3"),
        (HEADER + b"1\tmusic\ta\tchoir\n", "line 2: 4 columns where the header has 3"),
        (HEADER + b"1\tmusic\ta\n2\t \tb\n", "line 3: column category is empty"),
        (HEADER + b"1\tmusic\ta\n1\tmusic\tb\n", "line 3: index_id '1' is that of line 2"),
        (HEADER + b"1\tmusic\ta\n2\tmusic\tb\xe9e\n", "line 3: byte 0xe9 is not UTF-8"),
        (HEADER + b'1\tmusic\t"a choir\n2\tmusic\tb\n', "line 2: the quote that opens here"),
        ("index_id\tcategory\ttext\n".encode("utf-16"), "text in UTF-16; save it as UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidData) as error:
        load_bytes(tmp_path, content)
    assert said in str(error.value)
    assert "train.tsv" in str(error.value)


def test_the_line_of_a_bad_byte_far_into_a_file(tmp_path: Path) -> None:
    rows = b"".join(b"%d\tmusic\ta choir sang\n" % n for n in range(5000))
    with pytest.raises(InvalidData, match="line 5002: byte 0xff"):
        load_bytes(tmp_path, HEADER + rows + b"x\tmusic\t\xff\n")


@pytest.mark.parametrize("code", ["xyz_Latn", "..", "", "eng_Latn/../fra_Latn"])
def test_a_language_the_data_lacks(task: Path, code: str) -> None:
    with pytest.raises(InvalidData, match="no such folder"):
        load_split(str(task), code, "train")


def test_a_misspelt_language_is_answered_with_the_nearest(task: Path) -> None:
    with pytest.raises(InvalidData, match="did you mean fra_Latn"):
        load_split(str(task), "fra_Lat", "train")


def test_a_missing_split(task: Path) -> None:
    (task / "eng_Latn" / "dev.tsv").unlink()
    with pytest.raises(InvalidData, match=r"dev\.tsv: no such file; a language needs this split"):
        load_split(str(task), "eng_Latn", "dev")


@pytest.mark.parametrize("source", ["/no/such/folder", "./data", "mydata", "a/b/c"])
def test_neither_a_folder_nor_a_hub_id(source: str) -> None:
    with pytest.raises(InvalidData, match="neither a folder"):
        load_split(source, "eng_Latn", "train")


def test_an_empty_folder_has_no_languages(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"has no <code>/train\.tsv"):
        language_codes(str(tmp_path))


class TestHub:
    """The hub is replaced by tables made here; `datasets` itself is the real one."""

    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        import datasets

        asked: list[tuple[Any, ...]] = []
        categories = datasets.ClassLabel(names=["garden", "music"])
        table = datasets.Dataset.from_dict(
            {"index_id": [3, 4], "category": [1, 0], "text": ["a choir", "a hedge"]},
            features=datasets.Features(
                {
                    "index_id": datasets.Value("int64"),
                    "category": categories,
                    "text": datasets.Value("string"),
                }
            ),
        )

        def load_dataset(source: str, code: str, split: str) -> Any:
            asked.append((source, code, split))
            return table

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr(
            datasets, "get_dataset_split_names", lambda *_: ["train", "validation", "test"]
        )
        codes = ["fra_Latn", "eng_Latn"]
        monkeypatch.setattr(datasets, "get_dataset_config_names", lambda _: codes)
        return asked

    def test_dev_is_the_hubs_validation(self, hub: list[tuple[Any, ...]]) -> None:
        found = load_split("Davlan/sib200", "eng_Latn", "dev")
        assert hub == [("Davlan/sib200", "eng_Latn", "validation")]
        assert found == [Example("3", "music", "a choir"), Example("4", "garden", "a hedge")]
        assert language_codes("Davlan/sib200") == ["eng_Latn", "fra_Latn"]

    def test_a_configuration_is_found_by_any_code_of_its_language(
        self, hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import datasets

        monkeypatch.setattr(datasets, "get_dataset_config_names", lambda _: ["fr", "pt-br", "own"])
        load_split("somebody/tickets", "fra_Latn", "dev")
        load_split("somebody/tickets", "own", "dev")
        assert [code for _, code, _ in hub] == ["fr", "own"]
        assert language_codes("somebody/tickets") == ["fra_Latn", "own", "por_Latn"]

    def test_a_hub_that_does_not_answer(
        self, hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import datasets

        def unreachable(*_: str) -> Any:
            raise ConnectionError("Couldn't reach the hub")

        monkeypatch.setattr(datasets, "get_dataset_split_names", unreachable)
        with pytest.raises(InvalidData, match=r"could not be loaded from the hub .*Couldn't reach"):
            load_split("Davlan/sib200", "eng_Latn", "train")


def test_labels_are_those_of_train_and_others_are_refused_by_name(task: Path) -> None:
    train = load_split(str(task), "eng_Latn", "train")
    assert labels_of(train) == LABELS
    with pytest.raises(InvalidData, match=r"here: unknown labels \['cooking'\].*'dev-x'.*'garden'"):
        check_labels([*train, Example("dev-x", "cooking", "soup")], LABELS, "here")


def test_a_sample_is_balanced_seeded_and_validates_on_dev(task: Path) -> None:
    data = SourceData.load(str(task), ["eng_Latn"], "dev")
    first, again, other = draw_shots(data, 4, 0), draw_shots(data, 4, 0), draw_shots(data, 4, 1)
    assert first == again
    assert first.train != other.train
    assert Counter(e.label for e in first.train) == dict.fromkeys(LABELS, 4)
    assert Counter(e.label for e in first.validation) == dict.fromkeys(LABELS, 1)
    assert all(e.index_id.startswith("train") for e in first.train)
    assert all(e.index_id.startswith("dev") for e in first.validation)


@pytest.mark.parametrize(("shots", "wanted"), [(1, 1), (3, 1), (4, 1), (6, 1)])
def test_validation_takes_a_quarter_and_at_least_one(task: Path, shots: int, wanted: int) -> None:
    drawn = draw_shots(SourceData.load(str(task), ["eng_Latn"], "dev"), shots, 0)
    assert len(drawn.validation) == wanted * len(LABELS)


def test_validation_from_train_shares_no_sentence_with_what_is_learnt(task: Path) -> None:
    data = SourceData.load(str(task), ["eng_Latn", "fra_Latn"], "train")
    drawn = draw_shots(data, 2, 0)  # the same ids in both languages: parallel sentences
    learnt = {e.index_id for e in drawn.train}
    assert len(drawn.train) == 2 * 2 * len(LABELS)
    assert all(e.index_id.startswith("train") for e in drawn.validation)
    assert not learnt & {e.index_id for e in drawn.validation}


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Ten texts of one label, ten of two, two of a rare one beside it, five of none."""
    cells = [*["common"] * 10, *["common|other"] * 10, *["common|rare"] * 2, *[""] * 5]
    rows = [(f"t{n}", cell, f"text {n}") for n, cell in enumerate(cells)]
    write_tsv(tmp_path / "eng_Latn" / "train.tsv", rows)
    return tmp_path


def test_every_label_of_several_gets_its_shots_the_rare_one_first(several: Path) -> None:
    data = SourceData.load(str(several), ["eng_Latn"], "train", "multi_label")
    assert data.labels == ("common", "other", "rare")
    for seed in range(5):
        drawn = draw_shots(data, 2, seed).train
        assert len(set(drawn)) == len(drawn)
        has = {label: len(data.with_label(drawn, label)) for label in (*data.labels, "")}
        assert has == {"common": 4, "other": 2, "rare": 2, "": 2}
    with pytest.raises(InvalidData, match="label 'rare' has 2 examples and 3 are wanted"):
        draw_shots(data, 3, 0)


def test_a_label_of_several_may_have_no_text_left_to_validate(several: Path) -> None:
    data = SourceData.load(str(several), ["eng_Latn"], "train", "multi_label")
    drawn = draw_shots(data, 2, 0)
    assert not set(drawn.train) & set(drawn.validation)
    assert data.with_label(drawn.validation, "other")
    assert not data.with_label(drawn.validation, "rare")


def test_an_empty_category_is_for_several_labels_alone(several: Path) -> None:
    with pytest.raises(InvalidData, match="line 24: column category is empty"):
        load_split(str(several), "eng_Latn", "train")


def test_levels_are_those_of_the_data(task: Path) -> None:
    known = SourceData.load(str(task), ["eng_Latn"], "dev").labels
    turned = known[::-1]
    assert SourceData.load(str(task), ["eng_Latn"], "dev", "ordered", turned).labels == turned
    with pytest.raises(InvalidData, match=r"--levels .*: the data also has"):
        SourceData.load(str(task), ["eng_Latn"], "dev", "ordered", known[1:])
    with pytest.raises(InvalidData, match="no text of the train split is 'higher'"):
        SourceData.load(str(task), ["eng_Latn"], "dev", "ordered", (*known, "higher"))


def test_all_shots_take_both_splits_whole(task: Path) -> None:
    data = SourceData.load(str(task), ["eng_Latn", "deu_Latn"], "dev")
    drawn = draw_shots(data, "all", 0)
    assert len(drawn.train) == 2 * 6 * len(LABELS)
    assert len(drawn.validation) == 2 * 4 * len(LABELS)


def test_without_dev_a_tenth_of_trains_articles_validates() -> None:
    """Sentences 1 and 2, 4 and 5, ... are of one article."""
    own = [Example(str(n), LABELS[n // 3 % 2], f"text {n}") for n in range(1, 181) if n % 3]
    data = SourceData(dict.fromkeys(("eng_Latn", "fra_Latn"), own), {}, LABELS[:2])
    drawn = draw_shots(data, "all", 0)
    train, held_out = ({each.index_id for each in part} for part in (drawn.train, drawn.validation))
    assert train | held_out == {each.index_id for each in own}
    assert not train & held_out
    article = articles_of([each.index_id for each in own], [each.label for each in own])
    assert not {article[name] for name in train} & {article[name] for name in held_out}
    assert len(drawn.validation) == 2 * len(held_out)  # in both languages
    for label in LABELS[:2]:
        kept = [each for each in own if each.label == label and each.index_id in held_out]
        assert 0.1 <= len(kept) / 60 <= 0.14
    assert draw_shots(data, "all", 0) == drawn != draw_shots(data, "all", 1)
    few = draw_shots(data, "all", 0, examples=25)
    assert few.validation == drawn.validation
    assert set(few.train) <= set(drawn.train)
    assert len(few.train) == 25
    with pytest.raises(InvalidData, match="--examples 500"):
        draw_shots(data, "all", 0, examples=500)


def test_all_shots_of_one_article_a_label_leave_none_to_validate_on() -> None:
    own = [Example(name, label, name) for name, label in (("1", "a"), ("2", "a"), ("4", "b"))]
    data = SourceData({"eng_Latn": own}, {}, ("a", "b"))
    with pytest.raises(InvalidData, match="--validation dev"):
        draw_shots(data, "all", 0)


def test_few_shots_validate_on_other_articles_where_there_are_enough() -> None:
    own = [Example(str(n), "a", f"text {n}") for n in range(1, 31) if n % 3]
    data = SourceData({"eng_Latn": own}, {}, ("a",))
    article = articles_of([each.index_id for each in own], ["a"] * len(own))
    for seed in range(5):
        drawn = draw_shots(data, 4, seed)
        taken = {article[each.index_id] for each in drawn.train}
        assert article[drawn.validation[0].index_id] not in taken
        most = draw_shots(data, 16, seed)  # no four articles are left
        assert not {e.index_id for e in most.train} & {e.index_id for e in most.validation}


def test_an_article_is_numbers_in_turn_with_one_label() -> None:
    assert articles_of(["7", "8", "10", "9"], ["a", "a", "a", "a"]) == {
        **dict.fromkeys(("7", "8", "9", "10"), "7")
    }
    assert articles_of(["7", "8"], ["a", "b"]) == {"7": "7", "8": "8"}
    assert articles_of(["t-1", "t-2"], ["a", "a"]) == {"t-1": "t-1", "t-2": "t-2"}
    long = articles_of([str(n) for n in range(12)], ["a"] * 12)
    assert [long[str(n)] for n in (0, 4, 5, 9, 10)] == ["0", "0", "5", "5", "10"]


def test_too_few_examples_name_label_wanted_and_found(task: Path) -> None:
    data = SourceData.load(str(task), ["eng_Latn"], "dev")
    with pytest.raises(InvalidData, match="label 'garden' has 6 examples and 7 are wanted"):
        draw_shots(data, 7, 0)
    write_tsv(task / "eng_Latn" / "dev.tsv", sentences("eng_Latn", "dev")[1:4])
    with pytest.raises(InvalidData, match="eng_Latn dev: label 'kitchen' has 0 examples and 1"):
        draw_shots(SourceData.load(str(task), ["eng_Latn"], "dev"), 4, 0)


def test_an_unknown_label_in_dev_is_refused_before_anything_is_trained(task: Path) -> None:
    write_tsv(task / "eng_Latn" / "dev.tsv", [("d1", "cooking", "a soup")])
    with pytest.raises(InvalidData, match=r"eng_Latn dev: unknown labels \['cooking'\]"):
        SourceData.load(str(task), ["eng_Latn"], "dev")


def test_sib_200_reads_whole_and_in_order(sib200: Path) -> None:
    for code in ("eng_Latn", "urd_Arab", "zho_Hans", "nqo_Nkoo"):
        for split, size in (("train", 701), ("dev", 99), ("test", 204)):
            found = load_split(str(sib200), code, split)  # type: ignore[arg-type]
            assert len(found) == size
            with (sib200 / code / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            assert [(e.index_id, e.label, e.text) for e in found] == [
                (row["index_id"], row["category"], row["text"]) for row in rows
            ]


def test_labels_in_two_spellings_are_refused_with_the_texts_that_have_them(tmp_path: Path) -> None:
    rows = b"1\tSports\tx\n2\thealth\ty\n3\tsports \tz\n4\tsports\tz\n"
    found = load_bytes(tmp_path, HEADER + rows)
    with pytest.raises(
        InvalidData, match=r"'Sports' \(index_id '1'\) and 'sports' \(index_id '3'\) differ only"
    ):
        labels_of(found)
    with pytest.raises(InvalidData, match=r"'Health' is 'health' in another spelling; correct"):
        check_labels([Example("5", "Health", "x")], ("health", "sports"), "here")
