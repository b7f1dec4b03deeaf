"""What routes are chosen on: every candidate's answers to the same sentences, aligned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import EnsembleCard
from isogloss.training.data.articles import articles_of
from isogloss.training.data.clades import lineages_of
from isogloss.training.data.labelled import Split
from isogloss.training.evaluation.predictions import Group, Prediction, read_split


@dataclass(frozen=True, slots=True)
class Origin:
    """How a prompt was made, as far as choosing needs to know."""

    sources: frozenset[str] = frozenset()  # languages it was trained on
    way: str = ""  # for people
    tailored: str = ""  # the clade it was made for; English alone is nobody's
    parents: frozenset[str] = frozenset()  # digests of the prompts it started or learned from
    inherited: frozenset[str] = frozenset()  # languages that those were trained on, and theirs

    @classmethod
    def of(cls, card: PromptCard | EnsembleCard) -> Self:
        """From a prompt's card; an ensemble's is what its members' are together."""
        if isinstance(card, EnsembleCard):
            return cls._together([cls.of(member.card) for member in card.members])
        facts = card.training
        listed = facts.get("sources")
        sources = [str(code) for code in listed] if isinstance(listed, list) else []
        known = [facts.get(name) for name in ("start", "teacher")]
        parents = frozenset(str(parent["digest"]) for parent in known if isinstance(parent, dict))
        clade = facts.get("clade") if facts.get("way") in ("clade", "taught") else None
        return cls(frozenset(sources), _way(card.kind, facts, sources), str(clade or ""), parents)

    @classmethod
    def _together(cls, members: Sequence[Self]) -> Self:
        """Of prompts that answer together: made for a clade where all that were made for one are.

        Members of several clades are nobody's, like a prompt of diverse sources.
        """
        clades = {member.tailored for member in members} - {""}
        ways = list(dict.fromkeys(member.way for member in members))
        return cls(
            sources=frozenset().union(*(member.sources for member in members)),
            way=f"{len(members)} together: {'; '.join(ways)}",
            tailored=clades.pop() if len(clades) == 1 else "",
            parents=frozenset().union(*(member.parents for member in members)),
        )

    def suits(self, lineages: Mapping[str, Sequence[str]], codes: Collection[str]) -> bool:
        """Whether the prompt may answer for these languages; without codes, for any language.

        A prompt made for a clade answers within it, and for languages that it was trained on.
        """
        if not self.tailored:
            return True
        inside = all(self.tailored in lineages[code] for code in codes)
        return bool(codes) and (inside or self.sources.issuperset(codes))

    @property
    def seen(self) -> frozenset[str]:
        """Languages that have left a trace in the prompt."""
        return self.sources | self.inherited


def _way(kind: str, facts: Mapping[str, object], sources: Sequence[str]) -> str:
    if not sources:
        return kind
    shown = ", ".join(sources) if len(sources) <= 3 else f"{len(sources)} languages"
    teacher = facts.get("teacher")
    if isinstance(teacher, dict):
        return f"{kind}, no labels, taught by {teacher.get('name')} in {shown}"
    shots = facts.get("shots")
    amount = "all examples" if shots == "all" else f"{shots} examples a label"
    return f"{kind}, {amount} of {shown}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """Every candidate's answers to the same sentences of the same languages.

    The same sentence in several languages is one column: its answers are not independent. Nor are
    those to sentences of one article.
    """

    prompts: tuple[str, ...]
    lineages: Mapping[str, Sequence[str]]  # language -> clades, root first; in order of `languages`
    correct: NDArray[np.float64]  # (prompt, language, sentence): how right, from 0 to 1
    answered: NDArray[np.bool_]  # (language, sentence): has this language this sentence?
    leads: NDArray[np.float64] | None = (
        None  # as `correct`: log odds of gold to the best other label
    )
    origins: Mapping[str, Origin] = field(default_factory=dict)
    articles: NDArray[np.int64] | None = None  # (sentence,): whose it is; None: each its own

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes, in the order of the arrays."""
        return tuple(self.lineages)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right answers, or how right they are in the mean, (prompt, language)."""
        right: NDArray[np.float64] = (self.correct * self.answered).sum(axis=2)
        shares: NDArray[np.float64] = right / self.answered.sum(axis=1).astype(np.float64)
        return shares

    def origin(self, prompt: str) -> Origin:
        """How a candidate was made; nothing is known where the prompt is not at hand."""
        return self.origins.get(prompt, Origin())

    @property
    def membership(self) -> NDArray[np.float64]:
        """(sentence, article): 1 where a sentence is of an article; sums over it follow."""
        sentences = self.answered.shape[1]
        if self.articles is None:
            return np.eye(sentences)
        _, numbers = np.unique(self.articles, return_inverse=True)
        membership: NDArray[np.float64] = np.eye(numbers.max() + 1)[numbers]
        return membership

    def weights(self, codes: Collection[str]) -> NDArray[np.float64]:
        """(language,): a mean over these languages, each counting the same."""
        chosen = [code in codes for code in self.languages]
        return np.array(chosen, dtype=np.float64) / sum(chosen)

    def sentences(self, codes: Collection[str]) -> int:
        """Sentences in these languages, a sentence in two languages counting twice."""
        return int(
            sum(
                there.sum()
                for code, there in zip(self.languages, self.answered, strict=True)
                if code in codes
            )
        )

    def without(self, language: str) -> Evidence:
        """As if nobody had heard of this language: no answers, no prompts that have seen it."""
        prompts = [p for p in self.prompts if language not in self.origin(p).seen]
        kept = [self.prompts.index(p) for p in prompts]
        rest = self.only([code for code in self.languages if code != language])
        return replace(
            rest,
            prompts=tuple(prompts),
            correct=rest.correct[kept],
            leads=None if rest.leads is None else rest.leads[kept],
        )

    def only(self, codes: Collection[str]) -> Evidence:
        """The answers in these languages."""
        kept = [index for index, code in enumerate(self.languages) if code in codes]
        return replace(
            self,
            lineages={c: lineage for c, lineage in self.lineages.items() if c in codes},
            correct=self.correct[:, kept],
            answered=self.answered[kept],
            leads=None if self.leads is None else self.leads[:, kept],
        )


def read_evidence(
    paths: Sequence[Path], model: str | None, split: Split = "dev"
) -> dict[Group, list[Prediction]]:
    """Predictions by backbone and task: see `read_split`."""
    return read_split(paths, split, model, _WHY[split])


_WHY: Mapping[Split, str] = {
    "dev": "routes are chosen on dev, so that test stays unseen: evaluate with --split dev",
    "test": "gains are measured where nothing was chosen: evaluate with --split test",
}


def evidence_of(
    rows: Sequence[Prediction], origins: Mapping[str, Origin] | None = None
) -> tuple[Evidence, dict[str, str]]:
    """Aligned answers, and each prompt's digest.

    Raises:
        InvalidData: prompts were evaluated on different sentences, a sentence has two answers of
            one prompt or two gold labels, or one name stands for two prompts.
    """
    answers: dict[str, dict[tuple[str, str], Prediction]] = {}
    digests: dict[str, str] = {}
    gold: dict[tuple[str, str], str] = {}
    for row in rows:
        if (known := gold.setdefault((row.language, row.index_id), row.gold)) != row.gold:
            raise InvalidData(
                f"{row.language} {row.index_id!r} has the gold labels {known!r} and {row.gold!r} "
                "in these evaluations, so they are of different data; evaluate all on the same"
            )
        if digests.setdefault(row.prompt, row.digest) != row.digest:
            raise InvalidData(
                f"prompt {row.prompt!r} is {digests[row.prompt]} and {row.digest} in these "
                "evaluations; evaluate one of them under another name"
            )
        answered = answers.setdefault(row.prompt, {})
        first = answered.setdefault((row.language, row.index_id), row)
        if first.correct != row.correct:
            raise InvalidData(
                f"prompt {row.prompt!r} has two answers to {row.language} {row.index_id!r}; "
                "leave out one of the evaluations"
            )
    return _aligned(answers, origins or {}), digests


def _aligned(
    answers: Mapping[str, Mapping[tuple[str, str], Prediction]], origins: Mapping[str, Origin]
) -> Evidence:
    keys = sorted({key for given in answers.values() for key in given})
    for prompt, given in answers.items():
        if lacking := next((key for key in keys if key not in given), None):
            raise InvalidData(
                f"prompt {prompt!r} has no answer to {lacking[0]} {lacking[1]!r}, others have; "
                "evaluate all candidates on the same languages"
            )
    codes = sorted({code for code, _ in keys})
    columns = {name: n for n, name in enumerate(sorted({name for _, name in keys}))}
    cells = tuple(np.array([(codes.index(c), columns[name]) for c, name in keys]).T)
    prompts = sorted(answers)
    answered = np.zeros((len(codes), len(columns)), dtype=np.bool_)
    answered[cells] = True
    correct = np.zeros((len(prompts), *answered.shape))
    leads = np.zeros(correct.shape)
    for index, prompt in enumerate(prompts):
        rows = [answers[prompt][key] for key in keys]
        correct[index][cells] = [row.correct for row in rows]
        leads[index][cells] = [_lead(row) for row in rows]
    told = leads if not np.isnan(leads).any() else None
    gold = {name: row.gold for (_, name), row in answers[prompts[0]].items()}
    article = articles_of(list(gold), list(gold.values()))
    articles = np.array([columns[article[name]] for name in columns])
    return Evidence(tuple(prompts), lineages_of(codes), correct, answered, told, origins, articles)


def _lead(row: Prediction) -> float:
    """Logarithm of the gold label's odds against the best other.

    NaN where scores were not kept, or where an answer is not simply right or wrong.
    """
    if row.problem != "single_label":
        return np.nan
    others = [value for label, value in row.log_probs.items() if label != row.gold]
    return row.log_probs[row.gold] - max(others) if others else np.nan
