"""Stores on a real S3 server: what `test_remote_store` shows in memory holds over HTTP too."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isogloss.prompts.errors import StoreError
from isogloss.prompts.store.collect import collect, free_deleted
from isogloss.prompts.store.generations import Follower
from isogloss.prompts.store.remote import RemoteFolder
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.prompts import s3_server, samples
from tests.prompts.store_processes import run_processes

ONE, TWO = samples.prompt(1), samples.prompt(2)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("s3fs", reason="needs pip install -e '.[dev]'")
    pytest.importorskip("moto", reason="needs pip install -e '.[dev]'")
    with s3_server.running(tmp_path_factory.mktemp("s3") / "log") as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ISOGLOSS_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.BUCKET}"


@pytest.mark.timeout(300)
def test_a_store_on_s3(bucket: str, calls: list[str], caplog: pytest.LogCaptureFixture) -> None:
    store = PromptStore.open(f"{bucket}/team", create=True)
    with caplog.at_level(logging.WARNING, logger="prompts"):
        store.publish({"p": ONE}, [samples.table("p")])
    assert caplog.text == ""  # the server does refuse to overwrite
    state = store.publish({"p": TWO})
    other = PromptStore.open(Path(f"{bucket}/team"))
    assert other.state() == state
    assert other.read(ONE.digest).digest == ONE.digest
    now_s = 0.0
    reader = Follower(other.generations, clock=lambda: now_s)
    reader.poll()
    calls.clear()
    assert reader.poll().newest == state.identity
    assert len(calls) == 1
    other.publish({"extra": samples.prompt(3)})
    assert other.delete("extra").generation == 4
    assert free_deleted(other) == (samples.prompt(3).digest,)
    assert collect(other, keep=1, now_s=time.time() + 7200).generations == (1, 2, 3)
    assert verify(store).whole
    now_s += RemoteFolder.patience_s
    assert reader.poll().newest == store.state().identity
    assert reader.poll().newest.number == 4
    restored = state.model_copy(update={"generation": 4})  # the number again, other content
    store.generations.replace(restored)
    now_s += RemoteFolder.patience_s
    assert reader.poll().newest == store.state().identity
    assert other.state().resolve("p")[2] == TWO.digest


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    store = PromptStore.open(f"{bucket}-not/team", create=True)
    with pytest.raises(StoreError, match=r"s3://prompts-not/team.*bucket.*credentials"):
        store.publish({"p": ONE})


@pytest.mark.timeout(300)
def test_publishers_of_a_store_on_s3_each_land_exactly_once(bucket: str, tmp_path: Path) -> None:
    assert run_processes("race", tmp_path, f"{bucket}/race", "2", timeout_s=280) == 9


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_publishers_of_a_store_on_s3_each_land_exactly_once(
    bucket: str, tmp_path: Path
) -> None:
    given = (f"{bucket}/long-race", "15")
    assert run_processes("race", tmp_path, *given, timeout_s=800) == 61
