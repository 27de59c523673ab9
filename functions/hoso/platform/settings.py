"""All settings of a function, read once from its environment. Names in the templates: ``HOSO_`` + upper case."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from hoso.model.errors import Misconfigured

_PREFIX = "HOSO_"


class Settings(BaseModel):
    """What the templates pass to a function. A function gets only what its job needs; the rest stays empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str = "dev"
    workspace: str = "main"
    """The workspace of jobs that no write key starts (nightly, sweepers)."""
    profiles_table: str = ""
    control_table: str = ""
    delivery_table: str = ""
    outbox_table: str = ""
    shadow_table: str = ""
    """Where replays rebuild people for a comparison."""
    stream: str = ""
    bucket: str = ""
    bus: str = ""
    machine: str = ""
    """ARN of the state machine that the function starts: nightly work, replays, or imports."""
    mail_from: str = ""
    mail_configuration_set: str = ""
    lookups: str = ""
    """URL of the queue of what is to be fetched from the APIs of senders."""
    dead_letters: str = ""
    """URL of the queue that takes what a channel gave up."""
    public_url: str = ""
    """Address under which the world reaches the ingest API; empty means: as the request says."""
    config_ttl_ms: int = 5_000
    """How long a process may use a control document before it reads again (write keys: at most 60 s)."""
    workspace_events_per_minute: int = 6_000_000
    """Budget of all sources of a workspace together; each source has its own besides."""
    new_profiles_per_hour: int = 1_000_000
    """New people that a workspace may get in an hour; events of further ones wait in quarantine, stage ``flood``."""
    dedupe_days: int = 7
    timeline_days: int = 400
    outbound_http: bool = False
    """Allow http and private addresses as webhook targets; only the twin sets it."""
    clock_file: str = ""
    """A file with a clock offset in milliseconds; only the twin sets it."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings from an environment; unknown ``HOSO_`` names are refused, so that a typing error shows at once.

        Raises:
            Misconfigured: a value has the wrong type or a name is unknown.
        """
        given = {key.removeprefix(_PREFIX).lower(): value for key, value in env.items() if key.startswith(_PREFIX)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            names = ", ".join(_PREFIX + str(item["loc"][0]).upper() for item in error.errors())
            raise Misconfigured(f"bad setting: {names}", hint="check the function's environment") from error
