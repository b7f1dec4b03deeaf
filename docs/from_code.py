"""The reference, out of the code: command line, OpenAPI, settings, metrics and Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

ROOT = Path(__file__).parent.parent
ROOMS = (
    "prompts/format",
    "prompts/routing",
    "prompts/store",
    "prompts/languages",
    "prompts/model",
    "training/data",
    "training/tuning",
    "training/evaluation",
    "training/selection",
    "training/calibration",
    "serving/client",
    "serving/integrations",
    "serving/detection",
    "serving/pipeline",
)
"""Folders whose public names the Python reference shows."""


def reference_pages() -> dict[str, str]:
    """The reference out of the code: path in the site -> Markdown."""
    pages = {
        "reference/command-line.md": command_line_page(),
        "reference/openapi.md": openapi_page(openapi()),
        "reference/settings.md": settings_page(),
        "reference/metrics.md": metrics_page(),
    }
    return pages | {
        f"reference/python/{room.replace('/', '-')}.md": python_page(room) for room in ROOMS
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars and line ends in cells are taken care of."""
    lines = [list(head), ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """A docstring as Markdown: what looks like HTML is text, and `Raises:` is a list."""
    pieces = re.split(r"(`[^`\n]*`)", text)
    pieces[::2] = [piece.replace("<", "&lt;").replace("*", "\\*") for piece in pieces[::2]]
    lines, listed = [], False
    for line in "".join(pieces).splitlines():
        if heading := re.fullmatch(r"(Raises|Returns|Yields|Args):", line.strip()):
            lines += ["", f"{heading[1]}:", ""]
            listed = True
        elif listed and re.match(r"    \S", line):
            lines.append(f"- {line.strip()}")
        elif listed and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
            listed = listed and not line.strip()
    return "\n".join(lines)


def commands() -> dict[str, Any]:
    """Every command by its words, such as `isogloss prompts list`, as click has it."""
    from typer.main import get_command

    from isogloss.deploy.cli import app

    def below(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield words, command
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, f"{words} {name}")

    return dict(below(get_command(app), "isogloss"))


def command_line_page() -> str:
    """Every command with its options."""
    parts = [
        "# Command line\n\nThe same as `isogloss COMMAND --help` says. Every command that reports "
        "takes `--json`, and then prints one JSON object on standard output.\n"
    ]
    for words, command in commands().items():
        arguments = " ".join(each.metavar or each.name.upper() for each in _arguments(command))
        parts.append(f"## {words}\n\n    {words} [OPTIONS] {arguments}\n")
        parts.append(prose(command.help or "") + "\n")
        parts.append(table(("option", "default", "what"), map(_option, _options(command))))
    return "\n".join(parts)


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option"]


def _option(option: Any) -> tuple[str, str, str]:
    names = " ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.default
    if option.required:
        shown = "required"
    elif default in (None, (), [], False) or callable(default):
        shown = ""
    else:
        shown = (
            f"`{' '.join(map(str, default)) if isinstance(default, (list, tuple)) else default}`"
        )
    return names, shown, prose(option.help or "")


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the server, without a server."""
    from isogloss.serving.api.admin import Admin
    from isogloss.serving.api.http import build_api
    from isogloss.serving.config import ServingSettings
    from isogloss.serving.http.service import Service
    from isogloss.serving.telemetry.metrics import ServingMetrics

    service = SimpleNamespace(settings=ServingSettings(), metrics=ServingMetrics())
    api = build_api(cast(Service, service), cast(Admin, SimpleNamespace()))
    return dict(api.openapi())


def openapi_page(document: Mapping[str, Any]) -> str:
    """Every route and every schema."""
    parts = [
        "# OpenAPI\n\nA running server has this document at `/openapi.json` and shows it at "
        "`/docs`; [openapi.json](openapi.json) is the same. For people: [HTTP](http.md).\n"
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += [f"## {method.upper()} {path}\n", prose(operation.get("summary", "")) + ".\n"]
            if described := operation.get("description"):
                parts.append(prose(described) + "\n")
            rows = [
                (f"`{each['name']}`", each["in"], prose(each.get("description", "")))
                for each in operation.get("parameters", ())
            ]
            parts.append(table(("parameter", "in", "what"), rows) if rows else "")
            parts.append(_bodies(operation))
    parts.append("## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f"### {name}\n")
        parts.append(prose(schema.get("description", "")) + "\n")
        required = schema.get("required", ())
        parts.append(
            table(
                ("field", "type", "required", "what"),
                [
                    (
                        f"`{field}`",
                        _type(each),
                        "yes" if field in required else "",
                        prose(each.get("description", "")),
                    )
                    for field, each in schema.get("properties", {}).items()
                ],
            )
        )
    return "\n".join(parts)


def _bodies(operation: Mapping[str, Any]) -> str:
    lines = []
    for kind, each in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"- Body: {kind}, {_type(each.get('schema', {}))}")
    for status, answer in operation.get("responses", {}).items():
        for kind, each in answer.get("content", {"": {}}).items():
            lines.append(f"- {status}: {kind} {_type(each.get('schema', {}))}".rstrip())
    return "\n".join(lines) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(each) for each in options)
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if values := schema.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    return str(schema.get("type", ""))


def settings_page() -> str:
    """Every setting of a server, with the docstring below it."""
    from isogloss.serving.config import ServingSettings
    from isogloss.serving.environment import variable_of

    said = field_docs(ROOT / "serving" / "config.py", "ServingSettings")
    rows = [
        (
            f"`{name}`",
            f"`{variable_of(name)}`",
            f"`{field.get_default()}`",
            prose(said.get(name, "")),
        )
        for name, field in ServingSettings.model_fields.items()
    ]
    return (
        "# Settings of a server\n\nThe `args` of `deploy/serve.yaml` are these, and so are the "
        "options of `isogloss serve`, where it has one of the name. An unknown setting is refused. "
        "Each may stand in the environment, too, under the variable beside it. The command line "
        "wins over the environment, that over `serve.yaml`: [Environment](environment.md).\n\n"
        + table(("setting", "variable", "default", "what"), rows)
    )


def field_docs(path: Path, name: str) -> dict[str, str]:
    """Strings below the fields of a class: field -> string."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    [body] = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    return {
        field.target.id: str(note.value.value)
        for field, note in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(note, ast.Expr)
        and isinstance(note.value, ast.Constant)
    }


def metrics_page() -> str:
    """Every metric of the server's registry, with its labels."""
    from isogloss.serving.telemetry.metrics import ServingMetrics

    rows = []
    for each in vars(ServingMetrics()).values():
        for family in each.describe() if hasattr(each, "describe") else ():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(family, "_labelnames", None) or each._labelnames
            named = ", ".join(f"`{label}`" for label in labels)
            rows.append((f"`{name}`", family.type, named, prose(family.documentation)))
    return (
        "# Metrics\n\n`/metrics` of any replica has the numbers of all, further labelled `model` "
        "and `replica`. Names and labels change with a major version only. How to scrape and show "
        "them: [Observe](../how-to/observe.md).\n\n"
        + table(("metric", "type", "labels", "what"), rows)
    )


def python_page(room: str) -> str:
    """Public classes and functions of a folder's modules, with their docstrings."""
    folder = ROOT / room
    package = f"isogloss.{room.replace('/', '.')}"
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    parts = [f"# {package}\n", prose(doc or "") + "\n"]
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [node for node in tree.body if _is_public(node)]
        if path.stem != "__init__" and public:
            parts.append(f"## {path.stem}\n")
            parts.append(prose(ast.get_docstring(tree) or "") + "\n")
            parts += [_definition(node, f"{package}.{path.stem}") for node in public]
    return "\n".join(parts)


def _is_public(node: ast.stmt) -> bool:
    defined = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return defined and not cast(ast.FunctionDef, node).name.startswith("_")


def _definition(node: ast.stmt, module: str) -> str:
    node = cast(ast.ClassDef | ast.FunctionDef, node)
    said = prose(ast.get_docstring(node) or "")
    parts = [f"### {node.name}\n", f"```python\n{_signature(node)}\n```\n", said + "\n"]
    if isinstance(node, ast.ClassDef):
        methods = [
            each for each in node.body if _is_public(each) and ast.get_docstring(cast(Any, each))
        ]
        for each in cast(list[ast.FunctionDef], methods):
            parts.append(f"**{each.name}**\n\n```python\n{_signature(each)}\n```\n")
            parts.append(prose(ast.get_docstring(each) or "") + "\n")
    return "\n".join(parts)


def _signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """The head of a definition, and the fields of a class, without bodies."""
    if isinstance(node, ast.ClassDef):
        head = f"class {node.name}({', '.join(map(ast.unparse, node.bases))})".replace("()", "")
        fields = [
            f"    {ast.unparse(each)}"
            for each in node.body
            if isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_")
        ]
        return "\n".join([f"{head}:", *fields]) if fields else head
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    marks = [f"@{ast.unparse(each)}" for each in node.decorator_list]
    one = f"{kind} {node.name}({ast.unparse(node.args)}){gives}"
    if len(one) > 100:
        one = f"{kind} {node.name}(\n    {_broken(node.args)},\n){gives}"
    return "\n".join([*marks, one])


def _broken(arguments: ast.arguments) -> str:
    """Arguments one a line; commas within brackets part nothing."""
    text, depth, lines = ast.unparse(arguments), 0, [""]
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            lines.append("")
        else:
            lines[-1] += letter
    return ",\n    ".join(line.strip() for line in lines)
