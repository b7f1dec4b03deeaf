"""The parts of the paper, and why one of them is missing from a study."""

from __future__ import annotations

from isogloss.training.study.results import StudyResults

PARTS: dict[str, str] = {
    "figure2": "Figure 2: mean transfer with and without model freezing",
    "table4": "Table 4: every language with and without model freezing",
    "figure3": "Figure 3: more examples per label",
    "figure4": "Figure 4: prompt length",
    "figure5": "Figure 5: reparameterization per language",
    "table1": "Table 1: transfer and the distance between languages",
    "section4": "Section 4: what a prompt costs",
}
_NEEDS = {
    "table4": "needs runs with the usual shots and length",
    "figure2": "needs runs with the usual shots and length",
    "figure3": "needs frozen runs with at least two numbers of examples",
    "figure4": "needs frozen runs of at least two lengths",
    "figure5": "needs plain and reparameterized runs with the usual shots and length",
    "table1": "needs runs with the usual shots and length, on several languages",
    "section4": "needs frozen runs with the usual shots and length",
}


def absent_parts(results: StudyResults) -> dict[str, str]:
    """Parts without a table or figure, with the reason; never an empty plot instead."""
    frozen, full = results.base("frozen"), results.base("full")
    there = {
        "table4": bool(frozen or full),
        "figure2": bool(frozen or full),
        "figure3": len(results.by_shots()) > 1,
        "figure4": len(results.by_length()) > 1,
        "figure5": bool(frozen and results.residual()),
        "table1": bool(frozen or full),
        "section4": bool(frozen),
    }
    reasons = {}
    for part in PARTS:
        if part not in results.parts:
            reasons[part] = "was not asked for"
        elif not there[part]:
            reasons[part] = _NEEDS[part]
    return reasons
