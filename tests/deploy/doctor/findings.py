"""What the tests of `isogloss doctor` share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from isogloss.deploy.doctor.finding import Asked, Finding
from isogloss.serving.config import ServingSettings


def asked(**settings: Any) -> Asked:
    return Asked(ServingSettings.model_validate(settings))


def only(findings: Finding | Iterable[Finding], level: str, said: str) -> Finding:
    """The one finding, which says so."""
    (found,) = [findings] if isinstance(findings, Finding) else list(findings)
    assert (found.level, said in found.said) == (level, True), found
    assert bool(found.remedy) == (level != "ok"), found
    return found
