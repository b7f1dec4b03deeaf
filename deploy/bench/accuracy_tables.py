"""What people see of `bench mixture` and `bench precision` in a terminal."""

from __future__ import annotations

from isogloss.deploy.bench.tables import Report, table
from isogloss.prompts.console.plain_table import PlainTable


def mixture_tables(report: Report) -> list[PlainTable]:
    """The table of `bench mixture`."""
    settings = report["settings"]
    rows: list[list[str] | None] = []
    for result in report["results"]:
        for index, (name, row) in enumerate(result["ways"].items()):
            first = [f"{result['words']}", f"{result['texts']}"] if index == 0 else ["", ""]
            rows.append([*first, *_mixture_cells(name, row)])
        rows.append(None)
    return [
        table(
            f"{settings['model']}, first words of {settings['data']} test, "
            f"{settings['languages']} languages",
            "gains in points of accuracy over one prompt a text, with 95 % intervals; surprise: "
            "mean negative log-probability of the right label; on mixed texts: accuracy with one "
            "prompt -> mixed",
            ["words", "texts", "prompts"],
            ["accuracy", "surprise", "gain", "prompts a text", "mixed", "on mixed texts"],
            rows,
        )
    ]


def _mixture_cells(name: str, row: Report) -> list[str]:
    titles = {"off": "one", "oracle": "one, language told"}
    cells = [titles.get(name, f"mixed below {name}")]
    cells += [f"{row['accuracy']:.1%}", f"{row['surprise']:.4f}"]
    if "gain" not in row:
        return cells
    low, high = (100 * end for end in row["interval"])
    cells += [f"{100 * row['gain']:+.2f} ({low:+.2f} to {high:+.2f})"]
    if not row["mixed"]:
        return cells
    on_mixed = f"{row['accuracy_of_mixed_off']:.1%} -> {row['accuracy_of_mixed']:.1%}"
    return [*cells, f"{row['prompts_per_text']:.2f}", f"{row['mixed']:.1%}", on_mixed]


def precision_tables(report: Report) -> list[PlainTable]:
    """The table of `bench precision`."""
    settings = report["settings"]
    rows = []
    for row in report["results"]:
        ((code, share),) = row["worst_language"].items()
        moved = row["score_moved"]
        rows.append(
            [
                *(row["model"], row["precision"]),
                *(f"{row['accuracy']:.2%}", f"{row['agreement']:.2%}", f"{share:.1%} {code}"),
                f"{moved['mean']:.4f} (p99 {moved['p99']:.3f})",
                f"{row['surest_change']:.3f}",
            ]
        )
    return [
        table(
            f"Labels and scores against {settings['compared_with']}, {settings['data']} test, "
            f"{settings['languages']} languages",
            "surest change: the highest score that a label had in float32 and lost",
            ["model", "precision"],
            ["accuracy", "same labels", "worst language", "scores moved", "surest change"],
            rows,
        )
    ]
