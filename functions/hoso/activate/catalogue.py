"""The documents of a workspace, read and parsed once per revision set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hoso.activate.documents import (
    Activation,
    EmailDestination,
    Product,
    Template,
    WebhookDestination,
    read_destination,
)
from hoso.model.errors import NotFound
from hoso.platform.control import ControlStore, Document
from hoso.platform.log import logger

D = TypeVar("D", bound=BaseModel)
Destination = EmailDestination | WebhookDestination


class Catalogue:
    """Destinations, templates, activations and products by key, as fresh as the control store keeps its documents."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._parsed: dict[tuple[str, str], tuple[dict[str, Document], dict[str, Any]]] = {}

    def activations(self, workspace: str) -> Mapping[str, Activation]:
        """All activations."""
        return self._all(workspace, "activation", Activation.model_validate)

    def destinations(self, workspace: str) -> Mapping[str, Destination]:
        """All destinations."""
        return self._all(workspace, "destination", read_destination)

    def activation(self, workspace: str, key: str) -> Activation | None:
        """One activation. The sender may have seen a newer list than is kept here: what is missing is read anew."""
        return self.activations(workspace).get(key) or self._one(
            workspace, "activation", key, Activation.model_validate
        )

    def destination(self, workspace: str, key: str) -> Destination | None:
        """One destination, read anew if it is missing."""
        found = self.destinations(workspace).get(key)
        return found or self._one(workspace, "destination", key, read_destination)

    def destination_revision(self, workspace: str, key: str) -> int:
        """The revision of a destination's document; 0 when there is none."""
        document = self._control.all(workspace, "destination").get(key)
        return document.revision if document else 0

    def template(self, workspace: str, key: str) -> Template:
        """One template. Raises ``NotFound``."""
        found = self._all(workspace, "template", Template.model_validate).get(key)
        found = found or self._one(workspace, "template", key, Template.model_validate)
        if found is None:
            raise NotFound(f"no template has the key {key}")
        return found

    def product(self, workspace: str, key: str) -> Product | None:
        """One product, strongly consistent, or None."""
        return self._one(workspace, "product", key, Product.model_validate)

    def _one(self, workspace: str, kind: str, key: str, parse: Callable[[dict[str, Any]], D]) -> D | None:
        try:
            return _parse(self._control.get(workspace, kind, key), parse)
        except NotFound:
            return None

    def _all(self, workspace: str, kind: str, parse: Callable[[dict[str, Any]], D]) -> Mapping[str, D]:
        documents = self._control.all(workspace, kind)
        held = self._parsed.get((workspace, kind))
        if held is None or held[0] is not documents:
            found = {key: model for key, document in documents.items() if (model := _parse(document, parse))}
            held = self._parsed[(workspace, kind)] = (documents, found)
        return held[1]


def _parse(document: Document, parse: Callable[[dict[str, Any]], D]) -> D | None:
    """The model of a document. One that this code cannot read stops nothing else: it is left out and logged."""
    try:
        return parse(document.body)
    except ValidationError:
        logger("activate").error("document left out", extra={"kind": document.kind, "key": document.key})
        return None
