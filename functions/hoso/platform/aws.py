"""botocore clients: one per service and process, with explicit time-outs and attempts (reliability R55)."""

from __future__ import annotations

from functools import cache
from typing import Any

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 6
ATTEMPTS = 3


@cache
def client(service: str, *, read_timeout_s: float = READ_TIMEOUT_S, attempts: int = ATTEMPTS) -> Any:
    """The client of a service. Imported late, so that a handler pays only for the services it uses.

    A caller that retries by itself within a budget asks for one attempt and a shorter time-out.
    """
    from botocore.config import Config

    return _session().create_client(
        service,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # the service checks every request itself; checking it here too takes up to a sixth of the CPU of a call
            parameter_validation=False,
        ),
    )


@cache
def _session() -> Any:
    """One session for all clients: they share what it has read of the services' descriptions."""
    import botocore.session

    return botocore.session.get_session()
