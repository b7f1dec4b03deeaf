"""What a labeling configuration asks: by tables, without a server."""

from __future__ import annotations

import pytest

from isogloss.prompts.errors import InvalidInput, TooLarge
from isogloss.serving.api.dialects.label_config import MOST_CHARS, MOST_CONTROLS, Control, controls

TEXT = '<Text name="text" value="$text"/>'
TOPIC = '<Choices name="topic" toName="text"><Choice value="a"/><Choice value="b"/></Choices>'
READ = Control("topic", "text", "text", ("a", "b"))


def choices(attributes: str = "", inner: str = '<Choice value="a"/><Choice value="b"/>') -> str:
    return f'<Choices name="topic" toName="text" {attributes}>{inner}</Choices>'


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (TEXT + TOPIC, [READ]),
        (TOPIC + TEXT, [READ]),  # whichever comes first
        (f"<Header value='x'/><Style>.a {{ }}</Style>{TEXT}<View>{TOPIC}</View>", [READ]),
        (f"<text name='text' value='$text'/>{TOPIC.lower().replace('toname', 'toName')}", [READ]),
        (TEXT + choices('choice="multiple" showInline="true"'), [READ]),
        (TEXT + choices('perRegion="false"'), [READ]),
        (TEXT + choices(inner='<View><Choice value="a"/></View><Choice value="b"/>'), [READ]),
        # An alias is what annotations have.
        (TEXT + choices(inner='<Choice value="A" alias="a"/><Choice value="b" alias=""/>'), [READ]),
        (
            '<Text name="text" value="$body.words"/>' + choices(),
            [READ._replace(field="body.words")],
        ),
        ('<Text name="other" value="$o"/>' + TEXT + TOPIC.replace('"text"', '"o, text"'), [READ]),
        # What is about no text, or about a part of one, is passed over.
        (TEXT + TOPIC + '<Choices name="x" toName="nowhere"><Choice value="a"/></Choices>', [READ]),
        (TEXT + TOPIC + choices('perRegion="true"') + choices('perItem="true"'), [READ]),
        (TEXT + TOPIC + '<Labels name="n" toName="text"><Label value="a"/></Labels>', [READ]),
        (TEXT + TOPIC + '<Choice value="outside"/>', [READ]),
        (TEXT + TOPIC + '<Choices toName="text"><Choice value="a"/></Choices>', [READ]),
        (
            TEXT + TOPIC + TOPIC.replace("topic", "mood"),
            [READ, READ._replace(name="mood")],
        ),
    ],
)
def test_choices_about_texts_are_read(config: str, found: list[Control]) -> None:
    assert list(controls(f"<View>{config}</View>", "schema")) == found


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("", "schema: it is no XML"),
        ("<View>", "schema: it is no XML"),
        ("<View/><View/>", "schema: it is no XML"),
        ("<View>&nbsp;</View>", "schema: it is no XML"),
        ("<View>\0</View>", "schema: it is no XML"),
        ("<View/>", "schema: 0 of its Choices are about a Text; label text"),
        (f"<View>{TOPIC}</View>", "schema: 0 of its Choices"),
        (f'<View><Text name="text" value="words"/>{TOPIC}</View>', "schema: 0 of"),
        (f'<View><Text name="text" value="$t" valueType="url"/>{TOPIC}</View>', "schema: 0 of"),
        (f'<View><Image name="text" value="$t"/>{TOPIC}</View>', "schema: 0 of"),
        (f"<View>{TEXT}{TOPIC * (MOST_CONTROLS + 1)}</View>", f"schema: {MOST_CONTROLS + 1} of"),
        (f"<!DOCTYPE x><View>{TEXT}{TOPIC}</View>", "schema: it has a DOCTYPE"),
        ('<!DOCTYPE x [<!ENTITY a "aa">]><View>&a;</View>', "schema: it has a DOCTYPE"),
    ],
)
def test_what_asks_nothing_about_a_text_is_refused(config: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        controls(config, "schema")


def test_one_that_is_too_long_is_not_read() -> None:
    with pytest.raises(TooLarge, match=rf"schema: {MOST_CHARS + 1} characters"):
        controls(" " * (MOST_CHARS + 1), "schema")


def test_depth_is_no_danger() -> None:
    deep = 20_000
    nested = f"{'<View>' * deep}{TEXT}{TOPIC}{'</View>' * deep}"
    assert controls(nested, "schema") == (READ,)
