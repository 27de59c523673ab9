"""Everybody, out of one pass over the table: the input of nightly work and of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from hoso.platform.dynamo import Item
from hoso.unify.fragments import Fragment, cold_of, hot_of
from hoso.unify.profiles import Profile, merge, person_of
from hoso.unify.store import ProfileStore
from hoso.unify.trait_policies import NO_POLICIES, PolicyOf


def everyone(
    store: ProfileStore, workspace: str, part: int, parts: int, policies: PolicyOf = NO_POLICIES
) -> Iterator[Profile]:
    """The people of one of ``parts`` shares. A fragment belongs to the person that lists it, else to itself."""
    people: dict[str, Item] = {}
    hots: dict[str, Item] = {}
    colds: dict[str, Item] = {}
    for item in store.scan():
        held, kind, name = _parse(item["pk"])
        if held != workspace:
            continue
        if kind == "P" and item["sk"] == "P" and "to" not in item:
            people[name] = item
        elif kind == "F" and item["sk"] == "H":
            hots[name] = item
        elif kind == "F" and item["sk"] == "C":
            colds[name] = item
    listed = {fid for item in people.values() for fid in item.get("fr", ())}
    singles = (f"p_{fid}" for fid in hots if fid not in listed and f"p_{fid}" not in people)
    for pid in (*people, *singles):
        if _share(pid, parts) != part:
            continue
        fids: list[str] = people.get(pid, {}).get("fr") or [pid.removeprefix("p_")]
        fragments = [Fragment(fid, hot_of(hots.get(fid), ("", "")), cold_of(colds.get(fid))) for fid in fids]
        person = person_of(people.get(pid), pid, fids[0], fragments[0].hot.hub)
        yield merge(workspace, person, fragments, policies)


def _parse(pk: str) -> tuple[str, str, str]:
    """Workspace, kind and name in a partition key."""
    workspace, _, rest = pk.partition("#")
    kind, _, name = rest.partition("#")
    return workspace, kind, name


def _share(pid: str, parts: int) -> int:
    return int.from_bytes(blake2b(pid.encode(), digest_size=4).digest(), "big") % parts
