"""Prompts pushed to a repository of the hub, and pulled from one; PEFT's adapters fetched.

A repository has one prompt: `prompt.safetensors`, byte for byte as in the store, and a README made
from its card. The hub's own library talks to it: $HF_ENDPOINT and $HF_TOKEN are read by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from isogloss.prompts.errors import InvalidInput, NotFound, Unauthorized, Unavailable
from isogloss.prompts.format.adapter_tensors import PICKLE_FILE, TENSOR_FILE
from isogloss.prompts.format.peft import CONFIG_FILE
from isogloss.prompts.format.prompt import Prompt, load_prompt
from isogloss.prompts.hub.model_card import model_card

FILE = "prompt.safetensors"
README = "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push left behind."""

    repository: str
    url: str
    commit: str
    digest: str


def push(
    prompt: Prompt,
    name: str,
    repository: str,
    *,
    message: str = "",
    private: bool = False,
    revision: str | None = None,
) -> Pushed:
    """Put a prompt into a repository as one commit; the repository is made if there is none.

    Args:
        prompt: to push.
        name: its name in the store, for the README.
        repository: owner/name.
        message: of the commit.
        private: whether a new repository is.
        revision: the branch; None: the main one.

    Raises:
        InvalidInput: the repository's name is none.
        Unauthorized: the hub does not let this user in, or no token is known.
        NotFound: there is no such branch.
        Unavailable: the hub does not answer.
    """
    check_repository(repository)
    files = {
        FILE: prompt.to_bytes(),
        README: model_card(prompt, name, repository).encode(),
    }
    with _naming(repository):
        api = HfApi(library_name="isogloss")
        api.create_repo(repository, exist_ok=True, private=private or None)
        done = api.create_commit(
            repository,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=message or f"Push {name}",
            revision=revision,
        )
    return Pushed(repository, str(done.repo_url), str(done.oid), prompt.digest)


def pull(repository: str, *, revision: str | None = None) -> Prompt:
    """Read the prompt of a repository; what is wrong with its file is said as of any file.

    Args:
        repository: owner/name.
        revision: branch, tag or commit; None: the main branch.

    Raises:
        InvalidInput: the repository's name is none.
        NotFound: there is no such repository or revision, or it has no prompt.
        InvalidPrompt: its file is refused.
        Unauthorized: the hub does not let this user in.
        Unavailable: the hub does not answer.
    """
    check_repository(repository)
    with _naming(repository):
        return load_prompt(_download(repository, FILE, revision))


def fetch_adapter(repository: str, *, revision: str | None = None) -> Path:
    """Bring the two files of a PEFT adapter here, and return their folder in the hub's cache.

    Args:
        repository: owner/name.
        revision: branch, tag or commit; None: the main branch.

    Raises:
        NotFound: there is no such repository or revision, or it has no adapter.
        InvalidInput, Unauthorized, Unavailable: as `pull`.
    """
    check_repository(repository)
    with _naming(repository, CONFIG_FILE, "an adapter has one: give the repository of one"):
        config = _download(repository, CONFIG_FILE, revision)
    commit = config.parent.name  # a branch may move before the second file is asked for
    with _naming(repository, TENSOR_FILE, "it has no vectors to import"):
        try:
            _download(repository, TENSOR_FILE, commit)
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise
            _download(repository, PICKLE_FILE, commit)
    return config.parent


def is_repository(given: str) -> bool:
    """Whether this can be owner/name on the hub; a folder may be called so, too."""
    return _REPOSITORY.fullmatch(given) is not None and not given.startswith(".")


def check_repository(repository: str) -> None:
    """Require owner/name.

    Raises:
        InvalidInput: it is not.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise InvalidInput(f"repository {repository[:200]!r}: give OWNER/NAME, as on the hub")


def _download(repository: str, file: str, revision: str | None) -> Path:
    return Path(hf_hub_download(repository, file, revision=revision, library_name="isogloss"))


@contextmanager
def _naming(
    repository: str, file: str = FILE, remedy: str = "was it pushed by `isogloss prompts push`?"
) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except HFValidationError as error:
        raise InvalidInput(f"repository {repository!r}: {error}") from error
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise _silent(error) from error
        raise NotFound(f"repository {repository!r} has no {file}; {remedy}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotFound(
            f"repository {repository!r}, or the revision, does not exist or is private; check the "
            "name, or log in (hf auth login, or $HF_TOKEN)"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise Unauthorized(
                f"the hub does not let you change {repository!r} ({status}); log in with a token "
                "that may write (hf auth login, or $HF_TOKEN)"
            ) from error
        raise _silent(error) from error
    except (OSError, ValueError) as error:
        raise _silent(error) from error


def _silent(error: Exception) -> Unavailable:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return Unavailable(f"the hub does not answer ({first[:200]}); try again, or check $HF_ENDPOINT")
