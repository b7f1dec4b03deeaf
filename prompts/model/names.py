"""What a model may be called. Needs no torch: a wrong name is told of before that is imported."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from isogloss.prompts.errors import NotFound
from isogloss.prompts.files.given_paths import expanded

POCKET = Path(str(resources.files("isogloss.prompts").joinpath("pocket")))


def pocket_models() -> dict[str, Path]:
    """Models inside the installation: name -> folder."""
    folders = sorted(POCKET.iterdir()) if POCKET.is_dir() else []
    return {folder.name: folder for folder in folders if (folder / "config.json").is_file()}


def resolve(model: str) -> str:
    """What `from_pretrained` should be given for a model's name.

    Raises:
        NotFound: a path that does not exist or holds no config.json.
    """
    if pocket := pocket_models().get(model):
        return str(pocket)
    path = expanded(model, "model")
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise NotFound(
                f"model {model!r}: the folder has no config.json; name a folder in the hub's layout"
            )
        return str(path)
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        known = ", ".join([*pocket_models(), "bigscience/bloom-560m", "Qwen/Qwen3-0.6B-Base"])
        raise NotFound(
            f"model {model!r} is neither a folder, a hub id nor a pocket model; try one of: {known}"
        )
    return model
