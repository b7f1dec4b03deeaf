"""Every block of the documentation holds, also those that cannot run: no command is made up."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from typing import Any

import pytest

from docs.from_code import commands as command_line
from tests.docs.blocks import PAGES, ROOT, Block, all_blocks, commands, prose
from tests.some import some

BLOCKS = all_blocks()
SHELL = [block for block in BLOCKS if block.language == "sh"]
OTHERS = {"--gpus", "--app-dir", "--ray-client-server-port", "--help"}
"""Options in the text that are those of other programs."""


def check(words: list[str]) -> None:
    """The command exists and takes these options."""
    known = {tuple(name.split()[1:]): command for name, command in command_line().items()}
    name = next((tuple(words[:n]) for n in (1, 2) if tuple(words[:n]) in known), None)
    if name is None:
        assert any(each[: len(words)] == tuple(words) for each in known) or words[0] in (
            "--help",
            "--version",
            "COMMAND",
        ), words
        return
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= options(known[name]) | {"--help"}, (name, used)


def options(command: Any) -> set[str]:
    """All spellings of a command's options."""
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


def test_blocks_are_of_known_languages_and_say_why_they_do_not_run() -> None:
    for block in some(BLOCKS):
        assert block.language in ("sh", "python", "json", "text"), block
        assert block.not_run != "", block
        assert block.run in (None, "server"), block


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_parses_and_its_commands_exist(block: Block) -> None:
    parsed = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert parsed.returncode == 0, parsed.stderr
    for words in commands(block.text):
        check(words)
    targets = re.findall(r"^make (\w+)", block.text, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    for module in re.findall(r"python -m (isogloss[\w.]*|tests[\w.]*)", block.text):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_json_parses(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_compiles(block: Block) -> None:
    assert compile(block.text, str(block), "exec")


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_exist(page: str) -> None:
    text = prose(page)
    for inline in re.findall(r"`(isogloss [^`]+)`", text):
        for words in commands(f"`{inline}`"):
            check(words)
    known = set().union(*map(options, command_line().values()))
    told = set(re.findall(r"`(--[a-z-]+)[^`]*`", text))
    assert told <= known | OTHERS, told - known
