"""The likeness steps on a small AWS: people by events, nights as the state machine drives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hoso.model.time import format_instant
from hoso.unify.handlers import likeness
from tests.nightly_world import Night, night
from tests.unify_world import Context

LIKENESS = ("candidates", "weights", "decisions")


class LikenessWorld:
    """A world with its nights."""

    def __init__(self, tonight: Night) -> None:
        self.night = tonight
        self.world = tonight.world

    def tell(self, name: str, traits: dict[str, Any], *, ago_ms: int = 0) -> dict[str, Any]:
        """An identify call under an anonymous id of its own."""
        self.night._number += 1
        return {
            "type": "identify",
            "anonymousId": name,
            "messageId": f"i-{self.night._number}",
            "timestamp": format_instant(self.world.now - ago_ms),
            "traits": {key: value for key, value in traits.items() if value},
        }

    def add(self, rows: list[list[str]]) -> None:
        """Generated records (header first) as identify calls; record ids become anonymous ids."""
        header, *records = rows
        events = [self.tell(row[0], traits_of(dict(zip(header, row, strict=True)))) for row in records]
        for first in range(0, len(events), 100):
            self.night.consume(*events[first : first + 100])

    def step(self, name: str, given: Any) -> Any:
        """One step, as Lambda is called."""
        return json.loads(json.dumps(getattr(likeness, name)(json.loads(json.dumps(given)), Context())))

    def begin(self, execution: str = "one") -> dict[str, Any]:
        """A run that has taken the lease."""
        return self.night.step("compact", {"as_of": format_instant(self.world.now), "execution": execution})

    def decided(self, execution: str = "one") -> dict[str, Any]:
        """A run that has come to its decisions."""
        run = self.begin(execution)
        for name in LIKENESS:
            run = self.step(name, run)
        return run

    def link(self, run: dict[str, Any]) -> None:
        """What the Distributed Map does."""
        for item in json.loads(self.night.objects().get(run["links_key"])):
            self.step("link", {"Items": [item], "BatchInput": run})

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """The rest of the machine; what the report says of likeness."""
        run = self.night.step("evaluate", self.night.step("snapshot", run))
        for item in self.night.items(run):
            self.night.step("apply", {"Items": [item], "BatchInput": run})
        return self.night.step("report", run)["likeness"]

    def run(self, execution: str = "one") -> dict[str, Any]:
        """A whole night."""
        run = self.decided(execution)
        self.link(run)
        return self.finish(run)

    def person(self, name: str) -> str:
        """The profile id that holds an anonymous id."""
        from hoso.model.identifiers import Identifier

        return self.world.parts.people.profile_id("main", Identifier("anonymous_id", name))

    def call(self, route: str, body: Any = None, roles: str = "[engineer]", **more: str) -> tuple[int, Any]:
        """An admin call."""
        path = {key: value for key, value in more.items() if key == "id"}
        answer = likeness.handler(
            {
                "routeKey": route,
                "pathParameters": path,
                "queryStringParameters": {key: value for key, value in more.items() if key != "id"},
                "headers": {"content-type": "application/json"},
                "body": None if body is None else json.dumps(body),
                "requestContext": {
                    "requestId": "r",
                    "authorizer": {"jwt": {"claims": {"sub": "mai", "cognito:groups": roles}}},
                },
            },
            Context(),
        )
        return answer["statusCode"], json.loads(answer["body"])

    def reviews(self, status: str) -> list[dict[str, Any]]:
        """All pairs of a status, by the API."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            code, page = self.call("GET /v1/likeness/reviews", status=status, limit="7", **cursor)
            assert code == 200
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    def decide(self, pair: str, decision: str) -> dict[str, Any]:
        """Accept or reject."""
        code, body = self.call("POST /v1/likeness/reviews/{id}", {"decision": decision}, id=pair)
        assert code == 200, body
        return body


def traits_of(row: dict[str, str]) -> dict[str, Any]:
    """A generated record as traits."""
    street = {"street": row["address"], "ward": row["ward"], "district": row["district"], "city": row["city"]}
    return {
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "email": row["email"],
        "phone": row["phone"],
        "birthday": row["dob"],
        "gender": row["gender"],
        "address": {key: value for key, value in street.items() if value} if row["address"] else None,
    }


@contextmanager
def likeness_world(folder: Path) -> Iterator[LikenessWorld]:
    """The world with its likeness steps."""
    caches = (likeness.parts, likeness._work, likeness.steps_of)
    with night(folder) as made:
        for cached in caches:
            cached.cache_clear()
        yield LikenessWorld(made)
    for cached in caches:
        cached.cache_clear()
