"""`isogloss bench profile` on a tiny model."""

from typing import Any

import pytest

from isogloss.deploy.bench.profiling import bench_profile, kind_of
from isogloss.deploy.bench.settings import ProfileSettings
from tests.deploy.small_models import tiny_model


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_shares_make_a_whole(dtype: Any) -> None:
    settings = ProfileSettings(dtype=dtype, device="cpu", batch_size=3, runs=1)
    (result,) = bench_profile(settings, make_model=tiny_model)["results"]
    assert result["seconds"] > 0
    assert sum(result["shares"].values()) == pytest.approx(1, abs=0.01)
    for kind in ("matrix products of linear layers", "attention", "norms"):
        assert result["shares"][kind] > 0


def test_operators_have_kinds() -> None:
    assert kind_of("mkldnn::_linear_pointwise") == "matrix products of linear layers"
    assert kind_of("aten::_scaled_dot_product_flash_attention_for_cpu") == "attention"
    assert kind_of("aten::as_strided") == "everything else"
