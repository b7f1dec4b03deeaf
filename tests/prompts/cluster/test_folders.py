"""Where the files of running servers and jobs lie."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from isogloss.prompts.cluster import folders
from isogloss.prompts.cluster.folders import (
    LONGEST_RAY_FOLDER,
    private_folder,
    ray_folder,
    scratch_folder,
)
from isogloss.prompts.errors import Unavailable

OWN = f"isogloss-{os.geteuid()}"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, whatever TMPDIR is."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def long_folder(place: Path) -> Path:
    folder = place / "a_scratch_folder_with_a_long_name" / "of_a_batch_job_1234567"
    folder.mkdir(parents=True)
    return folder


def test_tmpdir_is_used_where_it_will_do(short: Path) -> None:
    assert private_folder({"TMPDIR": str(short)}) == short / OWN
    assert private_folder({"TMPDIR": str(short)}) == short / OWN  # that is there by now
    assert stat.S_IMODE((short / OWN).stat().st_mode) == 0o700


@pytest.mark.parametrize("which", ["long", "missing", "a file", "none", "empty"])
def test_another_place_where_tmpdir_will_not_do(short: Path, which: str) -> None:
    (short / "file").touch()
    chosen = {
        "long": str(long_folder(short)),
        "missing": str(short / "missing"),
        "a file": str(short / "file"),
        "empty": "",
    }.get(which)
    environment = {} if chosen is None else {"TMPDIR": chosen}
    elsewhere = short / "e"
    elsewhere.mkdir()
    assert private_folder(environment, (str(elsewhere),)) == elsewhere / OWN
    assert scratch_folder(environment, 40, (str(elsewhere),)).parent == elsewhere


def test_bytes_count_and_not_characters(short: Path) -> None:
    most = LONGEST_RAY_FOLDER - len(str(short / OWN / "ray")) - len("/")
    folder = short / ("\u017c" * most)  # short enough in characters alone
    folder.mkdir()
    assert len(str(folder / OWN / "ray")) == LONGEST_RAY_FOLDER
    assert private_folder({"TMPDIR": str(folder)}, (str(short),)) == short / OWN


def test_no_place_will_do(short: Path) -> None:
    long = long_folder(short)
    with pytest.raises(Unavailable) as caught:
        private_folder({"TMPDIR": str(long)}, (str(short / "missing"),))
    assert "its path is too long" in str(caught.value)
    assert f"{short / 'missing'} (No such file or directory)" in str(caught.value)
    assert "set TMPDIR to a folder with room that you can write to" in str(caught.value)


def test_a_folder_that_others_could_write_to_is_closed(short: Path) -> None:
    (short / OWN).mkdir()
    (short / OWN).chmod(0o777)
    folder = private_folder({"TMPDIR": str(short)})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("planted", ["link", "file", "somebody else's"])
def test_a_name_that_somebody_took_is_left_alone(
    short: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = short / "other"
    other.mkdir()
    taken = short / OWN
    if planted == "link":
        taken.symlink_to(other)
    elif planted == "file":
        taken.touch()
    else:
        taken.mkdir()
        monkeypatch.setattr(folders, "_is_ours", lambda folder: False)
    folder = private_folder({"TMPDIR": str(short)})
    assert folder != taken
    assert folder.parent == short
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(other.iterdir())


def test_scratch_folders_differ_and_are_short_enough(short: Path) -> None:
    longest = len(str(short)) + len("/isogloss-xxxxxxxx")
    first, second = (scratch_folder({"TMPDIR": str(short)}, longest) for _ in range(2))
    assert first != second
    assert len(str(first)) == longest
    with pytest.raises(Unavailable, match="its path is too long"):
        scratch_folder({"TMPDIR": str(short)}, longest - 1, ())


def test_rays_folder(short: Path) -> None:
    assert ray_folder({}, short) == short / "ray"
    assert ray_folder({"RAY_TMPDIR": " "}, short) == short / "ray"
    chosen = short / "new"
    assert ray_folder({"RAY_TMPDIR": str(chosen)}, short) == chosen / "ray"
    assert (chosen / "ray").is_dir()


def test_rays_sockets_fit_where_its_folder_is_the_longest() -> None:
    session = "session_2026-11-28_17-42-31_637530_4194304"  # numbers of processes end here
    socket = "/" + "x" * (LONGEST_RAY_FOLDER - 1) + f"/{session}/sockets/plasma_store"
    assert len(socket) == 107


def test_a_chosen_folder_of_ray_that_cannot_be_used(short: Path) -> None:
    (short / "file").touch()
    for chosen, said in (
        (short / "file", "Not a directory"),
        (long_folder(short), "its path is too long for the sockets in it"),
    ):
        with pytest.raises(
            Unavailable, match=f"RAY_TMPDIR '?/.*{said}.*choose a folder that you can"
        ):
            ray_folder({"RAY_TMPDIR": str(chosen)}, short)
