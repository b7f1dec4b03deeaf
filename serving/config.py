"""Every setting of the server, parsed once at the edge and frozen."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.store.filesystems import address_of
from isogloss.prompts.store.seed import default_store_path

ADMIN_TOKEN_VARIABLE = "ISOGLOSS_ADMIN_TOKEN"
API_KEYS_VARIABLE = "ISOGLOSS_API_KEYS"
DEFAULT_MODEL = "pocket-bloom"
DEFAULT_TASK = "topic"

LogFormat = Literal["json", "text"]
Logged = Literal["none", "failed", "all"]

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@,*\s]+")


class ServingSettings(BaseModel):
    """What one server does; `deploy/serve.yaml` and the command line both fill this in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(default=(DEFAULT_MODEL,), min_length=1)
    """Hub ids, folders or pocket names. The first answers requests that name no model."""
    store: Path | None = None
    """Folder or address (s3://bucket/prefix) of the prompt store; None is the user's own, seeded
    with the shipped prompts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    """Of the linear layers; auto is bfloat16 on GPUs and processors that gain from it."""
    detector: str = "isogloss"
    mixture_threshold: float = Field(default=0.9, ge=0, le=1)
    """The posterior that one prompt's languages must hold for it to answer a text alone; below,
    the likeliest prompts' scores are mixed. 0: never; 1: whenever a second prompt is possible."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 asks the system for a free port."""
    replicas: int | None = Field(default=None, ge=1)
    """Replicas of each model; None is one for each GPU, or one where there is none."""
    max_replicas: int | None = Field(default=None, ge=1)
    """Replicas of each model that may come while there is much to do, of at least `replicas` (None:
    1) that are always there; None: none come and none go."""
    target_queue_tokens: int = Field(default=8192, ge=1)
    """Tokens that should wait at each replica, or be worked on: while there are more, further ones
    come, up to `max_replicas`. Well below `max_queue_tokens`, where requests are refused."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of one replica's matrix products on CPU; None is every core, shared evenly."""

    budget_tokens: int | None = Field(default=None, ge=1)
    """Tokens (text and prompt) of one batch; a longer text makes a batch of its own. None is auto:
    the smallest batch that this machine runs at full speed, measured when a replica starts."""
    batch_goal_s: float = Field(default=2.0, gt=0)
    """How long one measured batch may take: whoever comes waits for the one under way."""
    calibration_s: float = Field(default=2.0, ge=0)
    """How long the first start may measure what batches cost; later ones remember. 0: never, and a
    batch has 4096 tokens."""
    deadline_s: float = Field(default=0.003, ge=0)
    """How long a batch may wait, at most, for texts that are known to be on their way."""
    max_queue_tokens: int = Field(default=65_536, ge=1)
    """Tokens of all requests that are let in at a time, shared by `pipeline.admission`; others are
    refused with 429."""
    max_queue_items: int = Field(default=4096, ge=1)
    """Texts of all requests that are let in at a time."""

    budget_chars: int = Field(default=16_384, ge=1)
    """Characters that are detected and tokenized at a time."""
    max_queue_chars: int = Field(default=1 << 20, ge=1)
    """Characters that may wait for that before requests are refused with 429."""

    request_timeout_s: float = Field(default=100.0, gt=0)
    """How long a request may take that does not say so in `x-request-timeout-ms`."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """How long a client may take to send a body."""
    forwarded_hops: int = Field(default=1, ge=0)
    """Trusted proxies that add the address they were called from to `x-forwarded-for`; 0: the
    header is not read. Requests without a key are told apart by that address."""
    api_keys_file: Path | None = None
    """File of API keys, one `name key` a line, read again when it changes; with it, or with keys in
    ISOGLOSS_API_KEYS, whoever asks must send one."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask from a browser, such as https://app.example; *: all."""
    store_timeout_s: float = Field(default=10.0, gt=0)
    """How long a request waits for the prompt store, and no longer than for its answer: an older
    version of a prompt, a card or a file. What serves is in memory."""
    drain_timeout_s: float = Field(default=8.0, ge=0)
    """How long a replica that stops works on what it has let in."""

    log_format: LogFormat = "json"
    log_requests: Logged = "failed"
    """Which requests get a log line; failed are those answered with a status of 500 or more."""
    log_texts: bool = False
    """Whether texts, and error messages that may quote them, are logged."""
    traces: bool | None = None
    """Whether requests leave OpenTelemetry traces (extra `otel`); None is where
    OTEL_EXPORTER_OTLP_ENDPOINT, or its TRACES variant, is set."""

    max_inputs: int = Field(default=256, ge=1)
    max_text_chars: int = Field(default=100_000, ge=1)
    max_body_bytes: int = Field(default=8 << 20, ge=1)
    max_prompt_bytes: int = Field(default=64 << 20, ge=1)

    poll_interval_s: float | None = Field(default=None, gt=0)
    """How often a replica asks the store whether there is a newer generation; None is ten times a
    second, or every second where the store is at an address, which may charge for being asked."""
    swap_timeout_s: float = Field(default=10.0, gt=0)
    """How long an admin request waits for every replica to serve its generation."""

    @field_validator("max_replicas")
    @classmethod
    def _no_fewer(cls, most: int | None, info: ValidationInfo) -> int | None:
        if most is not None and most < (fewest := info.data.get("replicas") or 1):
            raise ValueError(f"fewer than replicas, {fewest}; give at least as many")
        return most

    @field_validator("models")
    @classmethod
    def _named_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in models if models.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice; name each model once")
        return models

    @field_validator("store")
    @classmethod
    def _at_home(cls, store: Path | None) -> Path | None:
        return None if store is None else expanded(store, "store")

    @field_validator("api_keys_file")
    @classmethod
    def _from_the_root(cls, file: Path | None) -> Path | None:
        """Replicas have other working folders."""
        return None if file is None else expanded(file, "api_keys_file").absolute()

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin[:80]!r} is no origin; write * for all, or it as browsers send it: "
                    "scheme, host and port in small letters, such as https://app.example"
                )
        return origins

    @property
    def store_poll_s(self) -> float:
        """How often a replica asks the store for news."""
        if self.poll_interval_s is not None:
            return self.poll_interval_s
        return 1.0 if address_of(self.store or default_store_path()) else 0.1

    @property
    def default_model(self) -> str:
        """The model that answers requests naming none."""
        return self.models[0]


def admin_token() -> SecretStr | None:
    """The token that admin requests must carry; None switches the admin routes off.

    Read from the environment of the process that checks it, so that it never travels through a
    configuration file, an argument list or another process's memory.
    """
    token = os.environ.get(ADMIN_TOKEN_VARIABLE, "").strip()
    return SecretStr(token) if token else None
