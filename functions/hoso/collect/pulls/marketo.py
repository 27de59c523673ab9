"""Marketo's bulk extract: leads and activities by time, as CSV (connectors, 2.4).

Its API answers 200 to what it refuses; the errors stand in the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from hoso.collect.pulls.contract import Caller, Json, Progress, Trouble, Window, token_of
from hoso.collect.sources.reading import objects, text_of
from hoso.model.time import DAY_MS, HOUR_MS, format_instant

_BUSY = frozenset({"606", "607", "608", "611", "615", "713", "1029"})
"""Limits of rate, day and queue, and trouble of its own: asked again in an hour."""

_STATES: Mapping[str, Progress] = {"Completed": "done", "Failed": "failed", "Cancelled": "failed"}
_ACTIVITY_FIELDS = ("marketoGUID", "leadId", "activityDate", "activityTypeId", "campaignId")
_ACTIVITY_MORE = ("primaryAttributeValueId", "primaryAttributeValue", "attributes")


class MarketoPuller:
    """Leads and activities."""

    longest_ms = 30 * DAY_MS

    def objects(self, settings: Mapping[str, Any]) -> list[str]:
        """``leads`` and ``activities``, as the settings name them."""
        return list(settings["objects"])

    def mapping(self, window: Window) -> Json:  # noqa: ARG002
        """Marketo's own columns; its times are UTC."""
        return {"layout": "marketo", "zone": "UTC"}

    def sign_in(self, caller: Caller, settings: Mapping[str, Any], secret: str) -> None:
        """By client credentials; the token lives for an hour at most."""
        asked = {"grant_type": "client_credentials", "client_id": settings["client_id"], "client_secret": secret}
        answer = caller.json("GET", f"/identity/oauth/token?{urlencode(asked)}")
        caller.headers["authorization"] = f"Bearer {token_of(answer)}"

    def create(self, caller: Caller, window: Window) -> str:
        """Create an export and put it on the queue."""
        between = {"startAt": format_instant(window.since), "endAt": format_instant(window.until - 1_000)}
        if window.object == "leads":
            order: Json = {"fields": list(window.settings["fields"]), "filter": {"updatedAt": between}}
        else:
            order = {"fields": [*_ACTIVITY_FIELDS, *_ACTIVITY_MORE], "filter": {"createdAt": between}}
            if window.settings["activity_types"]:
                order["filter"]["activityTypeIds"] = list(window.settings["activity_types"])
        export = _checked(caller.json("POST", f"{_root(window)}/create.json", {**order, "format": "CSV"}))
        name = text_of(export.get("exportId"))
        if not name:
            raise Trouble("the export has no id")
        _checked(caller.json("POST", f"{_root(window)}/{quote(name, safe='')}/enqueue.json", {}))
        return name

    def progress(self, caller: Caller, window: Window, job: str) -> Progress:
        """Its status; one that is not there any more has failed."""
        export = _checked(caller.json("GET", f"{_root(window)}/{quote(job, safe='')}/status.json"))
        return _STATES.get(text_of(export.get("status")), "running")

    def files(self, caller: Caller, window: Window, job: str) -> Iterator[bytes]:
        """One file."""
        yield caller.file(f"{_root(window)}/{quote(job, safe='')}/file.json").body


def _root(window: Window) -> str:
    return f"/bulk/v1/{'leads' if window.object == 'leads' else 'activities'}/export"


def _checked(answer: Json) -> Json:
    """The first result of a good answer. Raises ``Trouble``."""
    if answer.get("success") is not True:
        codes = [text_of(error.get("code")) for error in objects(answer.get("errors"))]
        message = f"the API answers error {', '.join(codes[:5]) or 'without a code'}"
        raise Trouble(message, HOUR_MS if _BUSY.intersection(codes) else None)
    results = objects(answer.get("result"))
    return results[0] if results else {}


PULLER = MarketoPuller()
