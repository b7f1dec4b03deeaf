"""Prompts that answer together, as one file: the mean of their log-probabilities is the answer.

A text is read once for any number of prompts that follow it, so the second to sixteenth opinion
costs a few tokens each. An ensemble is a version of a name like any prompt: published, tried,
routed and rolled back by its digest. Its file holds its members whole. So it goes on answering when
a member is deleted or published anew under its own name, copies of a store need to know nothing of
it, and there is no half of it to be lost.

One safetensors file: tensors `prompt.0`, `prompt.1`, ..., (length, hidden) float32, and under
`card` an `EnsembleCard` with every member's own card and digest. A member whose numbers are not
what its digest says is refused by name, and the ensemble with it: the rest never answers alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import safetensors.numpy
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.card import (
    ModelRef,
    PromptCard,
    Training,
    card_document,
    parse_card,
)
from isogloss.prompts.format.labels import MOST_LABELS, Named
from isogloss.prompts.format.problem import Problem
from isogloss.prompts.format.safetensors_header import TensorSpec, read_arrays, read_header
from isogloss.prompts.format.soft_prompt import RunsPrompts, SoftPrompt, digest_of
from isogloss.prompts.format.verbalizer import LabelToken, Verbalizer

ENSEMBLE_VERSION = 2
"""The format version of the files: releases before ensembles read 1, and refuse this by number."""
MOST_MEMBERS = 16
_TENSOR = "prompt."
_TOLD_LABELS = 4


class EnsembleMember(BaseModel):
    """One prompt of an ensemble: what it was called when it joined, and all that its card says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: int | None = Field(default=None, ge=1)  # None: it came from a file
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    card: PromptCard

    @property
    def reference(self) -> str:
        """`name@version`, or the name of a prompt that came from a file."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


class EnsembleCard(BaseModel):
    """All that is known of prompts that answer together: what they share, and each one's card."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: Literal[2] = 2
    model: ModelRef
    position: Literal["suffix", "prefix"]  # suffix: all of them follow the text
    kind: Literal["ensemble"] = "ensemble"
    task: Annotated[Named, Field(min_length=1, max_length=64)]
    labels: tuple[LabelToken, ...] = Field(min_length=2, max_length=MOST_LABELS, fail_fast=True)
    members: tuple[EnsembleMember, ...] = Field(min_length=2, max_length=MOST_MEMBERS)
    training: Training = Field(default_factory=dict)
    dev_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _members_go_together(self) -> Self:
        problem = _apart(self.members)
        if problem is None and _shared(self.members) != (self.model, self.task, self.labels):
            problem = "its model, task and labels are not those of its first member"
        if problem is None and self.position != _position(self.members):
            problem = f"its position is {self.position!r}, by its members it is not"
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def verbalizer(self) -> Verbalizer:
        """What answers are read from: the members' own."""
        return self.members[0].card.verbalizer

    @property
    def problem(self) -> Problem:
        """The kind of answer: the members' own."""
        return self.verbalizer.problem

    def to_json(self) -> str:
        """One JSON document; equal cards give equal text."""
        return card_document(self)


@dataclass(frozen=True, slots=True)
class Member:
    """A prompt that answers for, or as part of, what was published: see `EnsembleMember`."""

    reference: str
    prompt: SoftPrompt


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Two to sixteen prompts of one model, task and labels that answer together."""

    card: EnsembleCard
    prompts: tuple[SoftPrompt, ...]  # as in the card

    @classmethod
    def of(cls, members: Sequence[tuple[str, int | None, SoftPrompt]]) -> Self:
        """Put prompts together: names, versions (None: from a file) and the prompts.

        The same prompts in the same order give the same bytes, and so the same version of a name.
        Labels are in the first one's order.

        Raises:
            InvalidPrompt: fewer than two or too many, one of them twice, or of different models,
                tasks, labels or sizes of vectors; the message names them. Or one file cannot hold
                them all.
        """
        if not 2 <= len(members) <= MOST_MEMBERS:
            raise InvalidPrompt(
                f"an ensemble has 2 to {MOST_MEMBERS} members, and {len(members)} are given"
            )
        listed = tuple(
            EnsembleMember(name=name, version=version, digest=prompt.digest, card=prompt.card)
            for name, version, prompt in members
        )
        if (problem := _apart(listed)) is not None:
            raise InvalidPrompt(problem)
        model, task, labels = _shared(listed)
        card = EnsembleCard(
            model=model,
            position=_position(listed),
            task=task,
            labels=labels,
            members=listed,
            created_at=max(member.card.created_at for member in listed),
        )
        made = cls(card, tuple(prompt for _, _, prompt in members))
        made._check_sizes()
        try:
            return cls.from_bytes(made.to_bytes())
        except InvalidPrompt as unreadable:  # each has room in a file, all of them have not
            raise InvalidPrompt(
                f"these {len(members)} prompts make no file that can be read: {unreadable}"
            ) from unreadable

    @property
    def members(self) -> tuple[Member, ...]:
        """Each prompt, by the name it joined under."""
        return tuple(
            Member(about.reference, prompt)
            for about, prompt in zip(self.card.members, self.prompts, strict=True)
        )

    @property
    def length(self) -> int:
        """Vectors of all members together."""
        return sum(prompt.length for prompt in self.prompts)

    @property
    def hidden_size(self) -> int:
        """Numbers per vector."""
        return self.prompts[0].hidden_size

    @functools.cached_property
    def digest(self) -> str:
        """Return "sha256:<hex>" of `to_bytes()`: the identity of what is served."""
        return digest_of(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file; equal ensembles give equal bytes."""
        arrays = {f"{_TENSOR}{n}": p.arrays["prompt"] for n, p in enumerate(self.prompts)}
        return safetensors.numpy.save(arrays, {"card": self.card.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an ensemble's file.

        Raises:
            InvalidPrompt: as `SoftPrompt.from_bytes`; or a member is not what its digest says, and
                the message says which.
        """
        header = read_header(data)
        card = parse_card(header.metadata, EnsembleCard, str(ENSEMBLE_VERSION))
        _check_tensors(card, header.tensors)
        arrays = read_arrays(data)
        prompts = (_member(about, arrays[f"{_TENSOR}{n}"]) for n, about in enumerate(card.members))
        read = cls(card, tuple(prompts))
        read._check_sizes()
        return read

    def _check_sizes(self) -> None:
        first, *others = self.members
        for member in others:
            if member.prompt.hidden_size != self.hidden_size:
                raise InvalidPrompt(
                    f"member {member.reference!r} has vectors of {member.prompt.hidden_size} "
                    f"numbers, {first.reference!r} of {self.hidden_size}; prompts of one model "
                    "answer together"
                )

    def check_fits(self, backbone: RunsPrompts) -> None:
        """Require that every member was made for this backbone.

        Raises:
            InvalidPrompt: one was not; the message says which and why.
        """
        self._require(lambda prompt: prompt.check_fits(backbone))

    def check_served(self) -> None:
        """Require that every member reads texts as a server puts them.

        Raises:
            InvalidPrompt: one does not; the message says which and why.
        """
        self._require(SoftPrompt.check_served)

    def _require(self, check: Callable[[SoftPrompt], None]) -> None:
        for member in self.members:
            try:
                check(member.prompt)
            except InvalidPrompt as unfit:
                raise InvalidPrompt(f"member {member.reference!r}: {unfit}") from unfit


def _member(about: EnsembleMember, vectors: np.ndarray) -> SoftPrompt:
    try:
        prompt = SoftPrompt(about.card, vectors)
    except InvalidPrompt as broken:
        raise InvalidPrompt(f"the ensemble's member {about.reference!r}: {broken}") from broken
    if prompt.digest != about.digest:
        raise InvalidPrompt(
            f"the ensemble's member {about.reference!r} is damaged: it is {prompt.digest}, and "
            f"{about.digest} joined; put the ensemble together again"
        )
    return prompt


def _apart(members: Sequence[EnsembleMember]) -> str | None:
    """Why these prompts cannot answer together."""
    first = members[0]
    for index, member in enumerate(members):
        theirs, ours = member.card, first.card
        if theirs.head == "prompt":
            return (
                f"member {member.reference!r} has label rows of its own, and prompts that answer "
                "together read the model's; leave it out"
            )
        if member.digest in {other.digest for other in members[:index]}:
            return f"member {member.reference!r} is in the ensemble twice; each answers once"
        if theirs.model.fingerprint != ours.model.fingerprint:
            return (
                f"member {member.reference!r} is for {theirs.model.id} "
                f"({theirs.model.fingerprint}), {first.reference!r} for {ours.model.id} "
                f"({ours.model.fingerprint}); prompts of one model answer together"
            )
        if theirs.task != ours.task:
            return (
                f"member {member.reference!r} is for task {theirs.task!r}, {first.reference!r} for "
                f"{ours.task!r}; prompts of one task answer together"
            )
        if apart := sorted(_tokens(theirs) ^ _tokens(ours)):
            return (
                f"members {first.reference!r} and {member.reference!r} differ in labels (and token "
                f"ids), such as {apart[:_TOLD_LABELS]}; train them with the same labels and words"
            )
        if _answers(theirs) != _answers(ours):
            return (
                f"member {member.reference!r} answers as {theirs.problem}, {first.reference!r} as "
                f"{ours.problem}, or with other levels or another word for none; prompts that "
                "answer alike answer together"
            )
    return None


def _tokens(card: PromptCard) -> set[tuple[str, int]]:
    return {(label.label, label.token_id) for label in card.labels}


def _answers(card: PromptCard) -> tuple[object, ...]:
    """What answers are besides labels: their kind, the levels' order, what they are held against.

    The order of labels that stand in none may differ.
    """
    levels = [label.label for label in card.labels] if card.problem == "ordered" else None
    return card.problem, levels, card.verbalizer.none_id


def _shared(
    members: Sequence[EnsembleMember],
) -> tuple[ModelRef, str, tuple[LabelToken, ...]]:
    card = members[0].card
    return card.model, card.task, card.labels


def _position(members: Sequence[EnsembleMember]) -> Literal["suffix", "prefix"]:
    follow = all(member.card.position == "suffix" for member in members)
    return "suffix" if follow else "prefix"


def _check_tensors(card: EnsembleCard, tensors: Mapping[str, TensorSpec]) -> None:
    expected = [f"{_TENSOR}{n}" for n in range(len(card.members))]
    if missing := [name for name in expected if name not in tensors]:
        raise InvalidPrompt(f"the ensemble's file lacks the tensor {missing[0]!r} of a member")
    if more := sorted(set(tensors) - set(expected)):
        raise InvalidPrompt(
            f"the ensemble's file holds an unknown tensor {shown(more[0], 80)}; allowed are "
            f"{expected[0]!r} to {expected[-1]!r}, one a member"
        )
    for name, spec in tensors.items():
        if spec.dtype != "F32":
            raise InvalidPrompt(f"tensor {name!r} has dtype {spec.dtype}, it must be F32")


__all__ = ["MOST_MEMBERS", "Ensemble", "EnsembleCard", "EnsembleMember", "Member"]
