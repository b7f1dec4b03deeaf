"""What other detectors share: their labels as languages of the table, and what they are asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from prompts import cleaning, writing
from prompts.languages import Language, languages
from serving.detecting.detection import NOTHING, Detection

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


@functools.cache  # a model's labels are few, and asked for with every text
def language_of(label: str, script: int) -> Language | None:
    """Return the table's language for a label and the text's main script, None if it has none.

    A label is an ISO 639-1 or 639-3 code, with a script after "-" or "_" or without; where the
    table has the language in several scripts, the label's, else the text's own decides.
    """
    name, _, asked = label.replace("_", "-").partition("-")
    entries = [e for e in languages().values() if e.iso639_3 == ISO639_3.get(name, name)]
    written = writing.NAMES[script]
    fitting = [e for e in entries if written in writing.group_of(e.script)]
    exact = [e for e in fitting if e.script == asked]
    return next(iter(exact or fitting or entries), None)


def detect_by_script(texts: Sequence[str], one: Callable[[str, int], Detection]) -> list[Detection]:
    """Ask `one` about each text as it is left by `clean`, and its main script.

    A text without letters is told without asking.
    """
    cleaned = cleaning.clean(texts)
    scripts = cleaning.main_scripts(cleaned).tolist()
    return [
        NOTHING if script == writing.NONE else one(text, script)
        for text, script in zip(cleaned, scripts, strict=True)
    ]
