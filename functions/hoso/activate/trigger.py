"""A price drop walks through an audience: one request per person whom it concerns, resumable (reliability R38, R44)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hoso.activate.catalogue import Catalogue
from hoso.activate.documents import Activation, PriceTrigger
from hoso.activate.prices import concerned, had_event, outbox_row, requested
from hoso.activate.store import DeliveryStore
from hoso.platform.clock import Clock
from hoso.platform.dynamo import Table

if TYPE_CHECKING:
    from hoso.segment.members import MemberPage, Place
    from hoso.unify.fragments import New

PAGE = 200
"""People between two notes of the progress."""


Members = Callable[[str, str, int, "Place | None"], "MemberPage"]
"""Members of a segment: workspace, segment, how many, where to begin."""


class TimelineReader(Protocol):
    """What the walk asks of ``unify.people``."""

    def timeline(self, workspace: str, pid: str) -> Iterator[New]:
        """All events of a person, newest first by event time."""
        ...


class PriceWalk:
    """Finds the people whom a price drop concerns and asks for their messages."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: DeliveryStore,
        outbox: Table,
        members: Members,
        people: TimelineReader,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._outbox = outbox
        self._members = members
        self._people = people
        self._clock = clock

    def run(self, detail: Mapping[str, Any], may_go_on: Callable[[], bool]) -> bool:
        """Walk on from where the last run stopped; false when time ran out first.

        Every row has an id of its own that a repetition makes again, so a page that is walked twice does no harm.
        """
        workspace = detail["workspace"]
        product = self._catalogue.product(workspace, detail["product"])
        told = product.model_dump(mode="json") if product else {}
        for key, activation in sorted(concerned(self._catalogue.activations(workspace), detail).items()):
            if not self._audience(detail, key, activation, told, may_go_on):
                return False
        return True

    def _audience(
        self,
        detail: Mapping[str, Any],
        key: str,
        activation: Activation,
        product: Mapping[str, Any],
        may_go_on: Callable[[], bool],
    ) -> bool:
        workspace, name = detail["workspace"], f"{detail['event_id']}#{key}"
        place: Any = self._store.progress(workspace, name) or {"next": None}
        while not place.get("done"):
            if not may_go_on():
                return False
            page = self._members(workspace, activation.audience or "", PAGE, place["next"])
            now = self._clock()
            rows = [
                outbox_row(requested(detail, key, member.pid, product, now))
                for member in page.items
                if self._is_concerned(workspace, member.pid, detail, activation)
            ]
            self._outbox.batch_write(rows)
            place = {"next": list(page.next)} if page.next is not None else {"done": True}
            self._store.put_progress(workspace, name, place, now)
        return True

    def _is_concerned(self, workspace: str, pid: str, detail: Mapping[str, Any], activation: Activation) -> bool:
        if not isinstance(activation.trigger, PriceTrigger):
            return False
        events = (new.event for new in self._people.timeline(workspace, pid))
        return had_event(events, activation.trigger.match, detail["product"], detail["at"])
