"""XML of a sender, read without document types and entities and within bounds: bombs and outside files need these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from hoso.model.errors import InvalidInput

MAX_DEPTH = 20
MAX_ELEMENTS = 20_000
_SEPARATOR = "\n"
_XSI_TYPE = "http://www.w3.org/2001/XMLSchema-instance" + _SEPARATOR + "type"


@dataclass(slots=True)
class Element:
    """An element by its local name. ``kind`` is the local name of its ``xsi:type``, ``text`` what stands in it."""

    name: str
    kind: str = ""
    text: str = ""
    children: list[Element] = field(default_factory=list["Element"])

    def child(self, name: str) -> Element | None:
        """The first child of a name."""
        return next((child for child in self.children if child.name == name), None)

    def text_of(self, name: str) -> str:
        """The text of the first child of a name; empty when there is none."""
        found = self.child(name)
        return found.text if found is not None else ""

    def find(self, name: str) -> Element | None:
        """The first element of a name on any level below."""
        waiting = list(self.children)
        for element in waiting:  # the list grows while it is read
            if element.name == name:
                return element
            waiting += element.children
        return None


def parse_xml(body: bytes) -> Element:
    """The root element.

    Raises:
        InvalidInput: ``invalid_xml``, or ``unsafe_xml`` for a document type, an entity or an encoding but UTF-8.
    """
    parser = expat.ParserCreate("UTF-8", _SEPARATOR)
    parser.buffer_text = True
    builder = _Builder()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.XmlDeclHandler = _declared
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise InvalidInput("the body is not valid XML", code="invalid_xml") from error
    return builder.root.children[0]


class _Builder:
    def __init__(self) -> None:
        self.root = Element("")
        self._open = [self.root]
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise InvalidInput("the XML nests too deep or has too many elements", code="too_deep")
        kind = attributes.get(_XSI_TYPE, "").rpartition(":")[2]
        element = Element(name.rpartition(_SEPARATOR)[2], kind)
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _name: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1].text += text


def _declared(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.upper() not in ("UTF-8", "US-ASCII"):
        raise InvalidInput("XML is read in UTF-8 alone", code="unsafe_xml")


def _refuse(*_given: Any) -> int:
    raise InvalidInput("XML with a document type or entities is not read", code="unsafe_xml")
