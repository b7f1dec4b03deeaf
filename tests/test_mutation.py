"""The faults that `python -m tests.mutation` puts into the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.operators import mutants
from tests.mutation.own_tests import Imports


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = a < b", ["a < b -> a <= b"]),
        ("x = a and b", ["a and b -> a or b"]),
        ("x = a + b", ["a + b -> a - b"]),
        ("x = not a", ["not a -> a"]),
        ("x = 3", ["3 -> 4"]),
        ("x = True", ["True -> False"]),
        ("if a:\n    pass", ["if a -> if True"]),
        ("def f():\n    return a", ["return a -> return None"]),
        ("f(a)", ["f(a) left out"]),
        ("x += a", ["x += a left out"]),
        ("raise a", ["raise a left out"]),
        ("logger.info(3)", []),
        ("x: Literal[3]", []),
        ("'''a docstring'''", []),
        ("if TYPE_CHECKING:\n    f()", []),
    ],
)
def test_every_operator_makes_its_fault(code: str, expected: list[str]) -> None:
    found = mutants(code)
    assert [each.what for each in found] == expected
    for each in found:
        compile(each.source, "mutant", "exec")
        assert each.source != code


def test_a_fault_is_one_change_and_leaves_the_rest() -> None:
    code = "def f(a, b):\n    g(a)\n    return a < b\n"
    (left_out, relation, none) = sorted(mutants(code), key=lambda each: each.what[-1] + each.what)
    sources = {each.what: each.source for each in (left_out, relation, none)}
    assert sources["g(a) left out"] == "def f(a, b):\n    pass\n    return a < b"
    assert sources["a < b -> a <= b"] == "def f(a, b):\n    g(a)\n    return a <= b"
    assert sources["return a < b -> return None"] == "def f(a, b):\n    g(a)\n    return None"


def test_a_modules_own_tests_are_the_nearest(tmp_path: Path) -> None:
    files = {
        "pack/deep.py": "",
        "pack/user.py": "from isogloss.pack import deep",
        "pack/alone.py": "",
        "tests/test_deep.py": "from isogloss.pack.deep import x",
        "tests/test_other.py": "import isogloss.pack.user",
        "tests/test_user.py": "import isogloss.pack.user",
    }
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    imports = Imports(tmp_path, ["pack"])
    found = {
        name: [test.name for test in imports.tests_of(tmp_path / f"pack/{name}.py")]
        for name in ("deep", "user", "alone")
    }
    assert found == {
        "deep": ["test_deep.py"],
        "user": ["test_user.py", "test_other.py"],
        "alone": [],
    }
