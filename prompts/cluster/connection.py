"""A connection to Ray while it is open: started for this command, or a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isogloss.prompts.cluster import processes
from isogloss.prompts.cluster.address import Address, check_answers
from isogloss.prompts.cluster.folders import private_folder, ray_folder
from isogloss.prompts.cluster.import_path import job_config, safe_variables
from isogloss.prompts.cluster.loss import abandon, missing_parts
from isogloss.prompts.cluster.privacy import apart, private_variables, read_variables_again
from isogloss.prompts.cluster.signals import ended_within, ending_in_order, handlers_kept
from isogloss.prompts.cluster.start_errors import start_error
from isogloss.prompts.errors import IsoglossError, Unavailable

NAMESPACE = "isogloss"
STOP_S = 4.0
"""How long a start that was told to stop may take to do so."""
_SHARED_MEMORY = "/dev/shm"
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What Ray on this machine is told of it."""

    cpus: int
    """What Ray schedules by, not cores: there must be one for every worker."""
    object_store_bytes: int


@contextlib.contextmanager
def variables(ours: Mapping[str, str]) -> Iterator[None]:
    """Put variables into the environment while open; those that the user has set win.

    Ray reads most of them when it is imported, in this process and in each of its own. None of
    those processes may import from the working folder, whatever the user has set.
    """
    before = dict(os.environ)
    os.environ.update({**_QUIET, **ours, **before, **safe_variables(before)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def connected(
    address: Address,
    machine: Machine,
    say: Callable[[str], None],
    folder: Path | None = None,
) -> Iterator[None]:
    """Be connected to Ray while open; Ray that was started for it is stopped with it.

    Args:
        address: the cluster; local starts one.
        machine: what a Ray that is started is told of this machine.
        say: told what takes some seconds.
        folder: where the token of a Ray that is started is kept; only this user can enter it. None
            is a temporary folder.

    Raises:
        Unavailable: Ray does not start, or no cluster answers; the message says why.
        KeyboardInterrupt: it was told to stop meanwhile.
    """
    if address.local:
        say("starting Ray on this machine (a few seconds) ...")
    else:
        check_answers(_resolved(address))
    others = processes.children()
    with ending_in_order(), _private(folder) if address.local else contextlib.nullcontext():
        try:
            _init(address, machine)
            yield
        finally:
            _end(processes.children() - others if address.local else set())


@contextlib.contextmanager
def _private(folder: Path | None) -> Iterator[None]:
    """Keep Ray that is started while open to this machine and to this user."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            ours = tempfile.TemporaryDirectory(dir=private_folder(os.environ))
            folder = Path(stack.enter_context(ours))
        stack.enter_context(variables(private_variables(folder)))
        yield


def _resolved(address: Address) -> Address:
    """Where Ray would look for the cluster: one that it remembers, or another of our addresses."""
    if address.client:
        return address
    with _quiet():
        from ray._private.services import canonicalize_bootstrap_address
    try:
        text = canonicalize_bootstrap_address(address.text)
    except (OSError, ValueError) as error:
        raise Unavailable(start_error(error, address, None)) from error
    return address if text in (None, address.text) else Address(text, f"{address}:")


def _init(address: Address, machine: Machine) -> None:
    folder = ray_folder(os.environ, private_folder(os.environ)) if address.local else None
    given = _local_options(machine, folder) if folder else {}
    if not address.client:  # which starts its driver on the cluster
        given["job_config"] = job_config()
    try:
        with (
            _quiet(),
            handlers_kept(),
            ended_within(STOP_S, processes.end_children),
            apart() if address.local else contextlib.nullcontext(),
        ):
            read_variables_again()
            ray().init(
                address=address.text,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace=NAMESPACE,
                **given,
            )
    except SystemExit:  # Ray's own answer to SIGTERM
        raise KeyboardInterrupt from None
    except IsoglossError:
        raise
    except Exception as error:  # Ray raises it under any name, `Exception` among them
        raise Unavailable(start_error(error, address, folder)) from error


def _local_options(machine: Machine, folder: Path) -> dict[str, Any]:
    return {
        "num_cpus": machine.cpus,
        "object_store_memory": machine.object_store_bytes,
        "include_dashboard": False,
        "_temp_dir": str(folder),
        # Where shared memory is too small Ray sees to that itself; where it is closed it fails.
        "_plasma_directory": None if os.access(_SHARED_MEMORY, os.W_OK) else str(folder),
    }


def _end(ours: set[processes.Process]) -> None:
    """Disconnect, and end what Ray leaves of its own processes."""
    everything = processes.below(ours)
    if missing_parts():
        abandon(1)
    else:
        with _quiet():
            ray().shutdown()
    processes.end(everything)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what Ray and its libraries say about their own future versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ray() -> Any:
    """The library, imported when first used: after the variables it reads then are set."""
    with _quiet():
        import ray
    return ray
