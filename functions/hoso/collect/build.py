"""What the functions that take events over HTTP share, made from the settings of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

from hoso.collect.plan_lookup import PlansInUse
from hoso.model.time import MINUTE_MS
from hoso.platform.aws import client
from hoso.platform.budget import Budgets, counter
from hoso.platform.clock import clock_from
from hoso.platform.control import ControlStore
from hoso.platform.dynamo import Table
from hoso.platform.identity_rules import RulesInForce
from hoso.platform.objects import Objects
from hoso.platform.settings import Settings
from hoso.platform.stream import Stream, stream_client

_KEPT_HASHES = 20_000
_COUNTER_TIMEOUT_S = 1.0


class DoorParts:
    """Tables, stream, files, and the rules that every event is held to at the door."""

    def __init__(self, settings: Settings) -> None:
        dynamodb = client("dynamodb")
        self.settings = settings
        self.clock = clock_from(settings.clock_file)
        self.table = Table(settings.control_table, dynamodb)
        self.control = ControlStore(self.table, dynamodb, self.clock, settings.config_ttl_ms)
        self.stream = Stream(settings.stream, stream_client())
        self.objects = Objects(settings.bucket, client("s3"))
        # a request waits for the table of the budgets as little as possible: without an answer it is let in
        impatient = client("dynamodb", read_timeout_s=_COUNTER_TIMEOUT_S, attempts=1)
        self.budgets = Budgets(counter(Table(settings.delivery_table, impatient), MINUTE_MS), MINUTE_MS)
        self.plan_of = PlansInUse(self.table, self.clock, settings.config_ttl_ms).of
        self.identity_of = RulesInForce(self.control).of
        self.hasher: Callable[[str], Callable[[str, str], str]] = cache(self._hasher)

    def _hasher(self, workspace: str) -> Callable[[str, str], str]:
        return lru_cache(maxsize=_KEPT_HASHES)(self.control.hasher(workspace).identifier)
