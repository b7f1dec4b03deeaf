"""Signals to a process whose main thread may be busy elsewhere; each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isogloss.prompts.cluster import processes

ROOT = Path(__file__).parents[3]
BEGIN = """
import ctypes, os, signal, subprocess, sys, threading, time
from isogloss.prompts.cluster import processes
from isogloss.prompts.cluster.signals import ended_within, ending_in_order, handlers_kept

def busy():
    "C code that no signal interrupts, as Ray's may be; and where one did, nobody hears it."
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)
    read, write = os.pipe()
    print("there", flush=True)
    ctypes.CDLL(None).read(read, ctypes.create_string_buffer(1), 1)

signal.signal(signal.SIGTERM, signal.default_int_handler)
"""


def ended(code: str, number: signal.Signals) -> tuple[int, str]:
    """Send a signal once the code is there; how it ended, and what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == "there\n", said + process.stdout.read()
        process.send_signal(number)
        return process.wait(60), process.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_does_not_hear_is_ended(number: signal.Signals) -> None:
    code = """
with ended_within(0.1, lambda: print("last", flush=True)):
    busy()
"""
    assert ended(code, number) == (128 + number, "last\n")


def test_both_of_two_that_wait_hear_it() -> None:
    code = """
with ended_within(0.1, lambda: print("outer", flush=True)):
    try:
        with ended_within(3600):
            print("there", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
"""
    assert ended(code, signal.SIGTERM) == (128 + signal.SIGTERM, "outer\n")


def test_one_that_hears_it_ends_in_its_own_way() -> None:
    code = """
try:
    with ended_within(3600):
        print("there", flush=True)
        threading.Event().wait()
except KeyboardInterrupt:
    print("heard")
assert signal.set_wakeup_fd(-1) == -1
assert threading.active_count() == 1
"""
    assert ended(code, signal.SIGTERM) == (0, "heard\n")


def test_sigterm_leaves_through_every_finally() -> None:
    code = """
signal.signal(signal.SIGTERM, signal.SIG_DFL)
try:
    with ending_in_order():
        print("there", flush=True)
        threading.Event().wait()
finally:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    print("tidy", flush=True)
"""
    assert ended(code, signal.SIGTERM) == (128 + signal.SIGTERM, "tidy\n")


def test_handlers_come_back() -> None:
    code = """
mine = signal.getsignal(signal.SIGTERM)
with handlers_kept():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
assert signal.getsignal(signal.SIGTERM) is mine
print("there", flush=True)
threading.Event().wait()
"""
    assert ended(code, signal.SIGINT)[0] == -signal.SIGINT


def test_all_that_was_started_is_found_and_ended() -> None:
    code = "import subprocess, sys; subprocess.run(['sleep', '120'])"
    others = processes.children()
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        give_up_s = time.monotonic() + 60
        while len(found := processes.below(processes.children() - others)) < 2:
            assert time.monotonic() < give_up_s
            time.sleep(0.02)
        assert process.pid in {each.pid for each in found}
        processes.end(found)
        assert process.wait(60) == -signal.SIGKILL
    while processes.below(found):
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def test_a_number_that_is_anothers_by_now_is_not_ended() -> None:
    with subprocess.Popen(["sleep", "120"]) as process:
        (ours,) = (each for each in processes.children() if each.pid == process.pid)
        processes.end({processes.Process(ours.pid, f"{int(ours.started) - 1}")})
        assert ours in processes.children()
        processes.end({ours})
        assert process.wait(60) == -signal.SIGKILL
