"""What is published reaches every replica, and no answer is another prompt's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import soft_prompt
from tests.serving.ray.running import PATIENCE_S, Running, wait_until
from tests.serving.swapping import ADMIN, IN_FLIGHT, SWAPS, TEXTS, TWO, assert_attributed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_a_publish_by_another_process_reaches_every_replica(
    server: Running, client: httpx.Client
) -> None:
    state = server.store.publish({"romance": soft_prompt(7.0)})
    wait_until(lambda: generations(client) == {state.generation})
    answer = client.post("/v1/classify", json={"inputs": "fra_Latn: oui"}).json()
    assert answer["results"][0]["prompt"]["digest"] == soft_prompt(7.0).digest


@pytest.mark.parametrize("swaps", [40, pytest.param(SWAPS, marks=pytest.mark.soak)])
def test_swaps_under_16_requests_in_flight(
    server: Running, client: httpx.Client, swaps: int
) -> None:
    first = client.put("/v1/prompts/romance", content=TWO[0].to_bytes(), headers=ADMIN)
    assert first.status_code == 200, first.text
    finished = threading.Event()

    def call(number: int) -> list[str]:
        texts = TEXTS[: 1 + number % len(TEXTS)]
        seen = []
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as own:
            while not finished.is_set():
                answer = own.post("/v1/classify", json={"inputs": texts})
                assert answer.status_code == 200, answer.text
                seen.append(assert_attributed(answer.json(), texts))
        return seen

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        callers = [pool.submit(call, number) for number in range(IN_FLIGHT)]
        try:
            generations = [swap(client, number) for number in range(swaps)]
        finally:
            finished.set()
        seen = [digest for caller in callers for digest in caller.result()]
    begin = int(first.json()["generation"])
    assert generations == list(range(begin + 1, begin + 1 + swaps))
    assert set(seen) == {prompt.digest for prompt in TWO}
    wait_until(lambda: len(replicas_that_answered(client)) == 2)


def swap(client: httpx.Client, number: int) -> int:
    """Publish the other prompt; the very next answer is already its."""
    prompt = TWO[(number + 1) % 2]
    done = client.put("/v1/prompts/romance", content=prompt.to_bytes(), headers=ADMIN)
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = client.post("/v1/classify", json={"inputs": TEXTS[:1]}).json()
    assert answer["results"][0]["prompt"]["digest"] == prompt.digest
    return int(done.json()["generation"])


def replicas_that_answered(client: httpx.Client) -> set[str]:
    """Replicas of the first model that classified texts, by their own count."""
    return {
        sample.labels["replica"]
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "isogloss_prompt_texts_total" and sample.labels["model"] == "fake-bloom"
    }


def test_a_trial_is_one_for_all_replicas_and_ends_by_itself(
    server: Running, client: httpx.Client
) -> None:
    published = client.put("/v1/prompts/romance", content=TWO[0].to_bytes(), headers=ADMIN)
    assert published.status_code == 200, published.text
    begin = "/v1/prompts/romance?shadow=true"
    worse = soft_prompt(-9.0).to_bytes()
    begun = client.put(begin, content=worse, headers=ADMIN)
    assert begun.status_code == 200, begun.text

    def call(number: int) -> str:
        with httpx.Client(
            base_url=server.url, timeout=PATIENCE_S
        ) as own:  # a connection, a replica
            answer = own.post("/v1/classify", json={"inputs": TEXTS})
        assert answer.status_code == 200, answer.text
        assert {each["trial"]["side"] for each in answer.json()["results"]} == {"routed"}
        return assert_attributed(answer.json(), TEXTS)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(call, range(40))) == {TWO[0].digest}
    # A replica answers with its own numbers of now, and the other's of its last report: each must
    # have said so, for a trial is judged on reports.
    wait_until(lambda: texts_seen(server) == {40 * len(TEXTS)})
    assert trial_report(client)["agreement"] == 0.0
    limited = client.put(f"{begin}&min_agreement=0.5", content=worse, headers=ADMIN)
    assert limited.status_code == 200, limited.text
    wait_until(lambda: not client.get("/v1/trials").json()["trials"])
    state = server.store.state()
    assert state.note.startswith("ended by itself: agreement 0 < 0.5 on Romance after 280 texts")
    assert state.generation == limited.json()["generation"] + 1, "two replicas, one end"


def trial_report(client: httpx.Client) -> dict[str, Any]:
    """What all replicas counted on the one trial's one clade, as of their last reports."""
    (trial,) = client.get("/v1/trials").json()["trials"]
    report: dict[str, Any] = next(iter(trial["clades"]), {"texts": 0})
    return report


def texts_seen(server: Running) -> set[int]:
    """What the replicas count on the one trial's one clade, asked over several connections."""
    seen = set()
    for _ in range(8):
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
            seen.add(trial_report(client)["texts"])
    return seen


def generations(client: httpx.Client) -> set[int]:
    return {replica["generation"] for replica in client.get("/ready").json()["replicas"]}
