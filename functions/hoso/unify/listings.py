"""Lists that identifiers are on, as a person's fragments carry them (pure).

A listing belongs to one identifier and lies in the attribute ``q`` of the cold item of that identifier's fragment, and
an identifier has a fragment whether or not anything ever came under it. So a listing moves with the identifier when
people merge and part, takes effect with the first event of somebody who was listed before, and costs no read of its
own: a person is on a list when one of its fragments is.

Names are keys of lists; ``!email`` is the suppression list of a channel that people keep by hand (``!*``: every
channel), ``!email!told`` are the addresses of which the channel itself told that nothing may go there any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hoso.model.errors import InvalidInput
from hoso.unify.codec import pack_json, unpack_json

MAX_NAMES = 200
"""Lists that one identifier can be on; the ones that it left are forgotten first."""
_MARK = "!"
_TOLD = "!told"


class Listing(NamedTuple):
    """Whether an identifier is on a list, since when it is (not) (UTC ms), and the reason that was given."""

    on: bool
    at: int
    reason: str = ""


Listings = dict[str, Listing]


def suppression(channel: str, *, told: bool = False) -> str:
    """The name of a channel's suppression list (``*``: every channel)."""
    return f"{_MARK}{channel}{_TOLD if told else ''}"


def channel_of(name: str) -> str | None:
    """The channel that a listing suppresses; None for an ordinary list."""
    return name[1:].removesuffix(_TOLD) if name.startswith(_MARK) else None


def packed(listings: Listings) -> bytes:
    """The bytes of the attribute."""
    return pack_json(listings)


def unpacked(blob: bytes | None) -> Listings:
    """The listings in such bytes; none for a fragment that has none."""
    if blob is None:
        return {}
    return {name: Listing(*entry[:3]) for name, entry in unpack_json(blob).items()}


def put(held: Listings, name: str, fresh: Listing, *, force: bool = False) -> bool:
    """Take a listing in, in place, unless a newer one was here first (``force``: all the same); whether it changed.

    Raises:
        InvalidInput: the identifier is on too many lists.
    """
    known = held.get(name)
    if known == fresh or (known is not None and not force and known.at > fresh.at):
        return False
    if known is None and len(held) >= MAX_NAMES:
        left = [(entry.at, gone) for gone, entry in held.items() if not entry.on]
        if left:
            del held[min(left)[1]]
    if known is None and len(held) >= MAX_NAMES:
        raise InvalidInput(f"an identifier is on at most {MAX_NAMES} lists", code="too_many_lists")
    held[name] = fresh
    return True


def lists_of(parts: Iterable[Mapping[str, Listing]]) -> list[str]:
    """The keys of the lists that any of these fragments is on, sorted."""
    return sorted(name for name in _on(parts) if not name.startswith(_MARK))


def suppressed_of(parts: Iterable[Mapping[str, Listing]]) -> list[str]:
    """The channels (``*``: all) that any of these fragments is suppressed for, sorted."""
    return sorted({channel for name in _on(parts) if (channel := channel_of(name)) is not None})


def _on(parts: Iterable[Mapping[str, Listing]]) -> set[str]:
    return {name for part in parts for name, entry in part.items() if entry.on}
