"""What is tried, in one table: every grid is options of `isogloss train`, as one types them.

Prompts of one grid train side by side over texts that are encoded once, so further lengths and
seeds cost only their own vectors. What a grid costs is its visits (prompts x examples x epochs):
for a pocket model about 0.18 ms of one core for each visit and prompt vector, and 2.7 ms to encode
each text. Together with two evaluations, a model takes about 25 minutes of one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isogloss.training.recipes.pocket.data import LANGUAGES

ENGLISH = "eng_Latn"

# Typologically diverse, and all that were ever labelled in a typical team's reach: one or two of
# each large family, in eight scripts.
_DIVERSE = (
    "eng_Latn", "fra_Latn", "rus_Cyrl", "hin_Deva", "arb_Arab", "swh_Latn",
    "yor_Latn", "ind_Latn", "zho_Hans", "tam_Taml", "tur_Latn", "fin_Latn",
)  # fmt: skip

# A clade's languages among the paper's, one of them or more. Basque belongs to no clade.
_CLADES = {
    "romance": ("fra_Latn", "spa_Latn", "por_Latn", "cat_Latn", "ita_Latn"),
    "germanic": ("eng_Latn", "deu_Latn"),
    "slavic": ("bul_Cyrl", "rus_Cyrl"),
    "greek": ("ell_Grek",),
    "creole": ("hat_Latn",),
    "indo-aryan": (
        "hin_Deva", "urd_Arab", "ben_Beng", "mar_Deva",
        "guj_Gujr", "npi_Deva", "ory_Orya", "asm_Beng",
    ),
    "dravidian": ("tam_Taml", "tel_Telu", "kan_Knda", "mal_Mlym"),
    "bantu": (
        "swh_Latn", "kin_Latn", "zul_Latn", "xho_Latn", "sna_Latn",
        "nso_Latn", "lin_Latn", "kik_Latn", "tum_Latn",
    ),
    "volta-congo": ("yor_Latn", "ibo_Latn", "twi_Latn", "aka_Latn", "fon_Latn"),
    "atlantic": ("wol_Latn",),
    "mande": ("bam_Latn",),
    "sino-tibetan": ("zho_Hans", "mya_Mymr"),
    "uralic": ("fin_Latn", "est_Latn"),
    "turkic": ("tur_Latn",),
    "semitic": ("arb_Arab",),
    "austronesian": ("ind_Latn",),
    "austroasiatic": ("vie_Latn",),
    "tai": ("tha_Thai",),
    "japonic": ("jpn_Jpan",),
    "koreanic": ("kor_Hang",),
    "quechuan": ("quy_Latn",),
}  # fmt: skip

_BOTH = "--reparameterization none residual --length 8 16"
_FOUR = "--seed 0 1 2 3"
_TOGETHER = {
    "english-8-together": ("english-8", "*-plain-length16-*"),
    "english-all-together": ("english-all", "*"),
    "diverse-together": ("diverse", "*-plain-*"),
    "diverse-residual-together": ("diverse", "*-residual-*"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Who learns what, and how. An empty string leaves a way out."""

    # (a) English only, as in the paper: four seeds, because results with 8 shots swing with them.
    english_8: str = f"--shots 8 {_BOTH} {_FOUR}"
    # Four more of one setting: what an ensemble of four gains is told over which four they are.
    english_8_more: str = "--shots 8 --length 16 --seed 4 5 6 7"
    # The same with all 701 examples. 530 steps: 220 end 2 points lower.
    english_all: str = f"--shots all --epochs 12 --batch-size 16 --length 16 {_FOUR}"
    # (b) 12 languages together. Their 701 sentences are translations of one another, so that 2
    # epochs show each 24 times.
    diverse: str = (
        "--shots all --epochs 2 --batch-size 16 --reparameterization none residual --length 16 "
        f"{_FOUR}"
    )
    diverse_sources: tuple[str, ...] = _DIVERSE
    # Which seeds of one setting answer together: name -> step, and pattern of its files.
    together: Mapping[str, tuple[str, str]] = field(default_factory=lambda: dict(_TOGETHER))
    # (c) The clade's own languages: each seed goes on from its own diverse plain prompt. 6 epochs
    # at the usual rate move it far enough to matter; 2 at a third of it did not.
    start: str = "diverse-plain"
    clade_tuned: str = f"--shots all --epochs 6 --batch-size 16 --learning-rate 0.03 {_FOUR}"
    clades: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(_CLADES))
    # The control: the same start, steps and rate, on as many examples of the diverse sources as a
    # clade of so many languages has. What it gains is gained by training more, not by tailoring.
    examples_a_language: int = 631  # nine tenths of 701; the rest chooses the checkpoint
    # (d) No labels of the clade: the best English prompt's answers on an English sentence are the
    # target on its translations. It also is where the student starts: from nothing, the same steps
    # end 3 points lower. 700 sentences are what all languages have; not all are in NTREX.
    clade_taught: str = "--pairs 700 --epochs 2 --batch-size 16 --learning-rate 0.003"
    everywhere_taught: str = "--pairs 350 --epochs 1 --batch-size 16 --learning-rate 0.003"
    everywhere: tuple[str, ...] = tuple(LANGUAGES)

    # Evaluated on, and how routes are chosen: the rule's own defaults.
    languages: str = "all"
    route: str = ""

    @property
    def continued(self) -> tuple[int, ...]:
        """Sizes of clades, in languages: one control for each."""
        return tuple(sorted({len(codes) for codes in self.clades.values()}))


SHIPPED = Settings()
