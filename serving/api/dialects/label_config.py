"""Label Studio's labeling configuration: what it asks about which field of a task.

    <View>
      <Text name="text" value="$text"/>
      <Choices name="topic" toName="text"><Choice value="sports"/><Choice value="travel"/></Choices>
    </View>

asks which of two labels the task's field `text` has. Other tags are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from xml.parsers import expat

from isogloss.prompts.errors import InvalidInput, TooLarge

MOST_CHARS = 1 << 18
MOST_CONTROLS = 32

_WITHIN_A_TEXT = ("perregion", "peritem")
"""What marks choices that are about a part of a text, which somebody has to draw first."""


class Control(NamedTuple):
    """A group of choices about a text."""

    name: str
    text: str
    """Name of the tag that shows the text."""
    field: str
    """Of a task's data, that holds the text."""
    options: tuple[str, ...]
    """As annotations have them: a choice's alias, where it has one."""


def controls(config: str, where: str) -> tuple[Control, ...]:
    """Read which choices are about texts.

    Args:
        config: XML.
        where: field of the request that holds it, for messages.

    Raises:
        InvalidInput: it is no XML, declares entities, or has no choices about a text, or too many.
        TooLarge: it has too many characters.
    """
    if len(config) > MOST_CHARS:
        raise TooLarge(f"{where}: {len(config)} characters are too many; send at most {MOST_CHARS}")
    tags = _Tags(where)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = tags.begin, tags.end
    parser.StartDoctypeDeclHandler = tags.refuse_doctype
    try:
        parser.Parse(config, True)
    except expat.ExpatError as error:
        raise InvalidInput(f"{where}: it is no XML ({error}); send the project's") from None
    found = tags.controls()
    if not 0 < len(found) <= MOST_CONTROLS:
        raise InvalidInput(
            f"{where}: {len(found)} of its Choices are about a Text; label text with 1 to "
            f'{MOST_CONTROLS}, such as <Text name="text" value="$text"/> and <Choices name="topic" '
            'toName="text">'
        )
    return found


class _Tags:
    """What the tags that matter say, as a parser comes by them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._fields: dict[str, str] = {}
        self._groups: list[tuple[Mapping[str, str], list[str]]] = []
        self._is_open = False

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """Take note of a tag."""
        kind = tag.lower()
        if kind == "text" and attributes.get("valueType", "text") == "text":
            name, value = attributes.get("name", ""), attributes.get("value", "")
            if name and len(value) > 1 and value.startswith("$"):
                self._fields[name] = value[1:]
        elif kind == "choices":
            self._groups.append((attributes, []))
            self._is_open = True
        elif kind == "choice" and self._is_open:
            self._groups[-1][1].append(attributes.get("alias") or attributes.get("value", ""))

    def end(self, tag: str) -> None:
        """Take note of a tag's end."""
        self._is_open = self._is_open and tag.lower() != "choices"

    def refuse_doctype(self, *_: object) -> None:
        """Refuse what may declare entities, which grow when they are read."""
        raise InvalidInput(f"{self._where}: it has a DOCTYPE; leave it out")

    def controls(self) -> tuple[Control, ...]:
        """Those about a text."""
        found = (self._control(*each) for each in self._groups)
        return tuple(each for each in found if each is not None)

    def _control(self, attributes: Mapping[str, str], options: list[str]) -> Control | None:
        flags = {name.lower(): value.lower() for name, value in attributes.items()}
        if any(flags.get(name) == "true" for name in _WITHIN_A_TEXT):
            return None
        about = [name.strip() for name in attributes.get("toName", "").split(",")]
        text = next((name for name in about if name in self._fields), None)
        if text is None or not attributes.get("name"):
            return None
        return Control(attributes["name"], text, self._fields[text], tuple(options))
