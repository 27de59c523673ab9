"""Starting, confirming and settling a switch of the identity rules: what may be done when (decision 0064)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hoso.model.errors import Conflict, InvalidInput
from hoso.model.identity_rules import KEY, KIND, read_rules
from hoso.model.time import HOUR_MS, SECOND_MS
from hoso.platform.control import ControlStore, Document
from hoso.platform.dynamo import Item, Write
from hoso.unify.archive_range import Range
from hoso.unify.rewind import ENDS, READY, Rewinds

MAX_REPORT_AGE_MS = 24 * HOUR_MS
MAX_SHARE = 0.1
"""Share of changed people above which a switch has to be confirmed expressly."""
PREVIEWED = "previewed"
"""Key of the note of the last preview, beside the rules."""
MAX_DOCUMENT_BYTES = 100_000
"""The document of a switch stands in one item with the report."""

Json = dict[str, Any]


def rules_now(control: ControlStore, workspace: str) -> Document | None:
    """The document of the rules in force, strongly consistent; None where there is none."""
    found = control.revisions(workspace, KIND, KEY)
    return found[0] if found else None


def start(
    rewinds: Rewinds,
    control: ControlStore,
    workspace: str,
    document: object,
    replay: str,
    now: int,
    actor: str,
    rate: int,
) -> Item:
    """A new switch to these rules, over the whole archive.

    Raises:
        InvalidInput: the document is wrong, or too large.
        Conflict: another replay works on the shadow.
    """
    rules = read_rules(document)
    text = orjson.dumps(rules.model_dump(by_alias=True, exclude_unset=True)).decode()
    if len(text) > MAX_DOCUMENT_BYTES:
        raise InvalidInput(
            f"a switch takes a document of at most {MAX_DOCUMENT_BYTES} bytes", code="invalid_identity_rules"
        )
    present = rules_now(control, workspace)
    more = {"rules": text, "fingerprint": rules.config().fingerprint, "base": present.revision if present else 0}
    return rewinds.create(replay, Range(0, now + 1), "switch", rate, actor, phase=0, silent=False, **more)


def commit(
    rewinds: Rewinds,
    control: ControlStore,
    workspace: str,
    replay: str,
    now: int,
    *,
    confirmed: bool,
    silent: bool,
    wait_s: int,
    lag_s: int,
    audit: Sequence[Write],
) -> Item:
    """Put the rules of a switch in force and set it going again, in one transaction. A switch that was confirmed before
    stays as it is.

    ``wait_s``: how long the processes at work go on with the former rules; ``lag_s``: how long what they let in takes
    to be archived.

    Raises:
        Conflict: ``not_ready``, ``stale_report``, ``rules_changed`` or ``too_many_change``.
    """
    held = rewinds.get(replay)
    if held["into"] == "switch" and held["phase"] > 0 and held["status"] not in ("stopped", "failed"):
        return held
    if held["into"] != "switch" or held["status"] != READY:
        raise Conflict(
            "this switch waits for no confirmation", code="not_ready", hint="look at its status; settle goes on"
        )
    if now - held["compared"] > MAX_REPORT_AGE_MS:
        raise Conflict("the report is older than a day", code="stale_report", hint="start the switch again")
    share = orjson.loads(held["report"])["share_changed"]
    if share > MAX_SHARE and not confirmed:
        raise Conflict(
            f"{share:.0%} of the people would change",
            code="too_many_change",
            hint="read the report, then confirm expressly (--yes, or confirm: true)",
        )
    news = {"phase": 1, "status": "waiting", "wake": now + wait_s * SECOND_MS, "lag_s": lag_s, "silent": silent}
    body = orjson.loads(held["rules"])
    present = rules_now(control, workspace)
    if (present.revision if present else 0) != held["base"]:
        raise _changed()
    if present is not None and present.body == body:
        return rewinds.note(held, **news, committed=now, revision=present.revision)

    def beside(before: Document | None, after: Document) -> Sequence[Write]:
        if (before.revision if before else 0) != held["base"]:
            raise _changed()
        return [*audit, rewinds.noting(held, **news, committed=now, revision=after.revision)]

    control.put(workspace, KIND, KEY, body, beside)
    return rewinds.get(replay)


def settle_again(rewinds: Rewinds, control: ControlStore, workspace: str, replay: str, now: int) -> Item:
    """Let a switch that was confirmed settle once more.

    Raises:
        Conflict: ``not_ready`` (it was not confirmed), ``rules_changed``, or ``shadow_taken``.
    """
    held = rewinds.get(replay)
    if held["into"] != "switch" or held["phase"] == 0:
        raise Conflict("this switch was not confirmed", code="not_ready", hint="commit it")
    if held["status"] not in ENDS:
        return held
    present = rules_now(control, workspace)
    if present is None or present.revision != held["revision"]:
        raise _changed()
    if any(other["into"] != "live" and other["sk"] > replay for other in rewinds.all()):
        raise Conflict(
            "another replay took the shadow since", code="shadow_taken", hint="start a switch to the same rules"
        )
    return rewinds.note(held, phase=1, status="waiting", wake=now, cursor=None)


def _changed() -> Conflict:
    return Conflict("the rules changed since the comparison", code="rules_changed", hint="start the switch again")


def noted_preview(control: ControlStore, workspace: str, fingerprint: str, revision: int, now: int) -> None:
    """Remember that these rules were previewed on the people under this revision."""
    control.put(workspace, KIND, PREVIEWED, {"fingerprint": fingerprint, "revision": revision, "at": now})


def require_preview(control: ControlStore, workspace: str, fingerprint: str, revision: int, now: int) -> None:
    """Demand that the last preview, of the last day, was of exactly these rules, on the people under this revision.

    Raises:
        Conflict: ``preview_needed``.
    """
    found = control.revisions(workspace, KIND, PREVIEWED)
    told: Mapping[str, Any] = found[0].body if found else {}
    fresh = now - told.get("at", 0) <= MAX_REPORT_AGE_MS
    if not fresh or (told.get("fingerprint"), told.get("revision")) != (fingerprint, revision):
        raise Conflict(
            "these rules were not previewed on the people there are now",
            code="preview_needed",
            hint="preview this document, or switch to it; without_preview=true puts it in force all the same",
        )
