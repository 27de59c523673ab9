"""The question of a shop's host, as two functions answer it: the admin API's, and that of access tokens."""

from __future__ import annotations

from hoso.model.errors import InvalidInput
from hoso.platform.web import Answer, Request
from hoso.unify.build import Parts
from hoso.unify.greeting import UNKNOWN, greet


def greeting(here: Parts, request: Request) -> Answer:
    """What to say in ``{store}`` to who carries ``token``, at will ``at`` another time and in another ``timezone``.

    404, with the same empty answer, for a stranger.

    Raises:
        InvalidInput: there is no token, or ``at`` is no time.
    """
    token = request.query.get("token")
    if not token:
        raise InvalidInput("token is missing", hint="add ?token= with the token that the door sent")
    at = request.instant("at")
    now = here.clock() if at is None else at
    store, zone = request.path.get("store", ""), request.query.get("timezone")
    said = greet(here.people, here.settings.workspace, store, token, now, zone)
    return Answer(404 if said.reason == UNKNOWN else 200, {"known": said.known, "reason": said.reason, **said.body})
