"""The sample store: its documents and its events, loaded through the same HTTP API as anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.cli.connection import Connection
from infra.cli.send import Sent, send_file
from infra.synth import ROOT

DOCUMENTS = ROOT / "events" / "samples"
TRAFFIC = ROOT / "events" / "traffic" / "events.ndjson"
# Documents name others by key: what is named must be there first.
ORDER = ("segments", "destinations", "templates", "activations", "products")
AUDIENCE = "ads-audience"


def load_documents(connection: Connection, audience_url: str, audience_secret: str) -> dict[str, int]:
    """Put every sample document, the ads audience's webhook with its address. Answers counts by kind."""
    counts: dict[str, int] = {}
    for kind in ORDER:
        documents: dict[str, Any] = json.loads((DOCUMENTS / f"{kind}.json").read_text())
        for key, body in documents.items():
            if kind == "destinations" and key == AUDIENCE:
                body = {**body, "url": audience_url, "secrets": [audience_secret]}  # noqa: PLW2901
            connection.call("PUT", f"/v1/{kind}/{key}", body)
        counts[kind] = len(documents)
    traits: dict[str, Any] = json.loads((DOCUMENTS / "traits.json").read_text())
    for key, body in traits.items():
        connection.call("PUT", f"/v1/computed-traits/{key}", body)
    counts["traits"] = len(traits)
    return counts


def load_events(connection: Connection) -> Sent | None:
    """Post the sample store's events, once per data folder. None when that was done before."""
    done = (connection.data or Path()) / "sample-loaded"
    if done.exists():
        return None
    sent = send_file(connection, TRAFFIC, connection.write_key())
    done.write_text("")
    return sent
