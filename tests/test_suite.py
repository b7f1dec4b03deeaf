"""The suite about itself: every test can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.asserting import Suite

TESTS = Path(__file__).parent


def test_every_test_asserts_something_whatever_it_is_given() -> None:
    doubtful = Suite(TESTS).doubtful()
    assert not doubtful, "say `some(...)` of what is looped over, or assert outside of the loop"


@pytest.mark.parametrize(
    ("body", "sure"),
    [
        ("assert x", True),
        ("pass", False),
        ("for x in found():\n        assert x", False),
        ("for x in some(found()):\n        assert x", True),
        ("for x in (1, 2):\n        assert x", True),
        ("for x in ():\n        assert x", False),
        ("for x, y in zip(found(), (1, 2), strict=True):\n        assert x", True),
        ("for x, y in zip(found(), (1, 2)):\n        assert x", False),
        ("for x in TEXTS:\n        assert x", True),
        ("for x in found().items():\n        assert x", False),
        ("if x:\n        assert x", False),
        ("if x:\n        assert x\n    else:\n        assert y", True),
        ("while found():\n        assert x", False),
        ("with pytest.raises(KeyError):\n        found()", True),
        ("with opened() as x:\n        assert x", True),
        ("helper()", True),
        ("def inner():\n        assert x", False),
        ("def inner():\n        assert x\n    inner()", True),
        ("torch.testing.assert_close(x, y)", True),
    ],
)
def test_what_must_assert_is_told_from_what_may(body: str, sure: bool, tmp_path: Path) -> None:
    code = f"def helper():\n    assert x\n\ndef test_it():\n    {body}\n"
    (tmp_path / "test_it.py").write_text(code)
    assert (Suite(tmp_path).doubtful() == []) is sure
