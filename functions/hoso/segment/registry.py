"""One meter per distinct question about events, shared by all rules that ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hoso.segment import folding, meters
from hoso.segment.event_language import Where
from hoso.segment.filters import Filter, event_filter
from hoso.segment.person import RuleEvent
from hoso.segment.timing import EventWindow
from hoso.segment.values import getter, number
from hoso.segment.zones import Zone

Bounds = tuple[int, int]
Read = Callable[[RuleEvent], Any]
Shared = TypeVar("Shared")


@dataclass(slots=True, eq=False)
class Ref:
    """Stands for a meter while rules are compiled; ``id`` is known once all of them were seen."""

    id: str = ""


@dataclass(slots=True)
class _Request:
    ref: Ref
    names: frozenset[str] | None
    make: Callable[[str, int | None], meters.Fold]
    parts: tuple[object, ...]
    extents: list[int | None] = field(default_factory=list[int | None])


def names_of(names: tuple[str, ...]) -> frozenset[str] | None:
    """The names an ``event`` key means; None: every name."""
    return None if "*" in names else frozenset(names)


class Registry:
    """Collects the meters that rules ask for. Depths and horizons of a shared meter are the greatest asked for."""

    def __init__(self) -> None:
        self._requests: dict[tuple[object, ...], _Request] = {}
        self._filters: dict[tuple[str, str], Filter] = {}
        self._shared: dict[object, Any] = {}

    def newest(self, names: tuple[str, ...], where: Where | None, zone: Zone, bounds: Bounds | None, depth: int) -> Ref:
        """The newest ``depth`` timestamps."""
        test = self.filter(where, zone)
        return self._request(
            ("n", *self._what(names, where, zone), bounds),
            names,
            lambda identity, extent: folding.newest_meter(identity, extent or 1, test, bounds),
            depth,
        )

    def entries(
        self, names: tuple[str, ...], where: Where | None, zone: Zone, window: EventWindow, of: str | None, form: str
    ) -> Ref:
        """Entries of a window with the ``form`` (``number``, ``text``, ``raw``) of the value at ``of``."""
        test, read, bounds = self.filter(where, zone), _read(of, form), window.fixed
        return self._request(
            ("e", *self._what(names, where, zone), bounds, of, form),
            names,
            lambda identity, extent: folding.entries_meter(identity, test, read, extent, bounds),
            window.horizon_ms,
        )

    def projected(self, names: tuple[str, ...], paths: tuple[str, ...], window: EventWindow) -> Ref:
        """Entries whose value is a copy of the event with only these paths: for filters that time moves."""
        reads = [(path, getter(path)) for path in paths]

        def project(event: RuleEvent) -> Any:
            return [meters.kept_value(read(event.body)) for _, read in reads] + [event.name]

        bounds = window.fixed
        return self._request(
            ("e", tuple(sorted(names)), "projected", bounds, paths),
            names,
            lambda identity, extent: folding.entries_meter(identity, None, project, extent, bounds),
            window.horizon_ms,
        )

    def totals(self, names: tuple[str, ...], where: Where | None, zone: Zone, of: str | None) -> Ref:
        """Count, sum and extremes over all time."""
        test, read = self.filter(where, zone), _read(of, "number")
        return self._request(
            ("s", *self._what(names, where, zone), of),
            names,
            lambda identity, _: folding.totals_meter(identity, test, read),
            None,
        )

    def ends(self, kind: str, names: tuple[str, ...], where: Where | None, zone: Zone, of: str) -> Ref:
        """The first (``f``) or the last (``l``) value."""
        test, read = self.filter(where, zone), _whole(of)
        make = folding.first_meter if kind == "f" else folding.last_meter
        return self._request(
            (kind, *self._what(names, where, zone), of, meters.LONGEST_SINGLE),
            names,
            lambda identity, _: make(identity, test, read),
            None,
        )

    def frequent(self, names: tuple[str, ...], where: Where | None, zone: Zone, of: str) -> Ref:
        """How often each text form came, over all time."""
        test, read = self.filter(where, zone), _uncut(of)
        return self._request(
            ("m", *self._what(names, where, zone), of, meters.LONGEST_VALUE),
            names,
            lambda identity, _: folding.frequent_meter(identity, test, read),
            None,
        )

    def unique(self, names: tuple[str, ...], where: Where | None, zone: Zone, horizon_ms: int | None, of: str) -> Ref:
        """When each text form was last seen."""
        test, read = self.filter(where, zone), _read(of, "text") or _timestamp
        return self._request(
            ("u", *self._what(names, where, zone), of),
            names,
            lambda identity, extent: folding.unique_meter(identity, test, read, extent),
            horizon_ms,
        )

    def sequence(
        self,
        steps: tuple[tuple[tuple[str, ...], Where | None], ...],
        zone: Zone,
        key: Callable[[Mapping[str, Any]], str | None],
        same: tuple[str, ...],
        horizon_ms: int | None,
    ) -> Ref:
        """Timestamps of each step's events by key."""
        tests = tuple((names_of(names), self.filter(where, zone)) for names, where in steps)
        return self._request(
            ("q", tuple(self._what(names, where, zone) for names, where in steps), same),
            tuple(name for names, _ in steps for name in names),
            lambda identity, extent: folding.sequence_meter(identity, tests, key, extent),
            horizon_ms,
        )

    def filter(self, where: Where | None, zone: Zone) -> Filter | None:
        """The compiled filter, one per distinct ``where`` and zone."""
        if where is None:
            return None
        key = (where.model_dump_json(), zone.name)
        if key not in self._filters:
            self._filters[key] = event_filter(where, zone)
        return self._filters[key]

    def shared(self, name: object, make: Callable[[], Shared]) -> Shared:
        """What rules have in common beside a meter: made once under this name."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def build(self) -> list[meters.Meter]:
        """The meters, in a stable order; every ``Ref`` knows its id now."""
        built: list[meters.Meter] = []
        for key, request in self._requests.items():
            extent = None if None in request.extents else max(extent or 0 for extent in request.extents)
            identity = meters.meter_id(str(key[0]), request.parts, extent)
            request.ref.id = identity
            built.append(meters.Meter(identity, request.names, request.make(identity, extent)))
        return sorted(built, key=lambda meter: meter.id)

    def _request(
        self,
        parts: tuple[object, ...],
        names: tuple[str, ...],
        make: Callable[[str, int | None], meters.Fold],
        extent: int | None,
    ) -> Ref:
        request = self._requests.get(parts)
        if request is None:
            request = self._requests[parts] = _Request(Ref(), names_of(names), make, parts)
        request.extents.append(extent)
        return request.ref

    def _what(self, names: tuple[str, ...], where: Where | None, zone: Zone) -> tuple[object, ...]:
        # the zone of a filter matters only where it compares days, but one meter more per zone is cheap
        return tuple(sorted(set(names))), where.model_dump_json() if where else "", zone.name if where else ""


def _read(of: str | None, form: str) -> Read | None:
    if of is None:
        return None
    if of == "timestamp" and form == "raw":
        return _timestamp
    at = getter(of)
    if form == "number":
        return lambda event: number(at(event.body))
    if form == "text":
        return lambda event: meters.short_text(at(event.body))
    return lambda event: meters.kept_value(at(event.body))


def _uncut(of: str) -> Read:
    """The value as it stands: the meter itself cuts what it keeps."""
    at = getter(of)
    return lambda event: at(event.body)


def _whole(of: str) -> Read:
    return _timestamp if of == "timestamp" else _uncut(of)


def _timestamp(event: RuleEvent) -> int:
    return event.ts
