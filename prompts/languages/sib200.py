"""What is known of SIB-200 beyond its files: the paper's languages, and sentences misfiled."""

from __future__ import annotations

import re

from isogloss.prompts.files.tables import Layout
from isogloss.prompts.languages.languages import languages

_NOT_IN_PAPER = frozenset(
    ["lug_Latn", "nya_Latn", "pan_Guru", "run_Latn", "sot_Latn", "tsn_Latn", "tso_Latn", "zho_Hant"]
)
PAPER_52 = tuple(
    entry.code
    for entry in languages().values()
    if (entry.in_bloom or entry.in_xglm) and entry.code not in _NOT_IN_PAPER
)
"""The languages of Philippy et al. (2024), which the pocket models were trained on."""

TEXTS = Layout(("index_id", "text"))
"""The columns of a split that are read where labels are not wanted."""

# Letters by which a sentence cannot be in the language that the data says. SIB-200 has Kikuyu
# sentences as Bambara, whose orthography has neither letter.
_FOREIGN_LETTERS = {"bam_Latn": re.compile("[ĩũĨŨ]")}


def mislabelled(code: str, text: str) -> bool:
    """Whether a sentence's letters show that it is not in the language it is filed under."""
    foreign = _FOREIGN_LETTERS.get(code)
    return foreign is not None and foreign.search(text) is not None
