"""What is no language of the table is refused with the nearest, whatever it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.codes import short_codes
from isogloss.prompts.languages.languages import (
    UNDETERMINED,
    Language,
    canonical,
    language,
    languages,
    resolve,
)
from isogloss.prompts.languages.names import LONGEST_NAME, further_names


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("Frensh", "fra_Latn (French)"),
        ("Swahilli", "swh_Latn (Swahili)"),
        ("Norwegain", "nob_Latn (Norwegian Bokmål)"),
        ("Portugese", "por_Latn (Portuguese)"),
        ("Viet Namese", "vie_Latn (Vietnamese)"),
        ("farsy", "pes_Arab (Western Persian)"),
        ("Swiss French dialect", "fra_Latn (French)"),
        ("fra_Latin", "fra_Latn (French)"),
        ("fr-Latinus", "fra_Latn (French)"),
        ("zho_Latn", "zho_Hans (Chinese (Simplified)) or zho_Hant (Chinese (Traditional))"),
        ("swx_Latn", "swh_Latn (Swahili)"),
        ("xx", "xho_Latn (Xhosa)"),
    ],
)
def test_the_nearest_are_named(written: str, named: str) -> None:
    with pytest.raises(UnknownLanguage, match=r"^unknown language '.*did you mean") as refused:
        language(written)
    assert named in str(refused.value)
    assert str(refused.value).count("_") <= 3 + written.count("_")


@pytest.mark.parametrize(
    ("written", "name"),
    [("la", "Latin"), ("lat", "Latin"), ("latin", "Latin"), ("BR", "Breton"), ("cv", "Chuvash")],
)
def test_a_known_language_that_the_table_lacks_is_called_by_name(written: str, name: str) -> None:
    with pytest.raises(UnknownLanguage, match=rf"\({name}, which is not among the 205\)"):
        language(written)


def test_every_code_of_iso_639_1_is_read_or_called_by_name() -> None:
    lacking = {code for _, code in further_names() if len(code) == 2}
    assert len(lacking) == 47
    assert not lacking & set(short_codes())
    assert len(lacking | set(short_codes())) == 183 + 7  # seven are withdrawn


_LETTERS = st.text(alphabet="abcdefghijklmnoprstuvwzABFLZ0123456789-_ ()',.|", max_size=70)


def _said(written: str) -> Language | str:
    """The language, or the error's message."""
    try:
        return resolve(written)
    except UnknownLanguage as refused:
        return str(refused)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=80), _LETTERS, st.from_regex(r"[a-z]{2,3}[-_][A-Za-z]{2,8}")))
def test_any_text_is_a_language_or_the_right_error(written: str) -> None:
    said = _said(written)
    if isinstance(said, str):
        assert len(said) < 400
        assert said.isprintable()
    else:
        assert said in (*languages().values(), UNDETERMINED)
    assert isinstance(canonical(written), str)


def test_a_hostile_name_takes_no_time() -> None:
    started = time.process_time()
    for written in ("a" * 10**7, "\u0344" * LONGEST_NAME, "-" * 10**6, "x" * LONGEST_NAME):
        with pytest.raises(UnknownLanguage):
            language(written)
    assert time.process_time() - started < 2
