"""The pocket models: small, real BLOOM and XGLM models trained here, on two cores.

`python -m isogloss.training.recipes.pocket --data ../shared/data --out prompts/pocket` reads
parallel text and WordNets (`data`), learns a byte-level BPE (`tokenizer`), lets a larger model read
the English side (`teacher`), places all languages' tokens where it puts their texts (`embedding`),
and teaches a small transformer to carry a text's meaning past its end, where a soft prompt is
appended (`semantics`, `targets`, `pretrain`).
"""
