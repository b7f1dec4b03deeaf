"""The faults: one change of one place in a module's syntax tree.

The operators are the usual ones of mutation testing (Offutt et al., 1996): relations, connectors,
arithmetic, constants, conditions, returned values and statements. What no test could see is left
alone: annotations, docstrings, log lines and the texts of messages.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_RELATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
}
_UNSEEN_CALLS = {"debug", "info", "warning", "exception", "error", "Field", "Option", "Argument"}

Change = Callable[[ast.AST], str]
"""Puts a fault into a node in place, and says which."""


@dataclass(frozen=True)
class Mutant:
    """A module with one fault."""

    line: int
    what: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every fault of one module, in the order of its lines."""
    count = len(list(_places(ast.parse(source))))
    found = [_mutant(source, place) for place in range(count)]
    return sorted(found, key=lambda each: (each.line, each.what))


def _mutant(source: str, place: int) -> Mutant:
    tree = copy.deepcopy(ast.parse(source))
    node, change = list(_places(tree))[place]
    line = int(getattr(node, "lineno", 0))
    return Mutant(line, change(node), ast.unparse(ast.fix_missing_locations(tree)))


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, Change]]:
    for node in _seen(tree):
        for change in _changes(node):
            yield node, change


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes whose meaning a test can see."""
    if isinstance(node, ast.Call) and _name(node.func) in _UNSEEN_CALLS:
        return
    if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _seen(child)


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _RELATIONS:
            yield _other_relation
        case ast.BoolOp():
            yield _other_connector
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            yield _other_arithmetic
        case ast.UnaryOp(op=ast.Not()):
            yield _without_not
        case ast.Constant(value=bool() | int() | float()):
            yield _other_constant
        case ast.If() | ast.IfExp() | ast.While():
            yield _other_way
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield _returns_none
    for field in ("body", "orelse", "finalbody"):
        for index, statement in enumerate(_statements(node, field)):
            if _may_go(statement):
                yield _leave_out(field, index)


def _other_relation(node: ast.AST) -> str:
    assert isinstance(node, ast.Compare)
    before = ast.unparse(node)
    node.ops = [_RELATIONS[type(node.ops[0])]()]
    return f"{before} -> {ast.unparse(node)}"


def _other_connector(node: ast.AST) -> str:
    assert isinstance(node, ast.BoolOp)
    before = ast.unparse(node)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"{before} -> {ast.unparse(node)}"


def _other_arithmetic(node: ast.AST) -> str:
    assert isinstance(node, ast.BinOp)
    before = ast.unparse(node)
    node.op = _ARITHMETIC[type(node.op)]()
    return f"{before} -> {ast.unparse(node)}"


def _without_not(node: ast.AST) -> str:
    assert isinstance(node, ast.UnaryOp)
    before = ast.unparse(node)
    node.operand = ast.UnaryOp(ast.Not(), node.operand)  # not not x is bool(x)
    return f"{before} -> {ast.unparse(node.operand.operand)}"


def _other_constant(node: ast.AST) -> str:
    assert isinstance(node, ast.Constant)
    before = node.value
    if isinstance(before, bool):
        node.value = not before
    elif isinstance(before, int | float):
        node.value = before + 1
    return f"{before!r} -> {node.value!r}"


def _other_way(node: ast.AST) -> str:
    assert isinstance(node, ast.If | ast.IfExp | ast.While)
    before = ast.unparse(node.test)
    always = not isinstance(node, ast.While)
    node.test = ast.BoolOp(ast.Or(), [ast.Constant(True), node.test]) if always else (
        ast.Constant(False)
    )  # fmt: skip
    return f"if {before} -> if {always}"


def _returns_none(node: ast.AST) -> str:
    assert isinstance(node, ast.Return)
    before = ast.unparse(node)
    node.value = ast.Constant(None)
    return f"{before} -> return None"


def _leave_out(field: str, index: int) -> Change:
    def leave_out(node: ast.AST) -> str:
        statements = _statements(node, field)
        before = ast.unparse(statements[index])
        statements[index] = ast.Pass()
        return f"{before} left out"

    return leave_out


def _may_go(statement: ast.stmt) -> bool:
    """Whether to leave a statement out is a fault: a call, a change in place, an end."""
    if isinstance(statement, ast.Expr):
        value = statement.value.value if isinstance(statement.value, ast.Await) else statement.value
        return isinstance(value, ast.Call) and _name(value.func) not in _UNSEEN_CALLS
    return isinstance(statement, ast.AugAssign | ast.Raise | ast.Delete | ast.Continue | ast.Break)


def _statements(node: ast.AST, field: str) -> list[ast.stmt]:
    found = getattr(node, field, [])
    return found if isinstance(found, list) else []


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
