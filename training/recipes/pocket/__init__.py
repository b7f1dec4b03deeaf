"""The pocket models: small, real BLOOM and XGLM models trained here, on two cores.

`python -m isogloss.training.recipes.pocket --data ../shared/data --out prompts/pocket` reads
parallel text and WordNets (`data`), lets a larger model read the English side (`teacher`), thins
each language to its share of the real model's pretraining (`diet`), learns a byte-level BPE
(`tokenizer`), places all languages' tokens where the teacher puts their texts (`embedding`), and
teaches a small transformer to carry a text's meaning past its end, where a soft prompt is appended
(`semantics`, `targets`, `pretrain`). `job` is the whole of it. `ladder` trains models of several
diets side by side.
"""
