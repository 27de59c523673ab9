"""Admin API of identity: why identifiers are one person, merge log, taking merges back, blocking, allowing, erasing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any, Self
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hoso.model.errors import Conflict, InvalidInput, NotFound
from hoso.model.identifiers import Identifier, ranked
from hoso.platform.audit import audit_entry
from hoso.platform.aws import client
from hoso.platform.dynamo import ABSENT, Table
from hoso.platform.settings import Settings
from hoso.platform.web import Request, Router, answer, encode_cursor
from hoso.unify import merge_log, parting
from hoso.unify.build import Parts
from hoso.unify.evidence import Block, Operation, Pair, Restore, pair
from hoso.unify.explain import as_graph, edges_of, path, refused_between
from hoso.unify.facts import Facts
from hoso.unify.graph import Clusters, cluster
from hoso.unify.handlers import erasures
from hoso.unify.identities import Identities
from hoso.unify.identity_changes import Change
from hoso.unify.identity_component import TooLarge, Unfinished
from hoso.unify.identity_items import read_identifier
from hoso.unify.lookup import person_named, read_asked
from hoso.unify.parting import Parting, Plan
from hoso.unify.profiles import Profile
from hoso.unify.veil import Names

MOST_SHOWN = 500
"""Links of a person in one answer of ``why``; the rest is cut off, and the answer says so."""
_MAY_CHANGE = ("engineer", "privacy", "admin")

Json = dict[str, Any]


class Wish(BaseModel):
    """What is asked for, exactly one of: ``edge``, ``identifier``, ``event`` (message id), ``merge`` (entry of the
    merge log), ``value`` (identifier), ``record`` (id of an earlier wish). A ``request_id`` takes effect once."""

    model_config = ConfigDict(extra="forbid")

    edge: tuple[str, str] | None = None
    identifier: str | None = Field(None, max_length=2_048)
    event: str | None = Field(None, max_length=1_024)
    merge: str | None = Field(None, max_length=512)
    value: str | None = Field(None, max_length=2_048)
    record: str | None = Field(None, max_length=128)
    reason: str | None = Field(None, max_length=500)
    request_id: str | None = Field(None, min_length=1, max_length=100)
    dry_run: bool = False

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if len(self.named) != 1:
            raise ValueError("name exactly one of edge, identifier, event, merge, value, record")
        return self

    @property
    def named(self) -> list[str]:
        """Which of the members say what is meant."""
        every = ("edge", "identifier", "event", "merge", "value", "record")
        return [name for name in every if getattr(self, name) is not None]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One admin API request."""
    return answer(event, context, ROUTES)


def why(request: Request) -> Json:
    """The links that make this person: between ``from`` and ``to``, or all of them."""
    request.require()
    start, end = (_named(request.query[name]) if name in request.query else None for name in ("from", "to"))
    profile = _person(request)
    seeds = [one for one in (start, end) if one is not None] or _members(profile)[:1]
    facts, clusters = _known(seeds)
    config = _identities().config
    members = clusters.of.get(seeds[0], frozenset(seeds[:1]))
    if start is not None and members.isdisjoint(_members(profile)):
        raise InvalidInput("from is no identifier of this person", hint="GET /v1/profiles/{id} lists them")
    edges = edges_of(facts, clusters, members)
    names = None if request.actor.sees_persons else Names()
    shown: Json = {"profile_id": profile.pid}
    if start is not None and end is not None:
        way = path(edges, start, end) if end in members else None
        shown |= {"from": str(start), "to": str(end), "connected": way is not None or start == end}
        shown["path"] = [edge.as_json() for edge in way or ()]
        if end not in members:
            shown["refused"] = refused_between(clusters, members, clusters.of.get(end, frozenset({end})), config)
        edges = way or []
        members = frozenset(one for edge in edges for one in edge.ends) | {start}
        if names is not None:
            shown = names.inside(shown, ("from", "to"))
            for part in ("path", "refused"):
                if part in shown:
                    shown[part] = [names.inside(link, ("from", "to")) for link in shown[part]]
    shown["truncated"] = len(edges) > MOST_SHOWN
    edges = edges[:MOST_SHOWN]
    used = ranked({one for edge in edges for one in edge.ends} | set(ranked(members, config)[:MOST_SHOWN]), config)
    if names is not None:
        used, edges = [names.identifier(one) for one in used], [names.edge(edge) for edge in edges]
    shown["edges"] = [edge.as_json() for edge in edges]
    return {**shown, "graph": as_graph(used, edges)}


def list_merges(request: Request) -> Json:
    """The merge log, the newest first."""
    request.require()
    workspace = parts().settings.workspace
    found = merge_log.entries(parts().profiles, workspace, _person(request).pid)
    cursor: Any = request.cursor
    if cursor is not None:
        if not (isinstance(cursor, list) and len(cursor) == 2 and type(cursor[0]) is int and type(cursor[1]) is str):  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidInput("not a cursor of this list", hint="leave cursor out to start again")
        found = [entry for entry in found if entry.place < (cursor[0], cursor[1])]
    limit = request.limit()
    page = found[:limit]
    more = encode_cursor(list(page[-1].place)) if len(found) > limit else None
    items = [entry.as_json() for entry in page]
    if not request.actor.sees_persons:
        names = Names()
        items = [names.inside(item, ("links", "before", "after")) for item in items]
    return {"items": items, "next": more}


def unmerge(request: Request) -> Json:
    """Take a merge back, by edge, identifier, event or entry of the merge log."""
    actor, wish, done = _asked(request, "unmerge")
    if done is not None:
        return done
    if wish.value is not None or wish.record is not None:
        raise InvalidInput("unmerge takes edge, identifier, event or merge", hint="POST …/block takes a value")
    plan = _plan(_person(request), wish)
    return _carry_out(wish, "unmerge", actor, plan)


def block(request: Request) -> Json:
    """Keep an edge from ever joining, or take a value out of use for joining anybody."""
    actor, wish, done = _asked(request, "block")
    if done is not None:
        return done
    profile = _person(request)
    if wish.value is not None:
        return _carry_out(wish, "block", actor, _mine(profile, _named(wish.value)))
    if wish.edge is None:
        raise InvalidInput("block takes edge or value")
    one, other = _pair(wish.edge)
    if not {one, other} & set(_members(profile)):
        raise InvalidInput("no end of this edge is an identifier of this person")
    link = pair(one, other)
    clusters = _known([one, other])[1]
    if clusters.of.get(one) is not None and clusters.of.get(one) is clusters.of.get(other):
        return _carry_out(wish, "block", actor, _plan(profile, wish))
    return _carry_out(wish, "block", actor, Plan([link], [link]))


def allow(request: Request) -> Json:
    """Take a block or an unmerge back, by edge, value or the record that it was kept under."""
    actor, wish, done = _asked(request, "allow")
    if done is not None:
        return done
    profile = _person(request)
    if wish.value is not None:
        return _carry_out(wish, "allow", actor, _mine(profile, _named(wish.value)))
    if wish.edge is not None:
        return _carry_out(wish, "allow", actor, Plan([pair(*_pair(wish.edge))]))
    held = _identities().applied(wish.record) if wish.record is not None else None
    if wish.record is None:
        raise InvalidInput("allow takes edge, value or record")
    if held is None:
        raise NotFound("no such record", hint="GET /v1/people/{id}/merges names the records")
    if not wish.dry_run:
        _identities().close(wish.record, ())  # what is taken back may not go on
    return _carry_out(wish, "allow", actor, held)


ROUTES = Router(
    {
        "GET /v1/people/{id}/why": why,
        "GET /v1/people/{id}/merges": list_merges,
        "POST /v1/people/{id}/unmerge": unmerge,
        "POST /v1/people/{id}/block": block,
        "POST /v1/people/{id}/allow": allow,
        **erasures.TABLE,
    }
)


@cache
def parts() -> Parts:
    """What this process works with."""
    return Parts(Settings.from_env(os.environ))


def _asked(request: Request, action: str) -> tuple[str, Wish, Json | None]:
    """Who asks for what, and the answer if it was done before. What a crash interrupted between the change and the
    evaluation of segments is made up for by the repetition."""
    actor = request.require(*_MAY_CHANGE).subject
    wish = request.parse(Wish)
    if wish.request_id is None or wish.dry_run:
        return actor, wish, None
    held = _identities().applied(f"{action}-{wish.request_id}")
    if held is None:
        return actor, wish, None
    now = parts().clock()
    _parting().resume(f"{action}-{wish.request_id}", held, now)
    for pid in held.get("people", ()):
        parts().people.reevaluate(parts().settings.workspace, pid, now, kind="merge")
    told = {name: held[name] for name in ("cut", "apart", "value") if name in held}
    return actor, wish, {"record": f"{action}-{wish.request_id}", "dry_run": False, "repeated": True, **told}


def _carry_out(wish: Wish, action: str, actor: str, what: Plan | Identifier | Json) -> Json:
    """Do it, or tell what it would do. The audit entry is written before: an action without a trace may not happen."""
    now = parts().clock()
    record_id = f"{action}-{wish.request_id or secrets.token_hex(8)}"
    note: Json = {"by": actor, "action": action}
    if wish.reason:
        note["reason"] = wish.reason
    shown: Json = {"record": record_id, "dry_run": wish.dry_run}
    records = _records(what, action, record_id, now)
    if isinstance(what, Plan):
        note |= {"cut": _texts(what.cut), "apart": _texts(what.apart)}
        shown |= {"cut": note["cut"], "apart": note["apart"]}
        shown["still_connected"] = [edge.as_json() for edge in what.held]
    elif isinstance(what, Identifier):
        note["value"] = str(what)
        shown["value"] = str(what)
    if not wish.dry_run:
        _audit(actor, f"identity.{action}", record_id)
    change, concerned = _parting().carry_out(lambda: records, note, now, dry_run=wish.dry_run)
    return {**shown, **_effect(change, concerned)}


def _records(what: Plan | Identifier | Json, action: str, record_id: str, now: int) -> Sequence[Operation]:
    if isinstance(what, Plan):
        if action == "allow":
            return [Restore(record_id, now, [*what.cut, *what.apart])]
        return what.records(record_id, now)
    if isinstance(what, Identifier):
        return [Block(record_id, now, what, on=action == "block")]
    return parting.restored(what, record_id, now)


def _effect(change: Change, concerned: Sequence[str]) -> Json:
    members = {one for pid in concerned for one in change.after.get(pid, ())}
    before = [pid for pid, held in change.before.items() if held & members]
    return {
        "before": parting.shown_people(change.before, before),
        "after": parting.shown_people(change.after, concerned),
    }


def _plan(profile: Profile, wish: Wish) -> Plan:
    """The plan of a wish about this person's links."""
    mine = _members(profile)
    config = _identities().config
    if wish.identifier is not None:
        out = _mine(profile, _named(wish.identifier))
        return parting.by_identifier(_known([out])[0], config, out)
    if wish.edge is not None:
        one, other = _pair(wish.edge)
        if not {one, other} & set(mine):
            raise InvalidInput("no end of this edge is an identifier of this person")
        return parting.by_edge(_known([one, other])[0], config, [pair(one, other)])
    facts = _known(mine[:1])[0]
    if wish.event is not None:
        return parting.by_event(facts, config, wish.event)
    entry = merge_log.entry(parts().profiles, parts().settings.workspace, wish.merge or "")
    if entry is None:
        raise NotFound("no such entry", hint="GET /v1/people/{id}/merges lists them")
    links = [pair(*map(read_identifier, link)) for link in entry.item["links"]]
    if not links or not {one for link in links for one in link} & set(mine):
        raise InvalidInput("this entry joined nobody of this person")
    return parting.by_edge(facts, config, links)


def _known(seeds: Sequence[Identifier]) -> tuple[Facts, Clusters]:
    """The facts around these identifiers and what they mean. Raises ``Conflict`` when they are too many."""
    try:
        facts = _identities().facts_of(*seeds)
    except TooLarge as error:
        raise Conflict("too many identifiers hang together here", code="too_large", hint="run a rebuild") from error
    except Unfinished as error:
        raise Conflict("this person is being merged right now", code="unfinished", hint="try again") from error
    return facts, cluster(facts, _identities().config)


def _parting() -> Parting:
    return Parting(_identities(), parts().people, parts().settings.workspace)


def _identities() -> Identities:
    return parts().identities(parts().settings.workspace)


def _person(request: Request) -> Profile:
    workspace = parts().settings.workspace
    return person_named(parts().people, _identities().config, workspace, unquote(request.path.get("id", "")))


def _members(profile: Profile) -> list[Identifier]:
    config = _identities().config
    return ranked((Identifier(*one) for one in profile.person.identifiers if one[0] in config.types), config)


def _mine(profile: Profile, one: Identifier) -> Identifier:
    if one not in _members(profile):
        raise InvalidInput("this is no identifier of this person", hint="GET /v1/profiles/{id} lists them")
    return one


def _named(text: str) -> Identifier:
    asked = read_asked(_identities().config, text).identifier
    if asked is None:
        raise InvalidInput("this is no identifier", hint="write TYPE:VALUE, such as email:an@example.vn")
    return asked


def _pair(edge: tuple[str, str]) -> Pair:
    one, other = map(_named, edge)
    if one == other:
        raise InvalidInput("an edge has two different ends")
    return one, other


def _texts(pairs: Sequence[Pair]) -> list[list[str]]:
    return [list(map(str, link)) for link in pairs]


def _audit(actor: str, action: str, subject: str) -> None:
    settings = parts().settings
    table = Table(settings.control_table, client("dynamodb"))
    table.put(audit_entry(table, settings.workspace, parts().clock(), actor, action, subject).item, ABSENT)
