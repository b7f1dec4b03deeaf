"""What to label next: which clades would gain, from how many sentences, and what that rests on.

Two questions, both answered from the routes' own evidence:

- *dev*: a clade's best candidate looks better, but not probably enough. If the gain that is
  expected of it is its true gain and its uncertainty fell with the root of the sentences, so many
  of them would make the probability that the rule asks for. It falls no faster: what differs from
  language to language stays, so this is the least, and of clades of many languages nothing is said.
- *train*: a clade has no labels of its own. Clades that have some gained so much on dev, in the
  mean, give or take so much; nothing says that this one is like them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal

from isogloss.prompts.files.tables import table_bytes

_MOST = 20_000  # sentences: nobody labels more to learn that little is gained
_MOST_LANGUAGES = 4
"""On real runs the uncertainty of wider clades hardly fell when their sentences were doubled."""
_INTERVAL = 2 * NormalDist().inv_cdf(0.975)  # of a 95 % interval, in standard deviations


@dataclass(frozen=True, slots=True)
class Advice:
    """A kind of sentence to collect for one clade. None: nothing can be said."""

    clade: str
    languages: tuple[str, ...]
    split: Literal["dev", "train"]
    now: int  # labelled sentences of that split
    more: int | None  # of dev the least, of train what others had
    gain: float | None  # expected, in points
    spread: float | None  # a standard deviation of it, in points
    why: str


def advise(facts: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> list[Advice]:
    """Most expected gain first.

    Args:
        facts: of plan.json.
        evidence: of routes.json: a decision for each clade.
    """
    found = [*_more_dev(evidence), *_more_train(facts, evidence)]
    return sorted(found, key=lambda each: (each.gain is None, -(each.gain or 0), each.clade))


def _more_dev(evidence: Sequence[Mapping[str, Any]]) -> Iterator[Advice]:
    seen: set[tuple[str, ...]] = set()
    for each in evidence:
        languages = tuple(each["languages"])
        gain, asked = each["gain"] or 0.0, each["min_probability"] or 0.75
        undecided = not each["routed"] and each["best"] != each["baseline_prompt"]
        if each["clade"] is None or not undecided or gain <= 0 or languages in seen:
            continue
        seen.add(languages)
        low, high = each["interval"]
        spread = (high - low) / _INTERVAL
        wanted = each["sentences"] * (NormalDist().inv_cdf(asked) * spread / gain) ** 2
        more = max(0, math.ceil(wanted - each["sentences"]))
        said = 0 < more <= _MOST and len(languages) <= _MOST_LANGUAGES
        yield Advice(
            each["clade"],
            languages,
            "dev",
            each["sentences"],
            more if said else None,
            round(100 * gain, 2),
            round(100 * spread, 2),
            f"{each['best']} looks better than {each['baseline_prompt']}, with a probability of "
            f"{each['probability']:.2f} where {asked:.2f} is asked for",
        )


def _more_train(
    facts: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]
) -> Iterator[Advice]:
    gains = [100 * (each["gain"] or 0.0) for each in evidence if _has_labels(facts, each)]
    mean = round(fmean(gains), 2) if len(gains) > 2 else None
    spread = round(stdev(gains), 2) if len(gains) > 2 else None
    had = [_train(facts, codes) for codes in facts["clades"].values() if _train(facts, codes)]
    for each in evidence:
        languages = tuple(each["languages"])
        top = each["clade"] is not None and each["clade"] == _root(facts, languages)
        if not top or _train(facts, languages):
            continue
        yield Advice(
            each["clade"],
            languages,
            "train",
            0,
            sorted(had)[len(had) // 2] if had else None,
            mean,
            spread,
            f"what {len(gains)} clades with labels of their own gained"
            if mean is not None
            else "too few clades have labels of their own to say what labels bring",
        )


def _has_labels(facts: Mapping[str, Any], each: Mapping[str, Any]) -> bool:
    languages = set(each["languages"])
    return each["clade"] is not None and any(
        set(codes) <= languages and _train(facts, codes) and len(languages) <= len(codes) + 1
        for codes in facts["clades"].values()
    )


def _train(facts: Mapping[str, Any], codes: Sequence[str]) -> int:
    return sum(facts["languages"].get(code, {}).get("train", 0) for code in codes)


def _root(facts: Mapping[str, Any], codes: Sequence[str]) -> str | None:
    lineage = facts["languages"].get(codes[0], {}).get("lineage", []) if codes else []
    return lineage[0] if lineage else None


def advice_csv(rows: Sequence[Advice]) -> bytes:
    """OUT/advice.csv."""
    columns = [each.name for each in fields(Advice)]
    cells = [[_cell(value) for value in astuple(row)] for row in rows]
    return table_bytes(columns, cells)


def _cell(value: Any) -> str | float | int | None:
    return " ".join(value) if isinstance(value, tuple) else value
