"""SES on the laptop: a message that is sent lands in a folder that a person can open.

``index.html`` lists the messages; each is there as ``.eml`` and, if it has HTML, as a page.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

_HEAD = '<!doctype html><meta charset="utf-8"><title>Outbox</title><h1>Messages sent</h1><ul>\n'
_lock = threading.Lock()
_SIMULATED = re.compile(r"((bounce|complaint)(?:\+[^@\s<>]*)?@simulator\.amazonses\.com)", re.IGNORECASE)


class Outbox:
    """Takes requests of SES v2 ``SendEmail``."""

    def __init__(self, folder: Path, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._now_ms = now_ms
        folder.mkdir(parents=True, exist_ok=True)

    def send(self, request: dict[str, Any]) -> str:
        """Write the message; its id."""
        addresses: list[str] = request["Destination"].get("ToAddresses", [])
        at = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        content: dict[str, Any] = request["Content"]
        to = ", ".join(addresses)
        if "Raw" in content:
            raw, subject, page = base64.b64decode(content["Raw"]["Data"]), "(raw message)", None
        else:
            simple: dict[str, Any] = content["Simple"]
            subject = simple["Subject"]["Data"]
            page = simple["Body"].get("Html", {}).get("Data")
            raw = _eml(request, to, at)
        message_id = str(uuid.uuid4())
        stem = f"{at:%Y%m%dT%H%M%S%f}-{re.sub(r'[^A-Za-z0-9@._-]', '_', to)[:80]}-{message_id[:8]}"
        (self._folder / f"{stem}.eml").write_bytes(raw)
        if page is not None:
            (self._folder / f"{stem}.html").write_text(page, encoding="utf-8")
        shown = f"{stem}.html" if page is not None else f"{stem}.eml"
        link = f'<a href="{html.escape(shown)}">{html.escape(subject)}</a>'
        self._list(f"<li>{at:%Y-%m-%d %H:%M:%S} {link} to {html.escape(to)}</li>\n")
        return message_id

    def _list(self, line: str) -> None:
        index = self._folder / "index.html"
        with _lock, index.open("a", encoding="utf-8") as stream:
            if stream.tell() == 0:
                stream.write(_HEAD)
            stream.write(line)


def simulated(request: dict[str, Any], message_id: str) -> dict[str, Any] | None:
    """What SES tells of a message to its mailbox simulator (``bounce@`` or ``complaint@simulator.amazonses.com``, also
    with ``+label``), as an entry of the default bus; None for other addresses."""
    addresses: list[str] = request["Destination"].get("ToAddresses", [])
    for address in addresses:
        found = _SIMULATED.search(address)
        if found is None:
            continue
        kind = found[2].lower().capitalize()
        recipients = [{"emailAddress": found[1]}]
        said: dict[str, Any] = {"bounceType": "Permanent", "bouncedRecipients": recipients}
        if kind == "Complaint":
            said = {"complainedRecipients": recipients}
        tags: dict[str, list[str]] = {tag["Name"]: [tag["Value"]] for tag in request.get("EmailTags", [])}
        mail = {"messageId": message_id, "destination": addresses, "tags": tags}
        detail = {"eventType": kind, "mail": mail, kind.lower(): said}
        return {"Source": "aws.ses", "DetailType": f"Email {kind}", "Detail": json.dumps(detail)}
    return None


def _eml(request: dict[str, Any], to: str, at: datetime) -> bytes:
    simple: dict[str, Any] = request["Content"]["Simple"]
    message = EmailMessage()
    message["From"] = request["FromEmailAddress"]
    message["To"] = to
    message["Subject"] = simple["Subject"]["Data"]
    message["Date"] = at
    for address in request.get("ReplyToAddresses", []):
        message["Reply-To"] = address
    for header in simple.get("Headers", []):
        message[header["Name"]] = header["Value"]
    body: dict[str, Any] = simple["Body"]
    message.set_content(body.get("Text", {}).get("Data", ""))
    if "Html" in body:
        message.add_alternative(body["Html"]["Data"], subtype="html")
    return message.as_bytes()
