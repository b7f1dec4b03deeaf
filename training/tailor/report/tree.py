"""The language tree of a job, as far down as prompts differ: clades, and the prompt each gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isogloss.training.data.clades import branching_clades, name_of
from isogloss.training.tailor.report.reading import Run


@dataclass(frozen=True, slots=True)
class Node:
    """A clade, what answers in it, and what is below. `routed`: it has a route of its own."""

    clade: str
    prompt: str
    routed: bool
    gain: float | None  # expected on dev over what it would get otherwise, in points
    probability: float | None  # that it is above zero
    languages: tuple[str, ...]  # names of those that belong to no branch below
    below: tuple[Node, ...]


def tree_of(run: Run) -> tuple[Node, ...]:
    """The families, each with its branches; languages without a family are under none."""
    languages: Mapping[str, Mapping[str, Any]] = run.facts["languages"]
    judged = {code for each in run.evidence for code in each["languages"]}
    lineages = {code: tuple(languages[code]["lineage"]) for code in judged if code in languages}
    clades = dict(branching_clades(lineages, 1))
    for routed in run.table["clades"]:
        members = tuple(sorted(code for code, path in lineages.items() if routed in path))
        same = [clade for clade, codes in clades.items() if codes == members]
        for clade in same:  # a chain goes under the name that the route has
            del clades[clade]
        clades[routed] = members
    return _nodes(run, lineages, clades, tuple(sorted(lineages)), run.table["universal"])


def families(run: Run) -> set[str]:
    """The roots of the tree."""
    lineages = [language["lineage"] for language in run.facts["languages"].values()]
    return {lineage[0] for lineage in lineages if lineage}


def _nodes(
    run: Run,
    lineages: Mapping[str, Sequence[str]],
    clades: Mapping[str, tuple[str, ...]],
    codes: tuple[str, ...],
    inherited: str,
) -> tuple[Node, ...]:
    """Nodes of the largest clades inside `codes`."""
    inside = {c: m for c, m in clades.items() if set(m) < set(codes) or c in _roots(lineages, m)}
    inside = {c: m for c, m in inside.items() if set(m) <= set(codes)}
    tops = [c for c, m in inside.items() if not any(set(m) < set(o) for o in inside.values())]
    nodes = []
    for clade in sorted(tops, key=lambda name: (-len(inside[name]), name)):
        members = inside[clade]
        why = next((each for each in run.evidence if each["clade"] == clade), None)
        prompt = run.table["clades"].get(clade, inherited)
        rest = {c: m for c, m in clades.items() if set(m) < set(members)}
        if not any(own in run.table["clades"] for own in rest):
            rest = {}  # whose branches all get the same: its languages are enough
        below = _nodes(run, lineages, rest, members, prompt) if rest else ()
        deeper = {code for node_codes in rest.values() for code in node_codes}
        nodes.append(
            Node(
                clade,
                prompt,
                clade in run.table["clades"],
                100 * why["gain"] if why and why["gain"] is not None else None,
                why["probability"] if why else None,
                tuple(name_of(code) for code in members if code not in deeper or not below),
                below,
            )
        )
    return tuple(nodes)


def _roots(lineages: Mapping[str, Sequence[str]], members: Sequence[str]) -> set[str]:
    return {lineages[code][0] for code in members if lineages[code]}
