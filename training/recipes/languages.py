r"""Build `prompts/data/languages.csv` from lang2vec: every language's place in the Glottolog tree.

    python -m isogloss.training.recipes.languages \
        --data ../shared/data/sib200 --out prompts/data/languages.csv

lang2vec's `fam` vectors say *which* nodes of the tree a language lies under, not in which order.
A node that contains another has every language of it and more, so sorting nodes by how many
languages lie under them puts the root first. Nodes with the very same languages (lang2vec does
not list all of Glottolog) keep the order of lang2vec's columns, which never contradicts inclusion
where inclusion decides; `lineages` checks both facts and fails rather than write a wrong tree.

What lang2vec cannot tell stands in `training/typology/language_sources.csv`, by hand. Where it has
only a close relative, the lineage ends at the last clade that the two share. Basque, an isolate,
and Esperanto, which descends from nothing, have an empty lineage: no clade can route them.
`in_bloom` marks the 46 natural languages of ROOTS (BLOOM, Workshop et al., 2022, Table 1), with
Chinese in both scripts counted as two; `in_xglm` the 30 of CC100-XL (Lin et al., 2022, Table 1),
whose "zh" is entered as simplified Chinese, as the prompt-tuning paper does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.files.tables import table_bytes
from isogloss.training.typology.language_sources import SOURCES, Source, read_sources

NO_DESCENT = "Artificial_Language"  # lang2vec's shelf for constructed languages, not a clade


def read_fam() -> tuple[list[str], list[str], NDArray[np.bool_]]:
    """Return lang2vec's codes, its clades without `F_`, and membership (codes, clades)."""
    from lang2vec import lang2vec  # needs setuptools<81, and takes seconds: only when building

    codes = sorted(lang2vec.available_languages())
    fam = lang2vec.get_features(codes, "fam", header=True)
    clades = [str(name).removeprefix("F_") for name in fam["CODE"]]
    return codes, clades, np.array([fam[code] for code in codes]) == 1.0


def lineages(
    codes: Sequence[str], clades: Sequence[str], member: NDArray[np.bool_]
) -> dict[str, tuple[str, ...]]:
    """Order each language's clades root first. `member`: (codes, clades).

    Raises ValueError where the clades of a language are not nested in one another.
    """
    under = np.ascontiguousarray(member.T)  # (clades, codes): each clade's languages side by side
    size = under.sum(axis=1)
    found = {}
    for code, row in zip(codes, member, strict=True):
        path: list[int] = sorted(
            np.flatnonzero(row).tolist(), key=lambda clade: (-size[clade], clade)
        )
        for above, below in pairwise(path):
            if (under[below] & ~under[above]).any() or above > below:
                raise ValueError(f"{code}: {clades[below]} does not lie under {clades[above]}")
        found[code] = tuple(clades[clade] for clade in path if clades[clade] != NO_DESCENT)
    return found


def build_rows(
    sources: Iterable[Source], lineage_of: Mapping[str, tuple[str, ...]]
) -> list[dict[str, str]]:
    """Return the table's rows, sorted by code.

    Raises ValueError where a source names a clade that is not in its relative's lineage.
    """
    return [_row(source, lineage_of) for source in sorted(sources, key=lambda row: row["code"])]


def _row(source: Source, lineage_of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    code, relative = source["code"], source["lang2vec_code"]
    iso639_3, script = code.split("_")
    return {
        "code": code,
        "iso639_3": iso639_3,
        "name": source["name"],
        "script": script,
        "lineage": ">".join(_cut(lineage_of[relative], source["last_shared_clade"])),
        "in_bloom": source["in_bloom"],
        "in_xglm": source["in_xglm"],
        "lang2vec_code": relative,
    }


def missing(data: Path, sources: Iterable[Source]) -> set[str]:
    """Return the language folders of a data set that the sources do not describe."""
    folders = {path.name for path in data.iterdir() if path.is_dir()}
    return folders - {source["code"] for source in sources}


def _cut(lineage: tuple[str, ...], last: str) -> tuple[str, ...]:
    if not last:
        return lineage
    if last not in lineage:
        raise ValueError(f"{last} is not in the lineage {' > '.join(lineage)}")
    return lineage[: lineage.index(last) + 1]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.languages",
        description=__doc__.split("\n", 1)[0] if __doc__ else None,
    )
    parser.add_argument("--data", type=Path, required=True, help="SIB-200: a folder per language")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sources = read_sources()
    if undescribed := missing(arguments.data, sources):
        parser.error(f"{SOURCES} has no row for {', '.join(sorted(undescribed))}")
    rows = build_rows(sources, lineages(*read_fam()))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(table_bytes(rows[0], (row.values() for row in rows)))
    print(f"{len(rows)} languages, {sum(not row['lineage'] for row in rows)} without a lineage")


if __name__ == "__main__":
    main()
