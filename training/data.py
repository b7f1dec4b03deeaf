"""Labelled texts: a data set on the hub, or a folder of a user's own.

A folder is laid out as SIB-200 is: `<code>/{train,dev,test}.tsv`, tab-separated with a header, the
columns `index_id category text`, quoted as the csv module (and pandas) does by default. The code is
one of any standard (`fra_Latn`, `fr`, `pt-BR`), or a name of one's own. A byte order mark and blank
lines are accepted; anything else unexpected is refused with file and line.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from prompts.errors import InvalidData
from prompts.language_codes import LONGEST_CODE
from prompts.languages import canonical, named_languages

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
    label: str
    text: str


def load_split(source: str, code: str, split: Split) -> list[Example]:
    """Read one split of one language, in the order of the file.

    Args:
        source: a folder, or a data set on the hub such as `Davlan/sib200`.
        code: the language's folder or configuration, such as `eng_Latn`; of another standard, the
            one that means the same.
        split: `dev` is the hub's `validation`.

    Raises:
        InvalidData: no such data, language or split, or a line that cannot be read; the message
            names the file, the line and the remedy.
    """
    if _is_folder(source):
        return _load_file(_language_folder(Path(source), code) / f"{split}.tsv")
    return _load_from_hub(source, code, split)


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
    if not _is_folder(source):
        return sorted(_hub_codes(source))
    held = {path.parent.name for path in Path(source).glob("*/*.tsv")}
    codes = sorted(named_languages(held, f"--data {source}"))
    if not codes:
        raise InvalidData(f"data folder {source!r} has no <code>/train.tsv, dev.tsv or test.tsv")
    return codes


def labels_of(train: Iterable[Example]) -> tuple[str, ...]:
    """The labels of a task, sorted: those of its training split."""
    return tuple(sorted({example.label for example in train}))


def check_labels(examples: Iterable[Example], labels: Sequence[str], where: str) -> None:
    """Refuse examples whose label is none of `labels`.

    Raises:
        InvalidData: names the unknown labels and the first sentence that has one.
    """
    known = set(labels)
    unknown = [example for example in examples if example.label not in known]
    if unknown:
        names = sorted({example.label for example in unknown})
        raise InvalidData(
            f"{where}: unknown labels {names!r} (first in index_id {unknown[0].index_id!r}); the "
            f"task's labels are {sorted(known)!r}; correct the category column"
        )


def _is_folder(source: str) -> bool:
    if Path(source).is_dir():
        return True
    if Path(source).exists() or not _HUB_ID.fullmatch(source) or source.startswith("."):
        raise InvalidData(
            f"--data {source!r} is neither a folder <code>/{{train,dev,test}}.tsv "
            "nor a data set on the hub such as 'Davlan/sib200'"
        )
    return False


def _language_folder(root: Path, code: str) -> Path:
    # A code is one folder name: "../elsewhere" is not a language of this data.
    alike = {path.name for path in root.iterdir() if canonical(path.name) == canonical(code)}
    held = {name for name in alike if any((root / name).glob("*.tsv"))} or alike
    if (name := named_languages(held, f"--data {root}").get(canonical(code))) is None:
        known = language_codes(str(root)) if len(code) <= LONGEST_CODE else ()
        close = difflib.get_close_matches(code, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InvalidData(f"language {code!r}: no such folder in {root}{hint}")
    return root / name


def _load_file(path: Path) -> list[Example]:
    return [
        Example(cells["index_id"].strip(), cells["category"].strip(), cells["text"])
        for cells in _read_file(path, _COLUMNS)
    ]


def _read_file(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows' cells by column; those named in `columns` are there and not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(_unique(path, _read_rows(path, lines, columns)))
    except FileNotFoundError:
        raise InvalidData(f"{path}: no such file; a language needs this split") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read ({error.strerror})") from None
    if not rows:
        raise InvalidData(f"{path}: no examples; add rows below the header")
    return rows


def not_utf8(path: Path, error: UnicodeDecodeError) -> InvalidData:
    """What to say of a file with such a byte."""
    return InvalidData(
        f"{path}, line {_line_of_bad_byte(path)}: byte 0x{error.object[error.start]:02x} is "
        "not UTF-8; save the file as UTF-8"
    )


def _line_of_bad_byte(path: Path) -> int:
    """Line of the first byte that is not UTF-8: the decoder's own offset is that of a chunk."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 1


def _read_rows(
    path: Path, lines: Iterable[str], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    # strict: an unclosed quote would otherwise swallow the rest of the file into one text.
    rows = csv.reader(lines, delimiter="\t", strict=True)
    try:
        header: list[str] | None = None
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = _checked_header(path, row, columns)
                continue
            yield rows.line_num, _cells(f"{path}, line {rows.line_num}", header, row, columns)
    except csv.Error as error:
        raise InvalidData(
            f"{path}, line {rows.line_num}: {error}; double a quote inside a quoted text and "
            "quote a text that begins with one"
        ) from None


def _checked_header(path: Path, row: list[str], columns: Sequence[str]) -> list[str]:
    if missing := [name for name in columns if name not in row]:
        raise InvalidData(
            f"{path}, line 1: no column {', '.join(missing)}; the first line must be "
            f"{'<tab>'.join(columns)} (found {row!r})"
        )
    return row


def _cells(
    where: str, header: Sequence[str], row: Sequence[str], columns: Sequence[str]
) -> dict[str, str]:
    if len(row) != len(header):
        raise InvalidData(
            f"{where}: {len(row)} columns where the header has {len(header)}; "
            "separate columns by one tab and quote a text that contains a tab"
        )
    cells = dict(zip(header, row, strict=True))
    if empty := [name for name in columns if not cells[name].strip()]:
        raise InvalidData(f"{where}: column {', '.join(empty)} is empty; fill or delete the row")
    return cells


def _unique(path: Path, rows: Iterable[tuple[int, dict[str, str]]]) -> Iterator[dict[str, str]]:
    """Rows without their lines; predictions are kept by index_id, so each appears once."""
    lines: dict[str, int] = {}
    for line, cells in rows:
        name = cells["index_id"].strip()
        first = lines.setdefault(name, line)
        if first != line:
            raise InvalidData(
                f"{path}, line {line}: index_id {name!r} is that of line {first}; "
                "give every text its own"
            )
        yield cells


def _load_from_hub(source: str, code: str, split: Split) -> list[Example]:
    import datasets

    code = _hub_codes(source).get(canonical(code), code)
    names = _hub(source, lambda: datasets.get_dataset_split_names(source, code))
    name = next((name for name in _HUB_SPLITS[split] if name in names), None)
    if name is None:
        raise InvalidData(f"{source} {code}: no split {split!r}; it has {sorted(names)!r}")
    table = _hub(source, lambda: datasets.load_dataset(source, code, split=name))
    if missing := [column for column in _COLUMNS if column not in table.column_names]:
        raise InvalidData(f"{source} {code} {name}: no column {', '.join(missing)}")
    # Some versions of SIB-200 store the category as a number with names beside it.
    feature = table.features["category"]
    naming = feature.int2str if isinstance(feature, datasets.ClassLabel) else str
    return [Example(str(r["index_id"]), naming(r["category"]), str(r["text"])) for r in table]


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
