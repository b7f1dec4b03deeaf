"""What a name of the store stands for: one soft prompt, or several that answer together."""

from __future__ import annotations

from pathlib import Path

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.ensemble import Ensemble, Member
from isogloss.prompts.format.safetensors_header import read_file, read_header
from isogloss.prompts.format.soft_prompt import SoftPrompt, naming

Prompt = SoftPrompt | Ensemble


def read_prompt(data: bytes) -> Prompt:
    """Read a file of either kind: their tensors tell them apart.

    Raises:
        InvalidPrompt: as `SoftPrompt.from_bytes` and `Ensemble.from_bytes`.
    """
    return (Ensemble if _is_ensemble(data) else SoftPrompt).from_bytes(data)


def load_prompt(path: Path) -> Prompt:
    """Read a file from disk.

    Raises:
        NotFound: there is no such file.
        InvalidPrompt: as `read_prompt`; the message names the path.
    """
    with naming(path):
        return read_prompt(read_file(path))


def only_prompt(called: str, prompt: Prompt) -> SoftPrompt:
    """Require one prompt: ensembles do not nest.

    Raises:
        InvalidPrompt: it is several that answer together; the message names them.
    """
    if isinstance(prompt, SoftPrompt):
        return prompt
    told = ", ".join(member.reference for member in prompt.members)
    raise InvalidPrompt(
        f"{called} is {len(prompt.prompts)} prompts that answer together; name those you want "
        f"instead: {told}"
    )


def members_of(name: str, prompt: Prompt) -> tuple[Member, ...]:
    """The prompts that answer: an ensemble's members, else the prompt alone under this name."""
    return prompt.members if isinstance(prompt, Ensemble) else (Member(name, prompt),)


def _is_ensemble(data: bytes) -> bool:
    """Whether a file holds members; what is wrong with one that cannot be read, a reader says."""
    try:
        return any(name.startswith("prompt.") for name in read_header(data).tensors)
    except InvalidPrompt:
        return False
