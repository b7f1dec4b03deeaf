"""`serve.yaml` is what Ray Serve and our settings accept."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from isogloss.prompts.model.names import POCKET
from isogloss.serving.config import ServingSettings

pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments:DeprecationWarning")
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def serve_config() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "serve.yaml").read_text(encoding="utf-8")))


def test_ray_serve_accepts_it(serve_config: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    parsed = ServeDeploySchema.model_validate(serve_config)
    (application,) = parsed.applications
    assert application.import_path == "isogloss.serving.ray.app:application"
    assert application.route_prefix == "/"


def test_its_arguments_are_our_settings(serve_config: dict[str, Any]) -> None:
    arguments = serve_config["applications"][0]["args"]
    settings = ServingSettings.model_validate(arguments)  # refuses unknown names
    assert set(settings.models) <= {folder.name for folder in POCKET.iterdir()}


def test_the_builder_gets_settings_where_ray_hands_it_a_mapping(
    serve_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    from isogloss.serving.ray import app as serving_app

    (application,) = serve_config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert module == serving_app.__name__
    built_with: list[ServingSettings] = []

    class NotDeployed(Exception):
        pass

    def build_application(settings: ServingSettings, build: object, **options: object) -> None:
        built_with.append(settings)
        raise NotDeployed

    monkeypatch.setattr(serving_app, "build_application", build_application)
    builder = getattr(serving_app, name)
    assert inspect.isfunction(builder)
    with pytest.raises(NotDeployed):
        call_user_app_builder_with_args_if_necessary(builder, application["args"])
    assert built_with == [ServingSettings.model_validate(application["args"])]
    monkeypatch.setenv("ISOGLOSS_MAX_INPUTS", "7")
    monkeypatch.setenv("ISOGLOSS_MODELS", "pocket-xglm")
    with pytest.raises(NotDeployed):
        call_user_app_builder_with_args_if_necessary(builder, application["args"])
    assert (built_with[-1].max_inputs, built_with[-1].models) == (7, ("pocket-xglm",))
    with pytest.raises(NotDeployed):  # of `isogloss serve`, which has read the environment already
        builder(ServingSettings(max_inputs=8))
    assert built_with[-1] == ServingSettings(max_inputs=8)


def test_options_in_comments_are_right_too() -> None:
    """Taking the comment marks off the options must leave a file that Ray Serve accepts."""
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

    lines = (DEPLOY / "serve.yaml").read_text(encoding="utf-8").splitlines()
    options = {"store", "threads", "deployments", "-", "autoscaling_config", "min_replicas"}
    options |= {"max_replicas", "target_queue_tokens", "upscale_delay_s", "policy"}
    options |= {"policy_function", "policy_kwargs", "ray_actor_options", "num_cpus"}
    options |= {"num_gpus", "- name"}
    uncommented = [
        line.replace("# ", "", 1)
        if line.strip().startswith("# ") and line.strip()[1:].split(":")[0].strip() in options
        else line
        for line in lines
    ]
    config = yaml.safe_load("\n".join(uncommented))
    (application,) = ServeDeploySchema.model_validate(config).applications
    settings = ServingSettings.model_validate(config["applications"][0]["args"])
    assert (settings.store, settings.threads) == (Path("/var/lib/isogloss/store"), 4)
    assert (settings.max_replicas, settings.target_queue_tokens) == (8, 8192)
    (deployment,) = application.deployments
    assert deployment.name == _ingress_name()
    assert deployment.ray_actor_options.num_gpus == 1
    scaling = AutoscalingConfig.model_validate(deployment.autoscaling_config)
    assert scaling.policy.get_policy()(**scaling.policy.policy_kwargs)


def _ingress_name() -> str:
    from isogloss.serving.ray import app as serving_app

    source = inspect.getsource(serving_app.build_application)
    return source.rpartition('.options(name="')[2].partition('"')[0]
