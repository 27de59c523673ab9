"""The settings documents that client-side SDKs read before they send anything (tracking API, section 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_CONSENT: Mapping[str, Any] = {"default": "unset", "categories": {}}
"""A source that says nothing of consent: the site decides by itself."""


def segment_settings(write_key: str, public_url: str, consent: Mapping[str, Any] = NO_CONSENT) -> dict[str, Any]:
    """What analytics.js and Segment's mobile SDKs need to send their events to this host and nowhere else.

    ``public_url`` is the address of the ingestion API, such as ``https://cdp.example.com``. Only ``Segment.io`` is
    named under ``integrations``: for any other name analytics.js would load a script from here.

    ``consent`` is the source's state of consent before anybody was asked (``default``: granted, denied or unset;
    ``categories``: their names with granted or denied). It stands in the member ``consent`` for the site's own
    script; categories also stand in ``consentSettings``, where the SDKs' consent wrappers look for them.
    """
    scheme, _, rest = public_url.rstrip("/").partition("://")
    segment_io: dict[str, Any] = {"apiKey": write_key, "apiHost": f"{rest}/v1", "versionSettings": {}}
    if scheme == "http":
        segment_io["protocol"] = "http"
    categories = sorted(consent["categories"])
    if categories:
        segment_io["consentSettings"] = {"categories": categories}
    return {
        "integrations": {"Segment.io": segment_io},
        "consent": dict(consent),
        **({"consentSettings": {"allCategories": categories, "hasUnmappedDestinations": False}} if categories else {}),
        "plan": {"track": {}, "identify": {}, "group": {}},
        "edgeFunction": {},
        "middlewareSettings": {"routingRules": []},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudderstack_config(
    source: str, name: str, workspace: str, consent: Mapping[str, Any] = NO_CONSENT
) -> dict[str, Any]:
    """What RudderStack's client-side SDKs need; statistics are off, so that they do not call ``/rsaMetrics``.

    ``consent`` as in ``segment_settings``; it stands in ``source.config.consent``.
    """
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
            "config": {"statsCollection": {"errors": off, "metrics": off}, "consent": dict(consent)},
        }
    }
