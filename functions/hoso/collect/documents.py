"""The settings documents that client-side SDKs read before they send anything (tracking API, section 10)."""

from __future__ import annotations

from typing import Any


def segment_settings(write_key: str, public_url: str) -> dict[str, Any]:
    """What analytics.js and Segment's mobile SDKs need to send their events to this host and nowhere else.

    ``public_url`` is the address of the ingestion API, such as ``https://cdp.example.com``. Only ``Segment.io`` is
    named under ``integrations``: for any other name analytics.js would load a script from here.
    """
    scheme, _, rest = public_url.rstrip("/").partition("://")
    segment_io: dict[str, Any] = {"apiKey": write_key, "apiHost": f"{rest}/v1", "versionSettings": {}}
    if scheme == "http":
        segment_io["protocol"] = "http"
    return {
        "integrations": {"Segment.io": segment_io},
        "plan": {"track": {}, "identify": {}, "group": {}},
        "edgeFunction": {},
        "middlewareSettings": {"routingRules": []},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudderstack_config(source: str, name: str, workspace: str) -> dict[str, Any]:
    """What RudderStack's client-side SDKs need; statistics are off, so that they do not call ``/rsaMetrics``."""
    off = {"enabled": False}
    return {
        "source": {
            "id": source,
            "name": name,
            "writeKey": "",
            "enabled": True,
            "workspaceId": workspace,
            "destinations": [],
            "connections": [],
            "config": {"statsCollection": {"errors": off, "metrics": off}},
        }
    }
