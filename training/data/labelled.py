"""Labelled texts: a data set on the hub, or a folder of a user's own.

A folder is laid out as SIB-200 is: `<code>/{train,dev,test}.tsv`, tab-separated with a header, the
columns `index_id category text`, read as `prompts.files.tables` reads every table. The code is one
of any standard (`fra_Latn`, `fr`, `pt-BR`), or a name of one's own. Where a task's texts may have
several labels, a cell holds them with "|" between them (on the hub a list does), or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from isogloss.prompts.console.refusals import shown, spelled_like
from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.files.tables import Layout, Row, read_table
from isogloss.prompts.format import labels as label_names
from isogloss.prompts.format.labels import confused
from isogloss.prompts.format.problem import Problem, join_labels, labels_in_cell, split_labels
from isogloss.prompts.languages.codes import LONGEST_CODE
from isogloss.prompts.languages.languages import canonical, named_languages

Split = Literal["train", "dev", "test"]
T = TypeVar("T")

_COLUMNS = ("index_id", "category", "text")
_TEXT_COLUMNS = ("index_id", "text")
_HUB_SPLITS = {"train": ("train",), "dev": ("validation", "dev"), "test": ("test",)}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text. Texts that are translations of each other share their `index_id`."""

    index_id: str
    label: str  # of several, all in one cell: see `prompts.format.problem`
    text: str


def load_split(
    source: str, code: str, split: Split, problem: Problem = "single_label"
) -> list[Example]:
    """Read one split of one language, in the order of the file.

    Args:
        source: a folder, or a data set on the hub such as `Davlan/sib200`.
        code: the language's folder or configuration, such as `eng_Latn`; of another standard, the
            one that means the same.
        split: `dev` is the hub's `validation`.
        problem: whether a cell may hold several labels, or none.

    Raises:
        InvalidData: no such data, language or split, or a line that cannot be read; the message
            names the file, the line and the remedy.
    """
    if (folder := _folder(source)) is not None:
        return _load_file(_language_folder(folder, code) / f"{split}.tsv", problem)
    return _load_from_hub(source, code, split, problem)


def has_split(source: str, code: str, split: Split) -> bool:
    """Whether a language of a data set has this split.

    Raises:
        InvalidData: no such data or language.
    """
    if (folder := _folder(source)) is not None:
        return (_language_folder(folder, code) / f"{split}.tsv").is_file()
    import datasets

    name = _hub_codes(source).get(canonical(code), code)
    held = _hub(source, lambda: datasets.get_dataset_split_names(source, name))
    return any(each in held for each in _HUB_SPLITS[split])


def load_texts(folder: Path, code: str) -> dict[str, str]:
    """Read the texts of one language's train split by index_id; labels, if any, are not looked at.

    Raises:
        InvalidData: no such language or split, or a line that cannot be read.
    """
    path = _language_folder(folder, code) / "train.tsv"
    return {row["index_id"].strip(): row["text"] for row in _read_file(path, _TEXT_COLUMNS)}


def language_codes(source: str) -> list[str]:
    """Codes of the languages a data set has, sorted: the language table's, else its own.

    Raises:
        InvalidData: no such data, a folder without a single language, or one with two names for the
            same.
    """
    if (folder := _folder(source)) is None:
        return sorted(_hub_codes(source))
    held = {path.parent.name for path in folder.glob("*/*.tsv")}
    codes = sorted(named_languages(held, f"--data {source}"))
    if not codes:
        raise InvalidData(f"data folder {source!r} has no <code>/train.tsv, dev.tsv or test.tsv")
    return codes


def labels_in(example: Example, problem: Problem) -> tuple[str, ...]:
    """The labels of a text: one, or any number of them."""
    return labels_in_cell(problem, example.label)


def labels_of(
    train: Iterable[Example], problem: Problem = "single_label", levels: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The labels of a task: those of its training split, sorted; levels as they are given.

    Raises:
        InvalidData: they may not be a task's labels, or two of them are one in two spellings; the
            first text with each is named.
    """
    first: dict[str, str] = {}
    for example in train:
        for label in labels_in(example, problem):
            first.setdefault(label, example.index_id)
    if levels is not None:
        return _levels(first, levels)
    if alike := confused(first):
        one, other = (f"{label!a} (index_id {first[label]!r})" for label in alike)
        raise InvalidData(
            f"labels {one} and {other} differ only in case, blanks or Unicode form; write them "
            "alike in the category column"
        )
    labels = tuple(sorted(first))
    label_names.check_labels(labels)
    return labels


def _levels(first: Mapping[str, str], levels: Sequence[str]) -> tuple[str, ...]:
    """Levels, lowest first, all of which the data must know.

    Args:
        first: label -> the first text with it.
        levels: as they are given.
    """
    if unknown := sorted(set(first) - set(levels)):
        raise InvalidData(
            f"--levels {','.join(levels)}: the data also has {unknown[0]!a} (index_id "
            f"{first[unknown[0]]!r}); name every level, lowest first, or correct the category"
        )
    if missing := [level for level in levels if level not in first]:
        raise InvalidData(
            f"--levels {','.join(levels)}: no text of the train split is {missing[0]!a}; the "
            f"labels there are {', '.join(sorted(first))}"
        )
    label_names.check_labels(levels)
    return tuple(levels)


def check_labels(
    examples: Iterable[Example],
    labels: Sequence[str],
    where: str,
    problem: Problem = "single_label",
) -> None:
    """Refuse examples that have a label which is none of `labels`.

    Raises:
        InvalidData: names the unknown labels and the first sentence that has one.
    """
    known = set(labels)
    unknown = [each for each in examples if not known.issuperset(labels_in(each, problem))]
    if unknown:
        names = sorted({name for each in unknown for name in labels_in(each, problem)} - known)
        other = confused([*labels, *names])
        hint = f"; {other[1]!a} is {other[0]!a} in another spelling" if other else ""
        raise InvalidData(
            f"{where}: unknown labels {names!r} (first in index_id {unknown[0].index_id!r}); the "
            f"task's labels are {sorted(known)!r}{hint}; correct the category column"
        )


def _folder(source: str) -> Path | None:
    """The folder that is named; None for a data set on the hub."""
    path = expanded(source, "--data")
    if path.is_dir():
        return path
    if path.exists() or not _HUB_ID.fullmatch(source) or source.startswith("."):
        raise InvalidData(
            f"--data {source!r} is neither a folder <code>/{{train,dev,test}}.tsv "
            "nor a data set on the hub such as 'Davlan/sib200'"
        )
    return None


def _language_folder(root: Path, code: str) -> Path:
    # A code is one folder name: "../elsewhere" is not a language of this data.
    alike = {path.name for path in root.iterdir() if canonical(path.name) == canonical(code)}
    held = {name for name in alike if any((root / name).glob("*.tsv"))} or alike
    if (name := named_languages(held, f"--data {root}").get(canonical(code))) is None:
        known = language_codes(str(root)) if len(code) <= LONGEST_CODE else ()
        close = spelled_like(code, known, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InvalidData(f"language {shown(code)}: no such folder in {root}{hint}")
    return root / name


def _load_file(path: Path, problem: Problem) -> list[Example]:
    may_be_empty = ("category",) if problem == "multi_label" else ()
    return [
        Example(cells["index_id"].strip(), _category([cells["category"]], problem), cells["text"])
        for cells in _read_file(path, _COLUMNS, may_be_empty)
    ]


def _category(cells: Iterable[str], problem: Problem) -> str:
    """A text's label, or all of them in one cell; one that is written twice counts once."""
    if problem != "multi_label":
        return "".join(cells).strip()
    return join_labels(label for cell in cells for label in split_labels(cell))


def _read_file(
    path: Path, columns: tuple[str, ...], may_be_empty: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    """The rows' cells by column; those named in `columns` are there and not empty."""
    layout = Layout(columns, missing="a language needs this split", may_be_empty=may_be_empty)
    rows = list(_unique(read_table(path, layout)))
    if not rows:
        raise InvalidData(f"{path}: no examples; add rows below the header")
    return rows


def _unique(rows: Iterable[Row]) -> Iterator[dict[str, str]]:
    """Rows without their lines; predictions are kept by index_id, so each appears once."""
    lines: dict[str, int] = {}
    for row in rows:
        name = row.cells["index_id"].strip()
        first = lines.setdefault(name, row.line)
        if first != row.line:
            raise InvalidData(
                f"{row.where}: index_id {name!r} is that of line {first}; give every text its own"
            )
        yield row.cells


def _load_from_hub(source: str, code: str, split: Split, problem: Problem) -> list[Example]:
    import datasets

    code = _hub_codes(source).get(canonical(code), code)
    names = _hub(source, lambda: datasets.get_dataset_split_names(source, code))
    name = next((name for name in _HUB_SPLITS[split] if name in names), None)
    if name is None:
        raise InvalidData(f"{source} {code}: no split {split!r}; it has {sorted(names)!r}")
    table = _hub(source, lambda: datasets.load_dataset(source, code, split=name))
    if missing := [column for column in _COLUMNS if column not in table.column_names]:
        raise InvalidData(f"{source} {code} {name}: no column {', '.join(missing)}")
    # Some versions of SIB-200 store the category as a number with names beside it; several labels
    # are a list of either.
    feature = table.features["category"]
    inner = getattr(feature, "feature", feature)
    naming = inner.int2str if isinstance(inner, datasets.ClassLabel) else str
    return [
        Example(
            str(r["index_id"]),
            _category(map(naming, _listed(r["category"])), problem),
            str(r["text"]),
        )
        for r in table
    ]


def _listed(cell: Any) -> list[Any]:
    """What a cell holds: one value, or a list of them."""
    return list(cell) if isinstance(cell, list | tuple) else [] if cell is None else [cell]


def _hub_codes(source: str) -> dict[str, str]:
    """Names of the configurations, by code."""
    import datasets

    names = _hub(source, lambda: datasets.get_dataset_config_names(source))
    return named_languages(names, f"--data {source}")


def _hub(source: str, call: Callable[[], T]) -> T:
    """Run a call of `datasets`, whose errors are many, and say what a person can do about it."""
    try:
        return call()
    except (OSError, ValueError, ConnectionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidData(
            f"--data {source!r} is no folder here and could not be loaded from the hub ({reason}); "
            "check the name and the network, or download it to a folder"
        ) from error
