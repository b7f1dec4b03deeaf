"""Metrics are stable: the server, its documentation and the dashboard agree on them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.from_code import metrics_page
from isogloss.serving.telemetry.metrics import ServingMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "isogloss.json"
OF_REPLICAS = {"model", "replica"}
_ROW = re.compile(r"^\| `(isogloss_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def served() -> dict[str, tuple[str, set[str]]]:
    """Name as it is documented -> type and labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    metrics = ServingMetrics()
    for each in vars(metrics).values():
        for family in each.describe() if hasattr(each, "describe") else ():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(family, "_labelnames", None) or each._labelnames
            found[name] = (family.type, set(labels))
    return found


def test_every_metric_is_documented_and_the_other_way_round() -> None:
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in _ROW.findall(metrics_page())
    }
    assert documented == served()


def test_names_and_labels_have_not_changed() -> None:
    # Dashboards and alerts outside this repository depend on these: add, but do not rename.
    kept = {
        "isogloss_requests_total": {"route", "status", "error_type"},
        "isogloss_request_seconds": {"route", "class"},
        "isogloss_texts_total": {"task", "clade", "reason"},
        "isogloss_stage_seconds": {"stage"},
        "isogloss_generation": set(),
        "isogloss_swap_seconds": set(),
        "isogloss_refused_total": {"reason"},
        "isogloss_left_total": {"reason"},
        "isogloss_store_problem": set(),
        "isogloss_trial_texts_total": {"candidate", "kind", "clade"},
        "isogloss_trial_seconds": {"candidate", "kind", "clade", "side"},
    }
    found = served()
    assert {name: found[name][1] for name in kept} == kept


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def samples() -> dict[str, set[str]]:
    """Every sample name a query may use -> its labels."""
    found: dict[str, set[str]] = {}
    for name, (kind, labels) in served().items():
        own = labels | OF_REPLICAS
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    return found


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are(
    dashboard: dict[str, Any],
) -> None:
    known = samples()
    asked: set[str] = set()
    for expression in expressions(dashboard):
        names = set(re.findall(r"\bisogloss_\w+", expression))
        assert names <= set(known), expression
        assert names, expression
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression))
        labels |= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
        assert labels <= set.union(*(known[name] for name in names)), expression
        assert expression.count("(") == expression.count(")")
        asked |= names
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert families == set(served()), "every metric has its place on the dashboard"


def test_the_dashboard_loads_without_edits(dashboard: dict[str, Any]) -> None:
    assert "__inputs" not in dashboard  # provisioning does not ask; a variable chooses the source
    source, *_ = dashboard["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    variable = {"type": "prometheus", "uid": "${datasource}"}
    panels = dashboard["panels"]
    assert all(panel["datasource"] == variable for panel in panels if panel["type"] != "row")
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
