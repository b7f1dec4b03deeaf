"""The table of models follows the code: what is read, what it weighs, how long a text may be."""

from __future__ import annotations

import re

from isogloss.deploy.doctor.finding import GIB
from isogloss.deploy.doctor.model import BYTES
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.prompts.model.limits import LONGEST
from tests.docs.blocks import ROOT
from tests.some import some

PAGE = (ROOT / "docs/how-to/which-model.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| \[([^\]]+)\]\(\S+\) \| `(\w+)` \| ([\d.]+) \| ([^|]+) \| ([^|]+) \|", re.M)
ROWS = some(_ROW.findall(PAGE))


def test_every_model_is_of_an_architecture_that_is_read() -> None:
    table = PAGE.partition("## Models")[2].partition("\n\n- ")[0]
    assert len(ROWS) == table.count("\n| [")
    assert {model_type for _, model_type, *_ in ROWS} <= set(ARCHITECTURES)


def test_memory_is_what_the_doctor_counts() -> None:
    for name, _, billions, memory, _ in ROWS:
        counted = (
            float(billions) * 1e9 * BYTES[dtype] for dtype in ("float32", "bfloat16", "int8")
        )
        assert memory == ", ".join(f"{size / GIB:.1f}" for size in counted), name


def test_no_text_is_longer_than_the_server_reads() -> None:
    for name, *_, tokens in ROWS:
        assert tokens == "not checked" or 0 < int(tokens.replace(",", "")) <= LONGEST, name


def test_every_model_of_the_groups_is_in_the_table() -> None:
    groups = PAGE.partition("## By group of languages")[2].partition("\n\n## ")[0]
    tried = re.findall(r"^\| [^|]*\| ([^|]+) \|", groups, re.MULTILINE)[2:]
    known = " ".join(name for name, *_ in ROWS).lower()
    for model in some(sorted({each for cell in tried for each in cell.split(", ")})):
        assert model.split()[0].lower() in known, model
