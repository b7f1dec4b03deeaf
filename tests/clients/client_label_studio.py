"""Label Studio itself asks a server of ours, with its own models and without its database."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

label_studio = pytest.importorskip("label_studio")

TRAVEL = "The tourists booked a hotel by the beach and visited the old town."
SPORTS = "L'équipe a gagné le match de football en finale du championnat."
CONFIG = """
<View>
  <Text name="message" value="$text"/>
  <Choices name="topic" toName="message">
    <Choice value="Travel"/><Choice value="Sports"/><Choice value="Health"/>
  </Choices>
</View>
"""


@pytest.fixture(scope="module", autouse=True)
def _django(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Label Studio's settings, with its data in a temporary folder and nobody told of errors."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
        "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path_factory.mktemp("label-studio")),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "ML_BLOCK_LOCAL_IP": "false",
    }
    sys.path.insert(0, str(Path(label_studio.__file__).parent))
    pytest.importorskip("django").setup()


def backend(url: str, config: str = CONFIG) -> Any:
    """A connected model, as a project has it."""
    user = import_module("users.models").User(id=1)
    import_module("rest_framework.authtoken.models").Token(key="theirs", user=user)
    about = {"id": 3, "created_at": datetime(2026, 1, 1, tzinfo=UTC), "label_config": config}
    project = import_module("projects.models").Project(**about, created_by=user)
    return import_module("ml.models").MLBackend(url=f"{url}/label-studio", project=project)


def task(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "project": 3, "data": {"text": text}, "annotations": []}


def test_a_project_connects(url: str) -> None:
    model = backend(url)
    assert not model.healthcheck().is_error
    answered = model.setup()
    assert not answered.is_error, answered.error_message
    version = answered.response["model_version"]
    assert version.startswith("pocket-bloom generation ")
    assert model.get_versions().response == {"versions": [version]}


def test_predictions_are_those_that_a_project_takes(url: str) -> None:
    tasks = [task(1, TRAVEL), task(2, ""), task(3, SPORTS)]
    first, last = backend(url)._get_predictions_from_ml_backend(tasks)
    chosen = [each["result"][0]["value"]["choices"] for each in (first, last)]
    assert ([first["task"], last["task"]], chosen) == ([1, 3], [["Travel"], ["Sports"]])
    assert 0.3 < first["score"] <= 1
    assert first["model_version"].startswith("pocket-bloom generation ")
    labelling = import_module("label_studio_sdk.label_interface").LabelInterface(CONFIG)
    assert labelling.validate_prediction(first, return_errors=True) == []


def test_what_is_not_answered_is_an_error_there(url: str) -> None:
    model = backend(url, CONFIG.replace("Health", "Cats"))
    assert model.setup().status_code == 422
    assert backend(url).api._request("webhook", {"action": "START_TRAINING"}).is_error
