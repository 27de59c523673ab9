"""From what a caller writes (``type:value``, or a profile id) to the person it means now."""

from __future__ import annotations

from hoso.model.errors import InvalidInput, NotFound
from hoso.model.identifiers import Identifier, normalise
from hoso.model.identity_config import IdentityConfig
from hoso.unify.people import People
from hoso.unify.profiles import Profile


def person_named(people: People, config: IdentityConfig, workspace: str, asked: str) -> Profile:
    """The person under an identifier, or under a profile id after any number of merges.

    Raises:
        InvalidInput: it is neither.
        NotFound: nobody heard of it.
    """
    kind, colon, value = asked.partition(":")
    if colon:
        clean = normalise(kind, value, config)
        if clean is None:
            raise InvalidInput("this is no identifier", hint="write TYPE:VALUE, such as email:an@example.vn")
        hub = Identifier(kind, clean)
        profile = people.load_person(workspace, people.profile_id(workspace, hub), hub)
    elif asked.startswith("p_"):
        profile = people.load_person(workspace, asked)
    else:
        raise InvalidInput("this is no identifier", hint="write TYPE:VALUE, or a profile id")
    if not profile.exists:
        raise NotFound("nobody is known under this identifier")
    return profile
