"""What a pull is made of: a window of time, a job at the sender, the file that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import orjson

from hoso.model.errors import HosoError, InvalidInput
from hoso.model.time import MINUTE_MS, parse_instant
from hoso.platform.http import Outbound, Reply
from hoso.platform.retry import Meaning, meaning, retry_after_ms

MAX_FILE_BYTES = 48 * 1024 * 1024
"""A larger file is refused by ``Caller``; its window is then cut in half."""

MAX_ANSWER_BYTES = 1024 * 1024
_GONE = (404, 410)
Json = dict[str, Any]
Progress = Literal["running", "done", "failed"]


class Trouble(HosoError):
    """The sender did not do as asked. ``after_ms``: when it wants to be asked again, where it says so. ``gone``: the
    job will never be done."""

    code = "pull_failed"

    def __init__(self, message: str, after_ms: int | None = None, *, gone: bool = False) -> None:
        super().__init__(message)
        self.after_ms = after_ms
        self.gone = gone


class TooMuch(HosoError):
    """The file of a window is larger than ``MAX_FILE_BYTES``."""

    code = "pull_too_large"


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked for: one kind of object of a sender, changed from ``since`` to before ``until`` (UTC ms)."""

    settings: Mapping[str, Any]
    object: str
    since: int
    until: int


@dataclass(slots=True)
class Caller:
    """Asks a sender's API. ``headers`` prove who asks."""

    outbound: Outbound
    api: str
    now: int
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def json(self, method: str, path: str, told: Any = None, **headers: str) -> Json:
        """The object that the API answers; ``told`` goes along as JSON, bytes as they are. Raises ``Trouble``."""
        body = b"" if told is None else told if isinstance(told, bytes) else orjson.dumps(told)
        kind = {} if told is None or isinstance(told, bytes) else {"content-type": "application/json"}
        reply = self.call(method, path, body, MAX_ANSWER_BYTES, {**kind, **headers})
        try:
            answer: Any = orjson.loads(reply.body)
        except ValueError as error:
            raise Trouble("the API's answer is no JSON") from error
        if type(answer) is not dict:
            raise Trouble("the API's answer is no JSON object")
        return cast("Json", answer)

    def file(self, path: str, **headers: str) -> Reply:
        """A file, whole. Raises ``Trouble``, ``TooMuch``."""
        reply = self.call("GET", path, b"", MAX_FILE_BYTES + 1, headers)
        if len(reply.body) > MAX_FILE_BYTES:
            raise TooMuch("the file of this window is too large")
        return reply

    def call(self, method: str, path: str, body: bytes, most: int, headers: Mapping[str, str]) -> Reply:
        """The answer, if it is a good one. Raises ``Trouble``."""
        try:
            reply = self.outbound.call(method, self.api + path, {**self.headers, **headers}, body, most=most)
        except HosoError as error:
            raise Trouble(error.message) from error
        if meaning(reply.status) is not Meaning.DELIVERED:
            wait = retry_after_ms(reply.retry_after, self.now)
            raise Trouble(f"the API answers {reply.status}", wait, gone=reply.status in _GONE)
        return reply


class Puller(Protocol):
    """A sender. All but ``objects`` and ``mapping`` may raise ``Trouble``."""

    longest_ms: int
    """The longest window that the sender takes."""

    def objects(self, settings: Mapping[str, Any]) -> list[str]:
        """What is pulled, by these settings."""
        ...

    def mapping(self, window: Window) -> Json:
        """How the rows of its files become events (a mapping of imports)."""
        ...

    def sign_in(self, caller: Caller, settings: Mapping[str, Any], secret: str) -> None:
        """Get a token, and put it into the caller's headers."""
        ...

    def create(self, caller: Caller, window: Window) -> str:
        """Begin a job; answers its id."""
        ...

    def progress(self, caller: Caller, window: Window, job: str) -> Progress:
        """How far it is."""
        ...

    def files(self, caller: Caller, window: Window, job: str) -> Iterator[bytes]:
        """Its files, each with its row of columns. Raises ``TooMuch`` too."""
        ...


def token_of(answer: Json) -> str:
    """The access token of an OAuth answer. Raises ``Trouble``."""
    token = answer.get("access_token")
    if type(token) is not str or not token:
        raise Trouble("the API gives no access token")
    return token


def due_after(settings: Mapping[str, Any]) -> int:
    """Ms from one window to the next."""
    return int(settings["every_minutes"]) * MINUTE_MS


def begin_of(settings: Mapping[str, Any]) -> int:
    """Where the first window begins. Raises ``InvalidInput``."""
    found = parse_instant(settings["since"])
    if found is None:
        raise InvalidInput("pull.since is no instant")
    return found
