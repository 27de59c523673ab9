"""From what a caller writes (``type:value``, or a profile id after any number of merges) to the person it means now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hoso.model.errors import HosoError, InvalidInput, NotFound
from hoso.model.identifiers import Identifier, IdentityConfig, normalise
from hoso.unify.people import People
from hoso.unify.profiles import Profile

MOST_AT_ONCE = 100
_LONGEST = 2_048


class Asked(NamedTuple):
    """What was asked for: an identifier, or a profile id."""

    identifier: Identifier | None
    pid: str | None


def read_asked(config: IdentityConfig, asked: str) -> Asked:
    """What a caller's text names. Raises ``InvalidInput`` for what is no identifier."""
    if len(asked) > _LONGEST:
        raise InvalidInput("this is no identifier: it is too long")
    kind, colon, value = asked.partition(":")
    if colon:
        clean = normalise(kind, value, config)
        if clean is None:
            raise InvalidInput("this is no identifier", hint="write TYPE:VALUE, such as email:an@example.vn")
        return Asked(Identifier(kind, clean), None)
    if asked.startswith("p_"):
        return Asked(None, asked)
    raise InvalidInput("this is no identifier", hint="write TYPE:VALUE, or a profile id")


def find(people: People, workspace: str, asked: Asked) -> Profile:
    """The person who was asked for. Raises ``NotFound`` for one nobody heard of."""
    hub = asked.identifier
    pid = people.profile_id(workspace, hub) if hub is not None else (asked.pid or "")
    profile = people.load_person(workspace, pid, hub)
    if not profile.exists:
        raise NotFound("nobody is known under this identifier")
    return profile


def person_named(people: People, config: IdentityConfig, workspace: str, asked: str) -> Profile:
    """The person under an identifier, or under a profile id.

    Raises:
        InvalidInput: it is neither.
        NotFound: nobody heard of it.
    """
    return find(people, workspace, read_asked(config, asked))


def find_many(
    people: People, workspace: str, texts: Sequence[str]
) -> list[tuple[str, tuple[Asked, Profile] | HosoError]]:
    """Per text, in their order, the person, or why there is none; a few batched reads for all of them."""
    config = people.identity_config(workspace)
    asked: dict[str, Asked | HosoError] = {}
    for text in texts[:MOST_AT_ONCE]:
        try:
            asked[text] = read_asked(config, text)
        except InvalidInput as error:
            asked[text] = error
    named = [one for one in asked.values() if isinstance(one, Asked)]
    hubs = [one.identifier for one in named if one.identifier is not None]
    pids = people.people_of(workspace, list(dict.fromkeys(hubs)))
    wanted = {one: pids[one.identifier] if one.identifier else (one.pid or "") for one in named}
    alone = {pid: hub for hub, pid in pids.items()}
    every = list(dict.fromkeys(wanted.values()))
    loaded = dict(zip(every, people.load_many(workspace, every, alone), strict=True)) if every else {}
    answers: list[tuple[str, tuple[Asked, Profile] | HosoError]] = []
    for text in texts[:MOST_AT_ONCE]:
        one = asked[text]
        if isinstance(one, HosoError):
            answers.append((text, one))
            continue
        profile = loaded[wanted[one]]
        nobody = NotFound("nobody is known under this identifier")
        answers.append((text, (one, profile) if profile.exists else nobody))
    return answers
