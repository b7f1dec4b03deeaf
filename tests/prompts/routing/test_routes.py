from __future__ import annotations

import pytest
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.routing.routes import (
    Route,
    RouteEvidence,
    RouteTable,
    check_name,
    parse_reference,
)
from tests.prompts import samples

TABLE = samples.table("world@2", Romance="romance", Italic="italic", Bantu="bantu@3")


@pytest.mark.parametrize(
    ("lineage", "expected"),
    [
        (["Indo-European", "Italic", "Romance"], Route("romance", "Romance", "clade")),
        (["Indo-European", "Italic", "Romance", "Gascon"], Route("romance", "Romance", "clade")),
        (["Indo-European", "Italic"], Route("italic", "Italic", "clade")),
        (["Atlantic-Congo", "Bantu"], Route("bantu@3", "Bantu", "clade")),
        (["Indo-European", "Germanic"], Route("world@2", None, "universal")),
        ([], Route("world@2", None, "universal")),
    ],
)
def test_the_deepest_routed_clade_decides(lineage: list[str], expected: Route) -> None:
    assert TABLE.route(lineage) == expected


@pytest.mark.parametrize(
    ("lineage", "temperature"),
    [
        (["Indo-European", "Italic", "Romance"], 0.8),
        (["Indo-European", "Italic"], 1.5),
        (["Indo-European", "Italic", "Romance", "Gascon"], 0.7),
        (["Indo-European", "Germanic"], 1.2),
        (["Atlantic-Congo", "Bantu"], 1.0),  # its ancestors' belong to another prompt
        (["Uralic"], 1.1),
        ([], 1.1),
    ],
)
def test_a_temperature_belongs_to_a_clade_and_the_prompt_that_answers_it(
    lineage: list[str], temperature: float
) -> None:
    table = TABLE.model_copy(
        update={
            "temperatures": {
                "universal": 1.1,
                "Indo-European": 1.2,
                "Atlantic-Congo": 2.0,
                "Italic": 1.5,
                "Romance": 0.8,
                "Gascon": 0.7,
            }
        }
    )
    assert table.route(lineage).temperature == temperature


def test_new_routes_drop_the_temperatures_of_old_prompts() -> None:
    known = {"universal": 1.1, "Uralic": 1.3, "Romance": 0.8, "Italic": 1.5}
    table = TABLE.model_copy(update={"temperatures": known})
    # Uralic has no route: under which prompt its temperature was fitted, the table cannot tell.
    assert table.with_routes("new", ["Romance"]).temperatures == {"universal": 1.1, "Italic": 1.5}
    assert table.with_routes("new", ["universal"]).temperatures == {"Romance": 0.8, "Italic": 1.5}
    assert table.with_routes("new", []).temperatures == known


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_a_positive_number(temperature: float) -> None:
    with pytest.raises(ValidationError, match="temperatures"):
        RouteTable(
            model=TABLE.model,
            task="topic",
            universal="world",
            temperatures={"Romance": temperature},
        )


def test_each_reference_of_a_table_is_listed_once() -> None:
    table = samples.table("world", Romance="romance", Bantu="world", Italic="romance")
    assert table.references == ("world", "romance")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("romance-plain-10", ("romance-plain-10", None)),
        ("romance@3", ("romance", 3)),
        ("0.a_b-c@12", ("0.a_b-c", 12)),
        ("a" * 64, ("a" * 64, None)),
    ],
)
def test_references_are_parsed(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "@1", "a@", "a@0", "a@-1", "a@1.5", "a@x", "a@1@2", "a@١", "..", ".a", "-a", "a/b", "/etc",
     "../a", "a\\b", "A", "é", "a b", "a\n", "a\0", "a" * 65, "a@" + "9" * 10],
)  # fmt: skip
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_reference(text)
    with pytest.raises(ValidationError, match="universal"):
        samples.table(text)


def test_a_name_has_no_version() -> None:
    with pytest.raises(InvalidInput, match="romance@3"):
        check_name("romance@3")


def test_a_table_survives_json_with_fields_of_later_evidence() -> None:
    evidence = RouteEvidence.model_validate(
        {"clade": "Romance", "prompt": "romance", "dev_accuracy": 0.5, "p_value": 0.01}
    )
    table = TABLE.model_copy(update={"evidence": (evidence,)})
    again = RouteTable.model_validate_json(table.model_dump_json())
    assert again == table
    assert again.evidence[0].model_dump()["p_value"] == 0.01


def test_new_routes_replace_old_ones_and_the_evidence_for_them() -> None:
    old = TABLE.model_copy(
        update={
            "evidence": (
                RouteEvidence(clade="Romance", prompt="romance"),
                RouteEvidence(clade=None, prompt="world@2"),
            )
        }
    )
    new = old.with_routes("better", ["Romance", "Turkic"])
    assert new.clades == {**old.clades, "Romance": "better", "Turkic": "better"}
    assert new.universal == "world@2"
    assert [entry.clade for entry in new.evidence] == [None]
    assert old.with_routes("better", ["universal"]).universal == "better"
