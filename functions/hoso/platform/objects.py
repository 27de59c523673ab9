"""Objects in the bucket: put once under a name, read, list. Keys are built by the callers from encoded parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from hoso.model.errors import Conflict, NotFound, Transient

_EXISTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_CHANGED = frozenset({"PreconditionFailed", "412", "NoSuchKey"})
_TRANSIENT = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "503", "500"})


class Objects:
    """One bucket."""

    __slots__ = ("_bucket", "_client")

    def __init__(self, bucket: str, client: Any) -> None:
        self._bucket = bucket
        self._client = client

    def put(self, key: str, body: bytes | BinaryIO, content_type: str = "application/octet-stream") -> None:
        """Write an object, over what is there. Raises ``Transient``."""
        self._call("put_object", Key=key, Body=body, ContentType=content_type)

    def put_once(self, key: str, body: bytes | BinaryIO, content_type: str = "application/octet-stream") -> bool:
        """Write an object unless the name is taken (reliability R24); answers whether it wrote. Raises ``Transient``.

        The name must be a function of the content: then a taken name means that a former try has written it.
        """
        try:
            self._call("put_object", Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in _EXISTS:
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """The bytes of an object. Raises ``NotFound``, ``Transient``."""
        try:
            answer = self._call("get_object", Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise NotFound("no such object") from error
            raise
        return cast("bytes", answer["Body"].read())

    def size(self, key: str) -> tuple[int, str]:
        """Bytes and version tag of an object. Raises ``NotFound``, ``Transient``."""
        try:
            answer = self._call("head_object", Key=key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise NotFound("no such object") from error
            raise
        return int(answer["ContentLength"]), str(answer["ETag"]).strip('"')

    def ranges(self, key: str, step: int = 8 * 1024 * 1024) -> Iterator[bytes]:
        """The bytes of an object in parts of ``step``, one call each: however slow the reader, no connection waits.

        Raises:
            NotFound: no such object.
            Conflict: the object was replaced in between.
            Transient: the bucket does not answer.
        """
        total, tag = self.size(key)
        for first in range(0, total, step):
            last = min(first + step, total) - 1
            try:
                answer = self._call("get_object", Key=key, Range=f"bytes={first}-{last}", IfMatch=tag)
            except ClientError as error:
                if _code(error) in _CHANGED:
                    raise Conflict("the object was replaced while it was read") from error
                raise
            yield cast("bytes", answer["Body"].read())

    def keys(self, prefix: str, after: str = "") -> Iterator[str]:
        """Names under a prefix, in their order; those behind ``after`` if that is given."""
        for page in self._pages(Prefix=prefix, **({"StartAfter": after} if after else {})):
            for entry in cast("list[dict[str, str]]", page.get("Contents", [])):
                yield entry["Key"]

    def folders(self, prefix: str) -> list[str]:
        """The next parts of the names under a prefix that ends in a slash, each with its slash, in their order."""
        found: list[str] = []
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            found += [entry["Prefix"] for entry in cast("list[dict[str, str]]", page.get("CommonPrefixes", []))]
        return found

    def delete(self, key: str) -> None:
        """Remove an object; none there is fine. Raises ``Transient``."""
        self._call("delete_object", Key=key)

    def _pages(self, **request: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._call("list_objects_v2", **request)
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **request)
        except ClientError as error:
            if _code(error) in _TRANSIENT:
                raise Transient(f"the bucket says {_code(error)}") from error
            raise
        except BotoCoreError as error:
            raise Transient(f"{operation}: {type(error).__name__}") from error


def _code(error: ClientError) -> str:
    response = cast("dict[str, Any]", error.response)
    return str(response.get("Error", {}).get("Code", ""))
