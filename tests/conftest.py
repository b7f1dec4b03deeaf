"""What every test shares: the data beside the project where it is there, and quiet libraries."""

import asyncio
import atexit
import inspect
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler.loadfile import LoadFileScheduling  # type: ignore[import-untyped]

# Whoever runs the tests may have settings, a store, a cluster, a proxy: none of them is ours.
_SETTINGS = ("ISOGLOSS_", "RAY_", "OTEL_")
_SWITCHES = ("ISOGLOSS_COMPILE", "ISOGLOSS_SOAK_OUT", "ISOGLOSS_SOAK_SHARE")  # of the suite itself
for _name in set(os.environ).difference(_SWITCHES):
    if _name.startswith(_SETTINGS) or _name.lower().endswith("_proxy"):
        del os.environ[_name]

# Before any library reads them: no network, no telemetry, no thread pools fighting over two cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a test process per core, see pyproject.toml

# Whoever starts the suite in the background may have Ctrl-C ignored, and so would every process
# that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What batches cost is measured anew by each run, and the user's own prompts are nobody's here.
_FOLDER = tempfile.mkdtemp(prefix="isogloss-tests-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
os.environ["ISOGLOSS_CACHE"] = f"{_FOLDER}/cache"
os.environ["ISOGLOSS_STORE"] = f"{_FOLDER}/store"

ROOT = Path(__file__).parent.parent
_SHARED_SERVER = "tests/serving/ray/server/"
SHARED = ROOT.parent / "shared"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores: tests that start Ray mostly wait."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


class OneServerScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Each file's tests run in one process, and those of the files that share a server in one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _SHARED_SERVER if file.startswith(_SHARED_SERVER) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneServerScheduling:
    return OneServerScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what waits longest, so that the rest fills the processor meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = {
        name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters
    }
    asyncio.run(pyfuncitem.obj(**given))
    return True


@pytest.fixture(scope="session")
def sib200() -> Path:
    """SIB-200 in the folder layout; the test is skipped where it is not beside the project."""
    folder = SHARED / "data" / "sib200"
    if not folder.is_dir():
        pytest.skip("SIB-200 is not beside the project (../shared/data/sib200)")
    return folder


@pytest.fixture(scope="session")
def paper_languages() -> Path:
    """The paper's 52 languages as CSV; the test is skipped where it is not beside the project."""
    file = SHARED / "paper" / "languages.csv"
    if not file.is_file():
        pytest.skip("the paper's language list is not beside the project (../shared/paper)")
    return file
