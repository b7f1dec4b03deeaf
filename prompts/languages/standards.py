"""Whose code a name is: the same letters mean different languages in different standards.

A standard is a small table of what it means by a code that others read otherwise, or not at all;
all other codes are read as `prompts.languages.codes` says. Where nobody says whose a code is, it
is GENERAL: ISO 639 and BCP 47 as they stand today, and English names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# lid.176's labels are the names of Wikipedias, some of which are older than ISO 639-3's codes.
_WIKIPEDIA = {
    "als": "gsw",  # Alemannic; ISO 639-3 gave `als` to Tosk Albanian, which is `sq` here
    "bat-smg": "sgs",  # Samogitian, a Baltic language
    "be-tarask": "bel",  # Belarusian in its older spelling
    "be-x-old": "bel",  # the same, before the spelling had a name
    "bh": "bho",  # "Bihari"; what is written there is Bhojpuri
    "cbk-zam": "cbk",  # Chavacano of Zamboanga
    "eml": "egl",  # Emiliano-Romagnolo, withdrawn from ISO 639-3; mostly Emilian
    "fiu-vro": "vro",  # Võro, a Finno-Ugric language
    "map-bms": "",  # Banyumasan, which has no code; it is not the rest of Javanese
    "nah": "nah",  # all of Nahuatl: no one language
    "nds-nl": "",  # Dutch Low Saxon; `nds` is that of Germany
    "roa-rup": "rup",  # Aromanian
    "roa-tara": "",  # Tarantino, which has no code
    "simple": "eng",  # simple English
    "zh-classical": "lzh",  # literary Chinese
    "zh-min-nan": "nan",
    "zh-yue": "yue",
}
# FLORES-101, -200 and FLORES+ are one series; so are data sets made of them, such as SIB-200.
_FLORES = {
    "als": "als",  # Tosk Albanian, as in ISO 639-3
    "zho-simp": "zho-Hans",  # FLORES-101 named the script in words
    "zho-simpl": "zho-Hans",
    "zho-trad": "zho-Hant",
    "apc-arab-sout3123": "ajp",  # ISO 639-3 took `ajp` into `apc` in 2023; the Glottocode tells
    "zgh-tfng": "tzm",  # FLORES+ has the text that was `tzm_Tfng` in FLORES-200 under this code
}
# GlotLID and OpenLID: a language of ISO 639-3 and a script of ISO 15924.
_ISO_639_3 = {
    "als": "als",  # Tosk Albanian; Alemannic is `gsw`
    "mis": "",  # special codes: no language
    "mul": "",
    "und": "",
    "zxx": "",
}
# CLD2, CLD3 and langid: BCP 47 of their day. `X-Latn` is X as it is romanised by those who type
# it; the language is X, in whatever script the table has it.
_CLD = {
    "bg-latn": "bul",
    "el-latn": "ell",
    "hi-latn": "hin",
    "ja-latn": "jpn",
    "ru-latn": "rus",
    "zh-latn": "zho",
    "iw": "heb",  # ISO 639-1 withdrew these in 1989, and CLD kept the first
    "in": "ind",
    "ji": "ydd",
    "jw": "jav",  # never was more than a misprint for `jv`
    "no": "nob",  # all they know of Norwegian: nearly all of their text was Bokmål
    "un": "",  # CLD2's word for unknown
    "xxx": "",
}


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """Who wrote a code.

    Attributes:
        name: of the standard, for messages.
        labels: what it means by a code, in lower case with "-", as a BCP 47 tag; "": no language
            that has a code.
        has_names: whether English names are read, too. Detectors' labels are codes.
    """

    name: str
    labels: Mapping[str, str]
    has_names: bool = False


GENERAL = Standard("ISO 639 and BCP 47", MappingProxyType({}), has_names=True)
WIKIPEDIA = Standard("Wikipedia", MappingProxyType(_WIKIPEDIA))
FLORES = Standard("FLORES", MappingProxyType(_FLORES))
ISO_639_3 = Standard("ISO 639-3", MappingProxyType(_ISO_639_3))
CLD = Standard("CLD", MappingProxyType(_CLD))
