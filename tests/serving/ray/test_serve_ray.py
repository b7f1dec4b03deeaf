"""The same through real Ray Serve: processes, HAProxy, sockets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from isogloss.serving.ray.haproxy import haproxy_is_installed
from isogloss.serving.ray.ports import check_port
from isogloss.serving.registry.replicas import REPORT_EXPIRES_S
from tests import hostile_folder
from tests.fakes import fake_store, route_table, soft_prompt
from tests.serving.registry.test_swap import ADMIN, IN_FLIGHT, SWAPS, TEXTS, TWO, assert_attributed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

OTHER = "fake-xglm"
ROOT = Path(__file__).parents[3]
PATIENCE_S = 180
"""For what takes a moment on an idle machine."""


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str
    store: PromptStore
    traps: Path
    """Where a module of the working folder says that it was imported."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two replicas of two models, in processes of their own; the first holds the HTTP routes.

    It is started where a shell may be: in a folder with modules of everybody's names, with a
    TMPDIR that is too long for sockets, and with an address of Ray that is set to nothing.
    """
    store = fake_store(tmp_path_factory.mktemp("ray") / "store")
    there = soft_prompt(4.0, model=OTHER)
    store.publish({"elsewhere": there}, [route_table("elsewhere", model=OTHER)])
    folder = tmp_path_factory.mktemp("folder")
    traps = hostile_folder.fill(folder)
    command = [sys.executable, "-P", "-m", "tests.serving.fake_server", str(store.root), OTHER]
    environment = {**os.environ, "ISOGLOSS_ADMIN_TOKEN": "token", "PYTHONPATH": str(ROOT)}
    environment |= {"RAY_ADDRESS": "", "TMPDIR": str(folder / ("long" * 20))}
    (folder / ("long" * 20)).mkdir()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Running(process, wait_for_url(process), store, traps)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def wait_for_url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"ready after \d+ s: (http://\S+)", line):
            return found.group(1)
    pytest.fail(f"the server did not start: {''.join(said)}")


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client


def test_settings_of_a_configuration_file_are_validated() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
        from isogloss.serving.ray.app import application
    built = application({"models": ["pocket-bloom", "pocket-xglm"], "device": "cpu"})
    assert type(built).__name__ == "Application"
    with pytest.raises(ValidationError, match="modles"):
        application({"modles": ["pocket-bloom"]})


def test_both_models_answer(client: httpx.Client) -> None:
    for model, prompt in (("fake-bloom", "romance"), (OTHER, "elsewhere")):
        answer = client.post("/v1/classify", json={"inputs": "fra_Latn: oui", "model": model})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == model
        assert answer.json()["results"][0]["prompt"]["name"] == prompt
    models = client.get("/v1/models").json()
    assert [model["name"] for model in models["models"]] == ["fake-bloom", OTHER]
    listed = client.get("/v1/prompts").json()["prompts"]
    assert {"romance", "elsewhere"} < {each["name"] for each in listed}


def test_errors_keep_their_shape_through_every_process(client: httpx.Client) -> None:
    bad: list[tuple[bytes, int, str]] = [
        (b"{", 400, "validation"),
        (b'{"inputs": " "}', 422, "validation"),
        (b'{"inputs": "a", "prompt": "nobody"}', 404, "not_found"),
        (b'{"inputs": "a", "model": "fake-xglm", "prompt": "nobody"}', 404, "not_found"),
        (b'{"inputs": "a", "model": "gpt"}', 404, "not_found"),
        (b'{"inputs": "' + b"a" * 1_000_000 + b'"}', 413, "too_large"),
        (b" " * (20 << 20), 413, "too_large"),
    ]
    for body, status, error_type in bad:
        answer = client.post("/v1/classify", content=body)
        assert (answer.status_code, answer.json()["error_type"]) == (status, error_type)
        assert set(answer.json()) == {"error", "error_type"}
    assert client.get("/nowhere").json()["error_type"] == "not_found"
    refused = client.put("/v1/prompts/romance", content=TWO[0].to_bytes())
    assert (refused.status_code, refused.json()["error_type"]) == (401, "unauthorized")
    cut = client.put("/v1/prompts/romance", content=TWO[0].to_bytes()[:-1], headers=ADMIN)
    assert (cut.status_code, cut.json()["error_type"]) == (422, "validation")


def test_an_answer_bears_one_request_id(client: httpx.Client) -> None:
    if not haproxy_is_installed():
        pytest.skip("Ray's own proxy adds its id where no replica can take it away")
    given = client.get("/health", headers={"x-request-id": "mine"})
    assert given.headers.get_list("x-request-id") == ["mine"]
    (made,) = client.get("/health").headers.get_list("x-request-id")
    assert made
    (instead,) = client.get("/health", headers={"x-request-id": "no id!"}).headers.get_list(
        "x-request-id"
    )
    assert re.fullmatch("[0-9a-f-]{32,36}", instead)  # ours, or Ray's where we let none through


def test_metrics_and_readiness_speak_for_all_replicas(client: httpx.Client) -> None:
    ready = client.get("/ready").json()
    models = sorted(replica["model"] for replica in ready["replicas"])
    assert models == ["fake-bloom", "fake-bloom", OTHER, OTHER]
    page = client.get("/metrics").text
    for model in ("fake-bloom", OTHER):
        assert f'isogloss_generation{{model="{model}"' in page


def test_a_publish_by_another_process_reaches_every_replica(
    server: Running, client: httpx.Client
) -> None:
    state = server.store.publish({"romance": soft_prompt(7.0)})
    wait_until(lambda: generations(client) == {state.generation})
    answer = client.post("/v1/classify", json={"inputs": "fra_Latn: oui"}).json()
    assert answer["results"][0]["prompt"]["digest"] == soft_prompt(7.0).digest


def test_200_swaps_under_16_requests_in_flight(server: Running, client: httpx.Client) -> None:
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
            generations = [swap(client, number) for number in range(SWAPS)]
        finally:
            finished.set()
        seen = [digest for caller in callers for digest in caller.result()]
    begin = int(first.json()["generation"])
    assert generations == list(range(begin + 1, begin + 1 + SWAPS))
    assert set(seen) == {prompt.digest for prompt in TWO}
    wait_until(lambda: len(replicas_that_answered(client)) == 2)


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
    # Both replicas' numbers are there once each has reported.
    wait_until(lambda: trial_report(client)["texts"] == 40 * len(TEXTS))
    assert trial_report(client)["agreement"] == 0.0
    limited = client.put(f"{begin}&min_agreement=0.5", content=worse, headers=ADMIN)
    assert limited.status_code == 200, limited.text
    wait_until(lambda: not client.get("/v1/trials").json()["trials"])
    state = server.store.state()
    assert state.note.startswith("ended by itself: agreement 0 < 0.5 on Romance after 280 texts")
    assert state.generation == limited.json()["generation"] + 1, "two replicas, one end"


def wait_until(true: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def generations(client: httpx.Client) -> set[int]:
    return {replica["generation"] for replica in client.get("/ready").json()["replicas"]}


def trial_report(client: httpx.Client) -> dict[str, Any]:
    """What all replicas counted on the one trial's one clade, as of their last reports."""
    (trial,) = client.get("/v1/trials").json()["trials"]
    report: dict[str, Any] = next(iter(trial["clades"]), {"texts": 0})
    return report


def replicas_that_answered(client: httpx.Client) -> set[str]:
    """Replicas of the first model that classified texts, by their own count."""
    return {
        sample.labels["replica"]
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "isogloss_prompt_texts_total" and sample.labels["model"] == "fake-bloom"
    }


def swap(client: httpx.Client, number: int) -> int:
    """Publish the other prompt; the very next answer is already its."""
    prompt = TWO[(number + 1) % 2]
    done = client.put("/v1/prompts/romance", content=prompt.to_bytes(), headers=ADMIN)
    assert done.status_code == 200, done.text
    answer: dict[str, Any] = client.post("/v1/classify", json={"inputs": TEXTS[:1]}).json()
    assert answer["results"][0]["prompt"]["digest"] == prompt.digest
    return int(done.json()["generation"])


def test_killed_replicas_take_no_request_with_them(server: Running, client: httpx.Client) -> None:
    if not haproxy_is_installed():
        pytest.skip("what asks again is HAProxy, which is not installed")
    newest = server.store.latest()
    finished = threading.Event()
    asked = [0] * IN_FLIGHT

    def call(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as own:
            while not finished.is_set():
                model = OTHER if number % 2 else None
                answer = own.post("/v1/classify", json={"inputs": TEXTS, "model": model})
                assert answer.status_code == 200, answer.text
                asked[number] += 1

    def everybody_is_answered_again() -> None:
        before = list(asked)
        wait_until(
            lambda: (
                all(now > then for now, then in zip(asked, before, strict=True))
                or any(caller.done() for caller in callers)
            )
        )

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        callers = [pool.submit(call, number) for number in range(IN_FLIGHT)]
        try:
            for deployment in ("isogloss", f"isogloss-{OTHER}"):
                everybody_is_answered_again()
                victim = replicas_of(server, deployment)[0]
                os.kill(victim.pid, signal.SIGKILL)
                wait_for_two(server, deployment, victim.pid, client)
                everybody_is_answered_again()
        finally:
            finished.set()
        for caller in callers:
            caller.result()
    assert generations(client) == {newest}


def test_a_store_restored_from_a_backup_is_what_every_process_serves(
    server: Running, client: httpx.Client, tmp_path: Path
) -> None:
    backup = shutil.copytree(server.store.root, tmp_path / "backup")
    lost = client.put("/v1/prompts/romance", content=soft_prompt(51.0).to_bytes(), headers=ADMIN)
    shutil.rmtree(server.store.root)
    shutil.copytree(backup, server.store.root)
    done = client.put("/v1/prompts/romance", content=soft_prompt(52.0).to_bytes(), headers=ADMIN)
    assert done.status_code == 200, done.text
    assert done.json()["generation"] == lost.json()["generation"]
    assert done.json()["generation_digest"] != lost.json()["generation_digest"]
    answer = client.post("/v1/classify", json={"inputs": TEXTS}).json()
    assert {each["prompt"]["digest"] for each in answer["results"]} == {soft_prompt(52.0).digest}
    wait_until_served(client, server.store.state().identity, problem=False)
    if haproxy_is_installed():  # it gives requests an id where nobody did: tried again, done once
        assert server.store.state().records[-1].generation == done.json()["generation"]


def test_a_replica_starts_though_the_newest_generation_is_damaged(
    server: Running, client: httpx.Client
) -> None:
    before = server.store.state()
    newest = server.store.publish({"romance": soft_prompt(53.0)})
    wait_until_served(client, newest.identity, problem=False)
    path = server.store.root / "generations" / f"{newest.generation:08d}.json"
    path.write_bytes(b"rot")
    for deployment in ("isogloss", f"isogloss-{OTHER}"):
        for victim in replicas_of(server, deployment):
            os.kill(victim.pid, signal.SIGKILL)
            wait_for_two(server, deployment, victim.pid, client)
    wait_until_served(client, before.identity, problem=True)
    answer = client.post("/v1/classify", json={"inputs": TEXTS}).json()
    assert answer["generation"] == before.generation
    assert verify(server.store, repair=True).whole
    wait_until_served(client, server.store.state().identity, problem=False)


def wait_until_served(client: httpx.Client, generation: GenerationId, *, problem: bool) -> None:
    """Until all four replicas serve a generation, each with a problem or none."""
    give_up_s = time.monotonic() + 60
    while True:
        replicas = client.get("/ready").json()["replicas"]
        served = [(each["generation"], each["generation_digest"]) for each in replicas]
        problems = [each["problem"] is not None for each in replicas]
        if served == [generation] * 4 and problems == [problem] * 4:
            return
        assert time.monotonic() < give_up_s, replicas
        time.sleep(0.05)


def replicas_of(server: Running, deployment: str) -> list[psutil.Process]:
    """The replicas of one deployment of this server, and of no other on this machine.

    While one runs a task, its title ends in the task's name.
    """
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            title, _, _task = " ".join(process.cmdline()).strip().partition(".")
            if title == f"ray::ServeReplica:isogloss:{deployment}":
                found.append(process)
    return found


def wait_for_two(server: Running, deployment: str, dead: int, client: httpx.Client) -> None:
    """Until another replica is there instead of a dead one, and ready."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        alive = {each.pid for each in replicas_of(server, deployment)} - {dead}
        time.sleep(REPORT_EXPIRES_S / 4)
        if len(alive) == 2 and len(client.get("/ready").json()["replicas"]) == 4:
            return
        assert time.monotonic() < give_up_s, "no new replica came"


def test_a_second_server_on_the_port_is_refused_before_ray_starts(server: Running) -> None:
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.serving.fake_server", str(server.store.root), OTHER]
    second = subprocess.run([*command, port], cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in second.stderr
    assert "starting Ray" not in second.stderr


def test_nothing_was_imported_from_the_working_folder(server: Running) -> None:
    assert len(replicas_of(server, "isogloss")) == 2
    assert hostile_folder.imported(server.traps) == []


def test_ctrl_c_stops_it_cleanly_and_frees_the_port(server: Running) -> None:
    """The last test: the fixture's server is gone afterwards."""
    server.process.send_signal(signal.SIGINT)
    _, said = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 0
    assert said.splitlines()[-1] == "stopping ..."
    port = int(server.url.rpartition(":")[2])
    assert check_port("127.0.0.1", port) == port
