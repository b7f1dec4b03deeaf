"""The rule on what ships, row by row."""

import pytest

from isogloss.training.recipes.ladder.rule import DevRung, Difference, decide, explained

ZERO = Difference(0.0, -1.0, 1.0)
SURELY_UNDER = Difference(-2.0, -3.0, -0.5)
SURELY_ABOVE = Difference(1.0, 0.3, 1.7)


def rung(
    alpha: float,
    *,
    english: Difference = ZERO,
    ten: Difference = ZERO,
    own: float = -3.0,
    gain: Difference = SURELY_ABOVE,
    weakest: float = 40.0,
) -> DevRung:
    return DevRung(
        alpha, english, ten, Difference(own, own - 1, own + 1), gain, "aka_Latn", weakest
    )


@pytest.mark.parametrize(
    ("rungs", "alpha", "step"),
    [
        ([rung(0.08), rung(0.15), rung(0.25)], 0.25, "largest that serves well"),
        ([rung(0.08), rung(0.15), rung(0.25, own=-6.1)], 0.15, "largest that serves well"),
        ([rung(0.08), rung(0.15, own=-6.0)], 0.15, "largest that serves well"),
        ([rung(0.08), rung(0.15, english=SURELY_UNDER)], 0.08, "largest that serves well"),
        ([rung(0.08), rung(0.15, ten=SURELY_UNDER)], 0.08, "largest that serves well"),
        ([rung(0.08, weakest=20.0)], 0.08, "largest that serves well"),
        ([rung(0.08, gain=ZERO), rung(0.15), rung(0.25)], 0.25, "largest that serves well"),
        ([rung(0.08), rung(0.15, gain=ZERO)], 0.08, "smallest that gains"),
        ([rung(0.08, gain=ZERO), rung(0.15, own=-8), rung(0.25, own=-9)], 0.15,
         "smallest that gains"),
        ([rung(0.08, gain=ZERO), rung(0.15, own=-8, weakest=29.9), rung(0.25, own=-9)], 0.25,
         "smallest that gains"),
        ([rung(0.08, gain=ZERO), rung(0.15, own=-8, weakest=29.9)], None, "even models stay"),
        ([rung(0.08, gain=SURELY_UNDER)], None, "even models stay"),
        ([rung(0.0)], None, "even models stay"),
        ([], None, "even models stay"),
    ],
)  # fmt: skip
def test_which_rung_ships(rungs: list[DevRung], alpha: float | None, step: str) -> None:
    decision = decide(rungs)
    assert (decision.alpha, decision.step) == (alpha, step)
    assert decide(rungs[::-1]) == decision


def test_the_decision_is_told_with_its_numbers() -> None:
    told = explained("bloom", [rung(0.15), rung(0.08, gain=ZERO)])
    assert told.startswith("bloom: alpha 0.15 (largest that serves well)")
    assert "| 0.15 | +0.00 (-1.00 to +1.00) |" in told
    assert "aka_Latn 40.0 %" in told
    assert told.index("| 0.08 |") < told.index("| 0.15 |")
