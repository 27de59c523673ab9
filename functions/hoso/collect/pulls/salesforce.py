"""Salesforce's bulk queries (API 2.0): the rows of an object that changed, as CSV (connectors, 2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from hoso.collect.pulls.contract import Caller, Json, Progress, Trouble, Window, token_of
from hoso.collect.sources.reading import text_of
from hoso.model.time import DAY_MS, format_instant

ROWS_A_FILE = 50_000
MAX_FILES = 10_000
_STATES: Mapping[str, Progress] = {"JobComplete": "done", "Failed": "failed", "Aborted": "failed"}
_NEEDED = ("Id", "SystemModstamp", "IsDeleted")


class SalesforcePuller:
    """Objects by their name."""

    longest_ms = 366 * DAY_MS

    def objects(self, settings: Mapping[str, Any]) -> list[str]:
        """The objects of which the settings name the fields."""
        return list(settings["objects"])

    def mapping(self, window: Window) -> Json:
        """The object's own columns."""
        return {"layout": "salesforce", "object": window.object}

    def sign_in(self, caller: Caller, settings: Mapping[str, Any], secret: str) -> None:
        """By client credentials, at the customer's own domain."""
        asked = {"grant_type": "client_credentials", "client_id": settings["client_id"], "client_secret": secret}
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = caller.json("POST", "/services/oauth2/token", urlencode(asked).encode(), **form)
        caller.headers["authorization"] = f"Bearer {token_of(answer)}"

    def create(self, caller: Caller, window: Window) -> str:
        """Begin a query that sees deleted rows too."""
        fields = dict.fromkeys((*_NEEDED, *window.settings["objects"][window.object]))
        since, until = format_instant(window.since), format_instant(window.until)
        query = (
            f"SELECT {', '.join(fields)} FROM {window.object} "  # noqa: S608  names are checked by the settings
            f"WHERE SystemModstamp >= {since} AND SystemModstamp < {until}"
        )
        answer = caller.json("POST", _root(window), {"operation": "queryAll", "query": query})
        name = text_of(answer.get("id"))
        if not name:
            raise Trouble("the job has no id")
        return name

    def progress(self, caller: Caller, window: Window, job: str) -> Progress:
        """Its state."""
        answer = caller.json("GET", f"{_root(window)}/{quote(job, safe='')}")
        return _STATES.get(text_of(answer.get("state")), "running")

    def files(self, caller: Caller, window: Window, job: str) -> Iterator[bytes]:
        """Page by page, as the header ``Sforce-Locator`` leads on."""
        locator = ""
        for _ in range(MAX_FILES):
            more = f"&locator={quote(locator, safe='')}" if locator else ""
            path = f"{_root(window)}/{quote(job, safe='')}/results?maxRecords={ROWS_A_FILE}{more}"
            reply = caller.file(path, accept="text/csv")
            yield reply.body
            locator = reply.headers.get("sforce-locator", "null")
            if locator in ("", "null"):
                return
        raise Trouble("the results do not come to an end")


def _root(window: Window) -> str:
    return f"/services/data/{window.settings['version']}/jobs/query"


PULLER = SalesforcePuller()
