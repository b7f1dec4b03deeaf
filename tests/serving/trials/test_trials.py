"""Canary and shadow: who answers which text, under which prompt, and at what cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.serving.pipeline.caller import Caller, caller_of
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.planning import Plan, Share, tokens_of
from isogloss.serving.pipeline.scoring import (
    Scores,
    Unscorable,
    score_plans,
)
from isogloss.serving.registry.loaded import LoadedMember, LoadedPrompt, ServedPrompt
from isogloss.serving.registry.loader import PromptLoader
from isogloss.serving.registry.snapshot import build_snapshot
from isogloss.serving.schemas import ClassifyRequest, Result
from tests.fakes import (
    OVERFLOWING,
    FakeBackbone,
    FakeDetector,
    expected_scores,
    fake_settings,
    fake_store,
    is_rehearsal,
    route_table,
    soft_prompt,
)
from tests.some import some
from tests.training.tiny import prompt, tiny

ROUTED, CANDIDATE = soft_prompt(2.0, length=5), soft_prompt(-0.4, length=3)
TEXTS = [f"fra_Latn: texte numéro {n}" for n in range(200)]


class Server:
    """A classifier over the fake store, in which "romance" may be on trial."""

    def __init__(self, folder: Path, backbone: FakeBackbone | None = None) -> None:
        self.store = fake_store(folder / "store")
        self.backbone = backbone or FakeBackbone()

    def try_out(self, candidate: SoftPrompt = CANDIDATE, **plan: Any) -> None:
        self.store.begin_trial("romance", candidate, **{"kind": "canary", "share": 1.0, **plan})

    def start(self) -> Classifier:
        return build_classifier(
            fake_settings(self.store.root),
            backbone=lambda name, settings: self.backbone,
            detector=lambda name: FakeDetector(),
        )

    def ask(self, texts: Sequence[str], key: str = "", **fields: Any) -> list[Result]:
        async def answer() -> list[Result]:
            classifier = self.start()
            request = ClassifyRequest(inputs=list(texts), **fields)
            try:
                return (await classifier.classify(request, Caller(routing_key=key))).results
            finally:
                classifier.close()

        return asyncio.run(answer())


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def scores_of(result: Result) -> dict[str, float]:
    return {each.label: each.score for each in result.scores}


def assert_scored_by(result: Result, text: str, wanted: SoftPrompt) -> None:
    """The digest is that of the prompt whose scores these are."""
    assert result.prompt.digest == wanted.digest
    assert scores_of(result) == pytest.approx(expected_scores(text, wanted), abs=2e-6)


def side_of(result: Result) -> str | None:
    return result.trial.side if result.trial else None


def test_a_canary_answers_its_share_and_the_routed_prompt_the_rest(server: Server) -> None:
    server.try_out(share=0.3)
    results = server.ask(TEXTS)
    taken = [result for result in results if result.prompt.digest == CANDIDATE.digest]
    assert 40 <= len(taken) <= 80  # 60 expected, 6.5 a standard deviation
    for text, result in zip(TEXTS, results, strict=True):
        on_trial = result.trial is not None
        assert_scored_by(result, text, CANDIDATE if on_trial else ROUTED)
        assert side_of(result) == ("candidate" if on_trial else None)
    assert {(r.prompt.name, r.prompt.version) for r in taken} == {("romance", 2)}
    assert {(r.route.clade, r.route.reason) for r in taken} == {("Romance", "clade")}


def test_every_replica_splits_alike_and_a_larger_share_keeps_whom_it_had(
    server: Server, tmp_path: Path
) -> None:
    server.try_out(share=0.3)
    there = Server(tmp_path / "elsewhere")
    there.try_out(share=0.3)
    here = [result.prompt.digest for result in server.ask(TEXTS)]
    assert here == [result.prompt.digest for result in there.ask(TEXTS)]
    server.try_out(share=0.6)
    more = [result.prompt.digest for result in server.ask(TEXTS)]
    kept = [after for before, after in zip(here, more, strict=True) if before == CANDIDATE.digest]
    assert set(kept) == {CANDIDATE.digest}
    assert more.count(CANDIDATE.digest) > here.count(CANDIDATE.digest)


def test_a_routing_key_keeps_its_texts_on_one_side(server: Server) -> None:
    server.try_out(share=0.5)
    sides = {key: server.ask(TEXTS[:8], key) for key in ("ada", "ben", "cleo", "dora", "eli")}
    digests = {key: {each.prompt.digest for each in own} for key, own in sides.items()}
    assert all(len(own) == 1 for own in digests.values())
    assert set.union(*digests.values()) == {ROUTED.digest, CANDIDATE.digest}


def test_scores_are_those_of_the_named_version_asked_for_alone(server: Server) -> None:
    server.try_out(share=0.5)
    for text, result in zip(some(TEXTS[:20]), server.ask(TEXTS[:20]), strict=True):
        reference = f"{result.prompt.name}@{result.prompt.version}"
        (alone,) = server.ask([text], prompt=reference)
        assert (alone.prompt, alone.trial) == (result.prompt, None)
        assert scores_of(alone) == pytest.approx(scores_of(result), abs=1e-6)


def test_a_shadow_changes_no_answer(server: Server) -> None:
    before = server.ask(TEXTS[:40])
    server.try_out(kind="shadow")
    after = server.ask(TEXTS[:40])
    assert {side_of(result) for result in after} == {"routed"}
    for one, other in zip(before, after, strict=True):
        assert other.model_copy(update={"scores": one.scores, "trial": None}) == one
        assert scores_of(other) == pytest.approx(scores_of(one), abs=1e-6)


def test_the_candidate_is_scored_unscaled_as_after_its_promotion(server: Server) -> None:
    table = route_table("everywhere", {"Romance": "romance"}, temperatures={"Romance": 3.0})
    server.store.publish({}, [table])
    server.try_out()
    (on_trial,) = server.ask(TEXTS[:1])
    assert_scored_by(on_trial, TEXTS[0], CANDIDATE)
    server.store.promote("romance")
    (promoted,) = server.ask(TEXTS[:1])
    assert promoted.trial is None
    assert scores_of(promoted) == scores_of(on_trial)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("swh_Latn: another clade", {}),
        ("eng_Latn: no clade's route", {}),
        ("fra_Latn: a request that names a prompt", {"prompt": "romance"}),
        ("fra_Latn 0.6 swh_Latn 0.4: several prompts answer", {}),
    ],
)
def test_not_on_trial(server: Server, text: str, fields: dict[str, str]) -> None:
    before = server.ask([text], **fields)
    server.try_out()
    assert server.ask([text], **fields) == before
    server.try_out(kind="shadow")
    assert server.ask([text], **fields) == before


def test_texts_that_no_clade_takes_are_the_universal_route_s(server: Server) -> None:
    server.store.begin_trial("everywhere", CANDIDATE, kind="canary", share=1.0)
    (universal, clade) = server.ask(["eng_Latn: anything", "fra_Latn: tout"])
    assert_scored_by(universal, "eng_Latn: anything", CANDIDATE)
    assert_scored_by(clade, "fra_Latn: tout", ROUTED)


def test_a_named_language_s_route_is_on_trial_too(server: Server) -> None:
    server.try_out()
    (result,) = server.ask(["no code before it"], language="spa_Latn")
    assert (result.prompt.digest, side_of(result)) == (CANDIDATE.digest, "candidate")


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_an_overflowing_candidate_leaves_the_answer_to_the_routed_prompt(
    server: Server, kind: str
) -> None:
    server.try_out(soft_prompt(OVERFLOWING, length=1), kind=kind)
    for text, result in zip(some(TEXTS[:5]), server.ask(TEXTS[:5]), strict=True):
        assert_scored_by(result, text, ROUTED)
        assert side_of(result) == "routed"


class Broken(FakeBackbone):
    """Fails on every batch that holds the candidate; while it is tried, too, where `at_once`."""

    def __init__(self, error: Exception, *, at_once: bool = False) -> None:
        super().__init__()
        self.error = error
        self.at_once = at_once

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        states = super().read_suffixed(texts, prompts)
        if is_rehearsal(texts) and not self.at_once:
            return states
        if any(float(each.sum()) == pytest.approx(-0.4) for own in prompts for each in own):
            raise self.error
        return states


@pytest.mark.parametrize("kind", ["canary", "shadow"])
@pytest.mark.parametrize("error", [RuntimeError("no kernel"), MemoryError()])
def test_a_candidate_that_breaks_the_model_costs_no_answer(
    tmp_path: Path, kind: str, error: Exception
) -> None:
    server = Server(tmp_path, Broken(error))
    server.try_out(kind=kind)
    texts = [*TEXTS[:30], "swh_Latn: a neighbour"]
    *romance, neighbour = server.ask(texts)
    for text, result in zip(texts, romance, strict=False):
        assert_scored_by(result, text, ROUTED)
    assert_scored_by(neighbour, texts[-1], soft_prompt(3.0))


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), MemoryError()])
def test_a_broken_candidate_keeps_no_replica_from_starting(
    tmp_path: Path, error: Exception
) -> None:
    server = Server(tmp_path, Broken(error))
    server.try_out()
    server.store.begin_trial("congo", soft_prompt(7.0), kind="shadow", share=1.0)
    classifier = server.start()
    classifier.warm_up()
    classifier.close()
    assert sorted(server.backbone.pairs) == [[1], [1, 1, 1], [2], [2]]


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), MemoryError()])
def test_a_candidate_that_the_model_fails_on_is_not_tried_on_anybodys_text(
    tmp_path: Path, error: Exception
) -> None:
    server = Server(tmp_path, Broken(error, at_once=True))
    server.try_out()
    server.store.begin_trial("congo", soft_prompt(7.0), kind="shadow", share=1.0)
    classifier = server.start()
    classifier.warm_up()
    classifier.close()
    assert sorted(server.backbone.pairs) == [[1, 1, 1], [2]]
    assert list(classifier.registry.current.trial_problems) == ["romance@2"]


def test_where_the_routed_prompt_fails_a_canary_answers_and_a_shadow_cannot(
    server: Server,
) -> None:
    server.store.publish({"romance": soft_prompt(OVERFLOWING, length=1)})
    server.try_out()
    (result,) = server.ask(TEXTS[:1])
    assert_scored_by(result, TEXTS[0], CANDIDATE)
    server.try_out(kind="shadow")
    with pytest.raises(Unscorable, match="romance@2 makes the model's numbers overflow"):
        server.ask(TEXTS[:1])


def test_a_candidate_that_cannot_be_read_refuses_no_generation(server: Server) -> None:
    server.try_out()
    state = server.store.state()
    digest = state.resolve("romance@2")[2].removeprefix("sha256:")
    (server.store.root / "objects" / f"{digest}.safetensors").unlink()
    snapshot = build_snapshot(state, PromptLoader(server.store, server.backbone))
    assert (snapshot.generation, snapshot.trials) == (state.generation, {})
    assert list(snapshot.trial_problems) == ["romance@2"]
    (result,) = server.ask(TEXTS[:1])
    assert_scored_by(result, TEXTS[0], ROUTED)


def test_what_cannot_be_compared_is_left_out(server: Server) -> None:
    """The store does not let it on trial; one that another release let in answers nothing."""
    server.store.publish({"elsewhere": soft_prompt(9.0, labels=("a", "b"))})
    server.try_out()
    state = server.store.state()
    trial = state.trials[0].model_copy(update={"candidate": "elsewhere@1"})
    snapshot = build_snapshot(
        state.model_copy(update={"trials": (trial,)}),
        PromptLoader(server.store, server.backbone),
    )
    assert snapshot.trials == {}
    assert "cannot be compared" in snapshot.trial_problems["elsewhere@1"]


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_a_candidate_may_stand_before_the_text(server: Server, kind: str) -> None:
    """It takes a pass of its own over the texts of the trial."""
    before = soft_prompt(9.0, position="prefix")
    server.try_out(before, kind=kind, share=1.0)
    (result,) = server.ask(TEXTS[:1])
    assert_scored_by(result, TEXTS[0], before if kind == "canary" else ROUTED)
    assert side_of(result) == ("candidate" if kind == "canary" else "routed")


def test_both_prompts_cost_one_read_and_their_tokens(server: Server) -> None:
    server.try_out(share=1.0)
    server.ask(TEXTS[:3])
    assert server.backbone.pairs == [[2, 2, 2]]
    state = server.store.state()
    snapshot = build_snapshot(state, PromptLoader(server.store, server.backbone))
    routed, candidate = snapshot.find("romance"), snapshot.find("romance@2")
    alone = Plan((1,) * 7, (Share(routed),))
    both = Plan((1,) * 7, (Share(routed), Share(candidate, role="candidate")))
    assert (tokens_of((alone,)), tokens_of((both,))) == (12, 15)


def test_without_a_trial_nothing_is_read_twice(server: Server) -> None:
    server.ask(TEXTS[:3])
    assert server.backbone.pairs == [[1, 1, 1]]


class Counting:
    """A real model that counts its passes."""

    def __init__(self) -> None:
        self.model = tiny("bloom")
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def read_suffixed(self, *args: Any) -> Tensor:
        self.reads += 1
        return self.model.read_suffixed(*args)


def served(own: SoftPrompt, model: Any) -> ServedPrompt:
    tokens = [label.token_id for label in own.card.labels]
    names = tuple(label.label for label in own.card.labels)
    loaded = LoadedPrompt(own.card, (LoadedMember(own.vectors),), model.label_rows(tokens), names)
    return ServedPrompt("some", 1, own.digest, loaded)


def test_a_real_model_compares_in_one_read_what_it_says_alone() -> None:
    model: Any = Counting()
    one, other = (served(prompt(model.model, seed, length=4), model) for seed in (1, 2))
    words = [tuple(t.ids) for t in model.tokenizer.encode(["soup", "a storm and a violin"], 60)]
    together = score_plans(
        model, [Plan(ids, (Share(one, 1.5), Share(other, role="candidate"))) for ids in words]
    )
    assert model.reads == 1
    for ids, both in zip(words, together, strict=True):
        first, second = (
            score_plans(model, [Plan(ids, (part,))])[0] for part in (Share(one, 1.5), Share(other))
        )
        assert isinstance(both, Scores)
        assert isinstance(first, Scores)
        assert isinstance(second, Scores)
        assert both.routed == pytest.approx(first.routed, abs=1e-6)
        assert both.candidate == pytest.approx(second.routed, abs=1e-6)


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a\tb", "é", "a\x7f"])
def test_a_routing_key_is_printable_and_short(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"x-routing-key: .* is no key; send 1 to 128 printable"):
        _caller({"x-routing-key": given})


def test_a_routing_key_is_the_caller_s() -> None:
    assert _caller({"x-routing-key": "user 7/e"}).routing_key == "user 7/e"
    assert _caller({}).routing_key == ""


def _caller(headers: dict[str, str]) -> Caller:
    return caller_of(headers, "", request_id="", timeout_s=1, forwarded_hops=0)
