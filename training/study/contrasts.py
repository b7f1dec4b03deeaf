"""Means of runs and their differences, with intervals that hold seeds and the articles of the test.

Another seed draws other examples and another starting prompt, for all languages at once; another
test would have other articles, in all languages at once. So a number is a table of seeds by
articles whose cells are means over languages, and both its rows and its columns are samples. The
languages are taken as given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from isogloss.training.study.estimates import LEVEL, Interval
from isogloss.training.study.results import StudyRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Table = NDArray[np.float64]

_PERCENT = 100.0
Part = tuple[float, Sequence[StudyRun]]
"""What runs count by, and a run of each seed."""


def mean_of(runs: Sequence[StudyRun], codes: Iterable[str]) -> Interval:
    """Accuracy of at least one run over languages, in percent."""
    interval = contrast([(1, runs)], codes)
    assert interval is not None
    return interval


def difference_of(
    ours: Sequence[StudyRun], other: Sequence[StudyRun], codes: Iterable[str]
) -> Interval | None:
    """`ours` minus `other` over languages, in points, seed by seed. None: no seed is in both."""
    return contrast([(1, ours), (-1, other)], codes)


def contrast(parts: Sequence[Part], codes: Iterable[str]) -> Interval | None:
    """A weighted sum of accuracies over languages, in points. None: no seed is in every part."""
    seeds = common_seeds(parts)
    return crossed(article_table(parts, seeds, tuple(codes)).mean(-1)) if seeds else None


def common_seeds(parts: Sequence[Part]) -> list[int]:
    """Seeds of which every part has a run."""
    return sorted(set.intersection(*({run.seed for run in runs} for _, runs in parts)))


def article_table(parts: Sequence[Part], seeds: Sequence[int], codes: Sequence[str]) -> Table:
    """(seeds, articles, languages): the weighted sum in points, spread over articles."""
    import numpy as np

    total: Table = np.zeros(())
    for weight, runs in parts:
        by_seed = {run.seed: run for run in runs}
        cells = [[by_seed[seed].by_article[code] for code in codes] for seed in seeds]
        total = total + _PERCENT * weight * np.array(cells, dtype=float)
    return np.asarray(total.transpose(0, 2, 1))


def crossed(table: Table) -> Interval:
    """Mean of (seeds, articles), both drawn at random, and its 95 % interval; none of one seed.

    The variance is that of two crossed random effects, seeds' plus articles' less what both count
    twice, and never below either; Satterthwaite's degrees of freedom go with it.
    """
    import numpy as np
    from scipy.stats import t

    seeds, articles = table.shape
    middle = float(table.mean())
    if seeds < 2:
        return Interval(middle, None, None, seeds)
    by_seed = table.mean(1).var(ddof=1) / seeds
    by_article = table.mean(0).var(ddof=1) / articles if articles > 1 else 0.0
    apart = table - table.mean(1, keepdims=True) - table.mean(0) + middle
    twice = (apart**2).sum() / max(1, (seeds - 1) * (articles - 1)) / table.size
    variance = max(by_seed + by_article - twice, by_seed, by_article)
    if variance < np.finfo(float).tiny:
        return Interval(middle, middle, middle, seeds)
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_article**2 / max(1, articles - 1))
    reach = float(t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))
    return Interval(middle, middle - reach, middle + reach, seeds)
