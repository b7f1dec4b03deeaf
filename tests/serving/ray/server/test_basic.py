"""What one replica answers, through real Ray Serve: processes, HAProxy, sockets."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from isogloss.serving.ray.haproxy import haproxy_is_installed
from tests import hostile_folder
from tests.serving.ray.running import OTHER, ROOT, Running, replicas_of
from tests.serving.swapping import ADMIN, TWO

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


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


def test_a_second_server_on_the_port_is_refused_before_ray_starts(server: Running) -> None:
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.serving.fake_server", str(server.store.root), OTHER]
    second = subprocess.run([*command, port], cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in second.stderr
    assert "starting Ray" not in second.stderr


def test_nothing_was_imported_from_the_working_folder(server: Running, traps: Path) -> None:
    assert len(replicas_of(server, "isogloss")) == 2
    assert hostile_folder.imported(traps) == []
