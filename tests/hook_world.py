"""Webhook sources on a small AWS: the real handlers over moto."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hoso.collect.handlers import hook_admin, hooks
from tests.admin_calls import admin_event, answered
from tests.collect_world import World, world

HOST = "cdp.example.com"


class HookWorld:
    """The two handlers. ``now`` is the clock of the one that takes webhooks (UTC ms)."""

    def __init__(self, inner: World) -> None:
        self.inner = inner
        self.now = 1_767_596_400_000

    def source(self, key: str, kind: str, settings: Any = None, secrets: Mapping[str, Any] | None = None) -> str:
        """A new source, by the admin API; answers the path of its address. Secrets by use, oldest first."""
        status, made = self.manage("PUT", f"/{key}", {"name": key, "kind": kind, "settings": settings or {}})
        assert status == 200, made
        for use, values in (secrets or {}).items():
            for value in values:
                status, answer = self.manage("POST", f"/{key}/secrets", {"use": use, "secret": value})
                assert status == 200, answer
        return made["addresses"][0]["path"]

    def manage(
        self, method: str, path: str = "", body: Any = None, *, roles: str = "[engineer]", query: Any = None
    ) -> tuple[int, Any]:
        """Status and body of a call of the admin API; ``path`` is what follows ``/v1/webhook-sources``."""
        parts = path.split("/")[1:]
        names = ["key", None, "id"]
        route = "".join(f"/{{{name}}}" if name else f"/{part}" for name, part in zip(names, parts, strict=False))
        place = {name: part for name, part in zip(names, parts, strict=False) if name}
        event = admin_event(f"{method} /v1/webhook-sources{route}", place, body, roles=roles, query=query)
        return answered(hook_admin.handler(event, None))

    def deliver(
        self,
        path: str,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        query: str = "",
        as_base64: bool = False,
    ) -> dict[str, Any]:
        """The answer to a delivery at ``now``."""
        raw = body.encode() if isinstance(body, str) else body
        sent = {"host": HOST, "x-forwarded-proto": "https"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        text: str | None = None
        if raw and not as_base64:
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                as_base64 = True
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": sent,
            "requestContext": {"requestId": "r-1", "http": {"method": method, "path": path, "sourceIp": "203.0.113.7"}},
            "body": base64.b64encode(raw).decode() if as_base64 else text,
            "isBase64Encoded": as_base64,
        }
        frozen = replace(hooks.reception(), clock=lambda: self.now)
        frozen.sources._clock = frozen.clock
        with patch.object(hooks, "reception", lambda: frozen):
            return hooks.handler(event, None)

    def events(self) -> list[dict[str, Any]]:
        """The bodies on the stream, by message id: records of one request have no order among people."""
        return self.inner.events()


@contextmanager
def hook_world(folder: Path) -> Iterator[HookWorld]:
    """An empty world."""
    with world(folder) as inner:
        for cached in (hooks.reception, hook_admin.hooks):
            cached.cache_clear()
        try:
            yield HookWorld(inner)
        finally:
            for cached in (hooks.reception, hook_admin.hooks):
                cached.cache_clear()
