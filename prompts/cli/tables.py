"""The same answers as `prompts.store.listing` gives, as tables for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group

from isogloss.prompts.console.plain_table import PlainTable, plain

if TYPE_CHECKING:
    from isogloss.prompts.store.verify import Report

_NESTED = ("model", "labels", "training", "members")
_SHOWN_CHANGES = 5
_SHOWN_TEMPERATURES = 8
_DIGEST_CHARS = len("sha256:") + 12


def prompts(answer: Mapping[str, Any]) -> Group:
    """One row per prompt."""
    title = f"{answer['store']}, generation {answer['generation']}"
    columns = ["name", "version", "model", "task", "position", "kind", "length", "dev", "routes"]
    table = _table([*columns, "digest"])
    for prompt in answer["prompts"]:
        table.add_row(prompt["name"], _version(prompt), *_facts(prompt))
    running = [plain(f"on trial: {_trial(trial)}") for trial in answer["trials"]]
    return Group(_title(title), table, *running)


def trials(answer: Mapping[str, Any]) -> Group:
    """One row per trial."""
    title = f"{answer['store']}, generation {answer['generation']}"
    if not answer["trials"]:
        return Group(_title(title), plain("nothing is on trial"))
    columns = ["candidate", "kind", "share", "model", "task", "beside", "ends by itself", "since"]
    table = _table(columns)
    for trial in answer["trials"]:
        beside = ", ".join(f"{routed} ({clade})" for clade, routed in trial["routed"].items())
        cells = [trial["candidate"], trial["kind"], _percent(trial["share"]), trial["model"]]
        cells += [trial["task"], beside, _limits(trial["limits"]), trial["started_at"]]
        table.add_row(*cells)
    return Group(_title(title), table)


def _trial(trial: Mapping[str, Any]) -> str:
    clades = ", ".join(trial["routed"])
    return f"{trial['candidate']}, {trial['kind']}, {_percent(trial['share'])} of {clades}"


def _limits(limits: Mapping[str, Any] | None) -> str:
    named = {key: value for key, value in (limits or {}).items() if value is not None}
    texts = named.pop("min_texts", None)
    rules = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in named.items())
    return f"{rules}, after {texts} texts" if rules else "never"


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def details(prompt: Mapping[str, Any]) -> Group:
    """One prompt, a row per fact."""
    table = _table(["", ""], header=False)
    card = prompt["card"] or {}
    facts = {key: value for key, value in prompt.items() if key not in ("card", "routes", "trial")}
    facts["trial"] = _trial(prompt["trial"]) if prompt["trial"] else None
    facts["routes"] = ", ".join(route["clade"] for route in prompt["routes"]) or "none"
    facts["temperatures"] = _temperatures(prompt["routes"])
    facts.update({key: value for key, value in card.items() if key not in _NESTED})
    if card.get("template"):
        facts["template"] = repr(card["template"])  # blanks at its ends count
    facts["labels"] = ", ".join(f"{one['label']} ({one['word']})" for one in card.get("labels", ()))
    facts["members"] = ", ".join(map(_member, card.get("members", ()))) or None
    for group in ("model", "training"):
        facts.update(
            {f"{group}.{key}": _short(value) for key, value in card.get(group, {}).items()}
        )
    for key, value in facts.items():
        if value is not None:
            table.add_row(key, str(value))
    return Group(_title(f"{prompt['name']}@{prompt['version']}"), table)


def _member(member: Mapping[str, Any]) -> str:
    version = member["version"]
    return member["name"] if version is None else f"{member['name']}@{version}"


def verified(location: str, report: Report) -> Group:
    """What a verification found, a row per problem."""
    title = (
        f"{location}, generation {report.newest}: {report.generations} generations and "
        f"{report.objects} prompt files checked, {report.unreferenced} that nothing refers to"
    )
    table = _table(["problem", "what", "needed by", "quarantined", "repaired", "reason"])
    for one in report.problems:
        cells = [one.kind, one.what, ", ".join(one.needed_by), one.quarantined, one.repaired]
        table.add_row(*(cell or "" for cell in [*cells, one.reason]))
    if not report.problems:
        return Group(_title(title), plain("nothing is wrong"))
    return Group(_title(title), table)


def _temperatures(routes: Sequence[Mapping[str, Any]]) -> str | None:
    """What scores are divided by: the first few clades; None where nothing was calibrated."""
    named = [f"{clade} {t:.2f}" for route in routes for clade, t in route["temperatures"].items()]
    more = len(named) - _SHOWN_TEMPERATURES
    rest = f" and {more} more, see --json" if more > 0 else ""
    return ", ".join(named[:_SHOWN_TEMPERATURES]) + rest or None


def generations(answer: Mapping[str, Any]) -> Group:
    """One row per generation, newest first, with the prompts that changed since the one before."""
    table = _table(["generation", "published", "note", "restores", "prompts changed", "on trial"])
    newest_first = answer["generations"]
    for index, one in enumerate(newest_first):
        earlier = (other["current"] for other in newest_first[index + 1 :] if not other["problem"])
        before = one["current"] if one["problem"] else next(earlier, {})
        table.add_row(
            str(one["generation"]),
            one["published_at"],
            one["problem"] or one["note"],
            str(one["restores"] or ""),
            _changes(one["current"], before),
            "; ".join(map(_trial, one["trials"])),
        )
    return Group(_title(answer["store"]), table)


def _changes(current: Mapping[str, int | None], before: Mapping[str, int | None]) -> str:
    changed = {n: version for n, version in current.items() if before.get(n) != version}
    named = [f"{n}@{version}" if version else f"{n} withdrawn" for n, version in changed.items()]
    more = f" and {len(named) - _SHOWN_CHANGES} more" if len(named) > _SHOWN_CHANGES else ""
    return ", ".join(named[:_SHOWN_CHANGES]) + more


def published(answer: Mapping[str, Any]) -> Group:
    """What a publish did."""
    done = "" if answer["changed"] else " (nothing changed)"
    title = f"{answer['store']}, generation {answer['generation']}{done}"
    table = _table(["name", "version", "digest"])
    for prompt in answer["prompts"]:
        table.add_row(prompt["name"], str(prompt["version"]), prompt["digest"])
    running = [plain(f"on trial: {_trial(trial)}") for trial in answer.get("trials", ())]
    return Group(_title(title), table, *running)


def _short(value: Any) -> Any:
    """Return a plain value, or how much there is of a nested one (a run's history is long)."""
    return f"{len(value)} entries, see --json" if isinstance(value, list | dict) else value


def _version(prompt: Mapping[str, Any]) -> str:
    newest = max(prompt["versions"])
    known = "" if newest == prompt["version"] else f" of {newest}"
    return f"{prompt['version']}{known}" if prompt["current"] else f"(withdrawn {newest})"


def _facts(prompt: Mapping[str, Any]) -> list[str]:
    routes = ", ".join(route["clade"] for route in prompt["routes"])
    digest = prompt["digest"][:_DIGEST_CHARS]
    card = prompt["card"]
    if card is None:
        return [prompt["problem"], "", "", "", "", "", routes, digest]
    dev = "" if card["dev_accuracy"] is None else f"{card['dev_accuracy']:.3f}"
    kind = [card["model"]["id"], card["task"], card["position"], card["kind"]]
    return [*kind, str(prompt["length"]), dev, routes, digest]


def _table(columns: Sequence[str], *, header: bool = True) -> PlainTable:
    table = PlainTable(show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _title(text: str) -> Any:
    """Return a line above a table; a table's own title would be broken to the table's width."""
    return plain(text, "bold")
