"""py3langid (BSD-3) as an alternative detector: 140 labels, of which the table has most.

It is optional (`pip install isogloss[detect]`) and kept for comparison: it knows fewer African
languages than ours. Its labels are ISO 639-1 where there is one; where the table has a language in
two scripts, the text's own script decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prompts import ngrams, writing
from prompts.languages import Language, languages
from serving.detection import NOTHING, TOP, Detection

# ISO 639-1 (and a few longer labels) -> ISO 639-3 as SIB-200 has it.
_LABELS = """
af=afr ak=aka am=amh ar=arb as=asm ay=ayr az=azj ba=bak be=bel bg=bul bn=ben bo=bod bs=bos
ca=cat cs=ces cy=cym da=dan de=deu dz=dzo el=ell en=eng eo=epo es=spa et=est eu=eus fa=pes
fi=fin fj=fij fo=fao fr=fra ga=gle gd=gla gl=glg gn=grn gu=guj gug=grn ha=hau he=heb hi=hin
hr=hrv ht=hat hu=hun hy=hye id=ind ig=ibo is=isl it=ita iw=heb ja=jpn jv=jav jw=jav ka=kat
kk=kaz km=khm kn=kan ko=kor ks=kas ku=kmr ky=kir lb=ltz lg=lug ln=lin lo=lao lt=lit lv=lvs
mg=plt mi=mri mk=mkd ml=mal mn=khk mr=mar ms=zsm mt=mlt my=mya ne=npi nl=nld nn=nno no=nob
ny=nya oc=oci om=gaz or=ory pa=pan pl=pol ps=pbt pt=por qu=quy rn=run ro=ron ru=rus rw=kin
sa=san sd=snd sg=sag si=sin sk=slk sl=slv sm=smo sn=sna so=som sq=als sr=srp ss=ssw st=sot
su=sun sv=swe sw=swh ta=tam te=tel tg=tgk th=tha ti=tir tk=tuk tl=tgl tn=tsn tr=tur ts=tso
tt=tat ug=uig uk=ukr ur=urd uz=uzn uzs=uzn vi=vie wo=wol xh=xho yi=ydd yo=yor zh=zho zu=zul
"""
ISO639_3: Mapping[str, str] = dict(pair.split("=") for pair in _LABELS.split())


def language_of(label: str, script: int) -> Language | None:
    """Return the table's language for a peer's label and the text's main script, if it has one."""
    name, _, asked = label.partition("-")
    entries = [e for e in languages().values() if e.iso639_3 == ISO639_3.get(name, name)]
    written = writing.NAMES[script]
    fitting = [e for e in entries if written in writing.group_of(e.script)]
    exact = [e for e in fitting if e.script == asked]
    return next(iter(exact or fitting or entries), None)


class Py3LangidDetector:
    """py3langid behind the Detector interface. Raises ImportError where it is not installed."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order; labels that the table lacks are passed over."""
        scripts = ngrams.extract(texts).scripts.tolist()
        return [self._one(text, script) for text, script in zip(texts, scripts, strict=True)]

    def _one(self, text: str, script: int) -> Detection:
        if script == writing.NONE:
            return NOTHING
        ranked = self._identifier.rank(text[: ngrams.CHARACTERS])
        known = [(language_of(label, script), chance) for label, chance in ranked[: 2 * TOP]]
        found = [(entry, chance) for entry, chance in known if entry is not None][:TOP]
        if not found:
            return NOTHING
        candidates = tuple((entry.code, chance) for entry, chance in found)
        return Detection(found[0][0], found[0][1], candidates)
