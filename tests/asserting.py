"""Whether a test must assert something, read off its code.

A test whose every assertion stands in a loop that may be empty, or in one branch of an `if`, may
pass without having looked at anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SURE_CALLS = {"raises", "warns", "fail", "some", "call_and_validate"}
_KEEP_LENGTH = {"enumerate", "reversed", "sorted", "list", "tuple", "set", "items", "values"}


class Suite:
    """All functions of a folder of tests, by name: a test may assert through a helper."""

    def __init__(self, folder: Path) -> None:
        self._trees = {
            path: ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(folder.rglob("*.py"))
        }
        functions = [
            node for tree in self._trees.values() for node in ast.walk(tree)
            if isinstance(node, _FUNCTIONS)
        ]  # fmt: skip
        self._sure = set(_SURE_CALLS)
        before = -1
        while len(self._sure) > before:  # helpers call helpers
            before = len(self._sure)
            self._sure |= {each.name for each in functions if self._any(each.body)}

    def doubtful(self) -> list[str]:
        """`file:line name` of every test that may end without an assertion."""
        return [
            f"{path.name}:{node.lineno} {node.name}"
            for path, tree in self._trees.items()
            for node in ast.walk(tree)
            if isinstance(node, _FUNCTIONS)
            and node.name.startswith("test_")
            and not self._any(node.body)
        ]

    def _any(self, statements: Sequence[ast.stmt]) -> bool:
        return any(self._asserts(each) for each in statements)

    def _asserts(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Assert():
                return True
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return False  # it counts where it is called
            case ast.If():
                return self._any(statement.body) and self._any(statement.orelse)
            case ast.For() | ast.AsyncFor():
                return self._calls(statement.iter) or (
                    _is_some(statement.iter) and self._any(statement.body)
                )
            case ast.While():
                return isinstance(statement.test, ast.Constant) and self._any(statement.body)
            case ast.With() | ast.AsyncWith():
                opened = any(self._calls(item.context_expr) for item in statement.items)
                return opened or self._any(statement.body)
            case ast.Try():
                return self._any(statement.body) or self._any(statement.finalbody)
            case _:
                return self._calls(statement)

    def _calls(self, node: ast.AST) -> bool:
        return any(
            name in self._sure or name.startswith("assert_")
            for call in ast.walk(node)
            if isinstance(call, ast.Call)
            for name in _names(call.func)
        )


def _names(function: ast.expr) -> Iterator[str]:
    if isinstance(function, ast.Name):
        yield function.id
    if isinstance(function, ast.Attribute):
        yield function.attr


def _is_some(items: ast.expr) -> bool:
    """Whether something is looped over for sure: what is written out, or a constant by its name."""
    match items:
        case ast.List() | ast.Tuple() | ast.Set():
            return bool(items.elts)
        case ast.Dict():
            return bool(items.keys)
        case ast.Name():
            return items.id.isupper()
        case ast.Attribute():
            return items.attr.isupper()
        case ast.Call(func=ast.Name(id="range")):
            return all(isinstance(each, ast.Constant) or _is_some(each) for each in items.args)
        case ast.Call(func=ast.Name(id="zip")):
            strict = any(each.arg == "strict" and _true(each.value) for each in items.keywords)
            return (any if strict else all)(map(_is_some, items.args))
        case ast.Call(func=ast.Attribute(value=of)) if not items.args:
            return _names_one_of(items, _KEEP_LENGTH) and _is_some(of)
        case ast.Call():
            return _names_one_of(items, _KEEP_LENGTH) and all(map(_is_some, items.args))
    return False


def _names_one_of(call: ast.Call, known: set[str]) -> bool:
    return any(name in known for name in _names(call.func))


def _true(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is True
