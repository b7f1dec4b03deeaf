"""How languages are near each other in the Glottolog tree, for choosing whom to train on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile

Lineages = Mapping[str, Sequence[str]]
"""Language -> its clades, root first."""

_SCRIPT = 0.15  # what a common script adds to kinship
_KNOWN = 0.3  # what being the model's best-known language adds, in languages brought nearer


def groups(lineages: Lineages, most: int) -> dict[str, tuple[str, ...]]:
    """Cut the tree into clades of at most `most` languages, each as large as that lets it be.

    A chain of clades with the very same languages counts under its highest name. Isolates and
    languages that end at a cut node belong to no group, and no group is all of the languages.

    >>> groups({"fra": ["IE", "Italic"], "spa": ["IE", "Italic"], "deu": ["IE", "Germanic"]}, 2)
    {'Germanic': ('deu',), 'Italic': ('fra', 'spa')}
    """
    return dict(sorted(_cut(lineages, sorted(lineages), 0, most)))


def _cut(
    lineages: Lineages, codes: Sequence[str], depth: int, most: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    under: dict[str, list[str]] = {}
    for code in codes:
        if len(lineages[code]) > depth:
            under.setdefault(lineages[code][depth], []).append(code)
    for clade, members in under.items():
        if len(members) <= most and len(members) < len(lineages):
            yield clade, tuple(members)
        else:
            yield from _cut(lineages, members, depth + 1, most)


def diverse(
    lineages: Lineages,
    candidates: Collection[str],
    first: str,
    count: int,
    known: Mapping[str, float | None],
) -> tuple[str, ...]:
    """Choose up to `count` candidates that stand for all languages, starting with `first`.

    Each next one brings the languages nearest to some source (greedy facility location over the
    share of common ancestors); among near equals, the one that the model read more of.

    Args:
        lineages: of all languages the prompts are for.
        candidates: languages with labels; `first` is one of them.
        first: chosen already.
        count: how many, with `first`.
        known: how much the model read of each, as a share of its best-fed language; None: unknown.
    """
    nearest = {code: kinship(lineages, code, first) for code in lineages}
    chosen = [first]
    rest = sorted(set(candidates) - {first})
    while rest and len(chosen) < count:
        gains = {code: _brought_nearer(lineages, nearest, code) for code in rest}
        best = max(rest, key=lambda code: gains[code] + _KNOWN * (known.get(code) or 0.0) ** 0.25)
        chosen.append(best)
        rest.remove(best)
        nearest = {c: max(near, kinship(lineages, c, best)) for c, near in nearest.items()}
    return tuple(chosen)


def _brought_nearer(lineages: Lineages, nearest: Mapping[str, float], code: str) -> float:
    return sum(max(0.0, kinship(lineages, c, code) - near) for c, near in nearest.items())


def kinship(lineages: Lineages, one: str, other: str) -> float:
    """From 0 to 1: the share of common ancestors, the language counted, and a little for script."""
    if one == other:
        return 1.0
    mine, theirs = lineages[one], lineages[other]
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False))))
    script = _SCRIPT * (one.partition("_")[2] == other.partition("_")[2])
    return (1 - _SCRIPT) * shared / (max(len(mine), len(theirs)) + 1) + script
