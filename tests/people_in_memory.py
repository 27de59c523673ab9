"""The admin API of identity on tables in memory, for sweeps over every call and schedules by the hundred."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from hoso.platform.dynamo import Table
from hoso.platform.settings import Settings
from hoso.platform.wire import from_wire
from hoso.segment.due import DueTable, Swept, sweep
from hoso.unify.handlers import people
from hoso.unify.parting import look
from tests.identity_table import MemoryDynamo
from tests.unify_in_memory import MemoryWorld

SETTINGS = Settings(
    profiles_table="profiles", control_table="control", delivery_table="delivery", outbox_table="outbox"
)
TOLD = ("profiles", "outbox", "delivery")
"""The tables whose content is compared: audit entries name each try."""
_here = threading.local()


class Killed(BaseException):
    """The process dies here."""


class KillAt:
    """A client whose n-th call kills the worker, before or after the table did it. ``count`` counts the calls."""

    def __init__(self, client: Any, fatal: int = 0, *, after: bool = False) -> None:
        self.client, self.fatal, self.after, self.count = client, fatal, after, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.count += 1
            if self.count == self.fatal and not self.after:
                raise Killed
            answer = getattr(self.client, name)(**request)
            if self.count == self.fatal:
                raise Killed
            return answer

        return call


@contextmanager
def people_api() -> Iterator[None]:
    """Let the handler work on the world of ``post``'s caller, in as many threads as there are."""
    with (
        patch.object(people, "parts", lambda: _here.parts),
        patch.object(people, "client", lambda _: _here.client),
    ):
        yield


def post(world: MemoryWorld, client: Any, action: str, who: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and body of ``POST /v1/people/{who}/{action}``."""
    _here.client = client
    _here.parts = SimpleNamespace(
        settings=SETTINGS,
        clock=lambda: world.now,
        profiles=world.store.profiles,
        identities=lambda _: world.identities,
        people=world.people,
    )
    event = {
        "routeKey": f"POST /v1/people/{{id}}/{action}",
        "pathParameters": {"id": quote(who, safe="")},
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
        "requestContext": {
            "requestId": "r-1",
            "authorizer": {"jwt": {"claims": {"sub": "operator", "cognito:groups": "[engineer]"}}},
        },
    }
    answer = people.handler(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def swept(world: MemoryWorld, client: Any) -> Swept:
    """What the minute's sweep does."""
    table = DueTable(Table("delivery", client), "main")
    return sweep(
        table,
        lambda who: look(world.identities, world.people, "main", who, world.now),
        world.now,
        lambda: True,
        workers=1,
    )


def dump(client: MemoryDynamo) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every item of the tables that tell of people."""
    return {(table, *key): from_wire(item) for table in TOLD for key, item in client.tables.get(table, {}).items()}
