"""The addresses of the ingestion API (tracking API, section 2). A trailing slash makes no difference.

Nor does a second leading one, which a host with a slash at its end makes of every path in some SDKs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from hoso.collect.events import TYPES

_SHORT = {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_BATCHES = frozenset({"/v1/batch", "/v1/import", "/v1/b", "/beacon/v1/batch"})
_METRICS = frozenset({"/v1/m", "/rsaMetrics"})
_PROJECTS = "/v1/projects/"
_JITSU = ("/api/s/s2s/", "/api/s/")


@dataclass(frozen=True, slots=True)
class Place:
    """What an address is for. ``job``: batch, event, receipts, metrics, settings, source_config or pixel.

    ``kind`` is the event type that the path demands, ``key`` the write key in it, ``method`` the one it listens to.
    """

    job: str
    method: str = "POST"
    kind: str = ""
    key: str = ""
    jitsu: bool = False


@lru_cache(maxsize=512)
def find(path: str) -> Place | None:
    """The place under an address, or None.

    >>> find("/v1/import/").job
    'batch'
    >>> find("/v1/t").kind
    'track'
    """
    path = f"/{path.strip('/')}"
    if path == "/v1/import/pos":
        return Place("receipts")
    if path in _BATCHES:
        return Place("batch")
    if path in _METRICS:
        return Place("metrics")
    if path == "/sourceConfig":
        return Place("source_config", "GET")
    if path.startswith(_PROJECTS) and path.endswith("/settings"):
        key = path[len(_PROJECTS) : -len("/settings")]
        return Place("settings", "GET", key=unquote(key)) if key and "/" not in key else None
    for prefix in ("/v1/pixel/", "/pixel/v1/"):
        if path.startswith(prefix):
            # a mail client gets its image whatever it asks for; without a type of ours the event must tell its own
            return Place("pixel", "GET", kind=_kind(path[len(prefix) :]))
    for prefix in _JITSU:
        if path.startswith(prefix) and (kind := _kind(path[len(prefix) :])):
            return Place("event", kind=kind, jitsu=True)
    if path.startswith("/v1/") and (kind := _kind(path[len("/v1/") :])):
        return Place("event", kind=kind)
    return None


def _kind(name: str) -> str:
    name = _SHORT.get(name, name)
    return name if name in TYPES else ""
