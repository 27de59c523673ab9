"""The short way from a client to moto: hot calls reach moto's handlers without HTTP, JSON and signing.

botocore serializes, signs and parses, moto routes, decodes and serializes: 0.5 to 1 ms of CPU a call. A call whose
client speaks to the mocked AWS goes straight to the method of moto's response class instead. Parameters are checked
by botocore's own validator (attribute values by ``values``), errors pass through moto's serializer and botocore's
parser, so that a caller cannot tell the two ways apart.
"""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from werkzeug.exceptions import HTTPException

from infra.twin import calls
from infra.twin.calls import Call, Proceed
from infra.twin.moto_fixes.dynamodb import LOCK, account
from infra.twin.moto_fixes.values import Malformed

_mocked: Any = import_module("moto.core.models").botocore_stubber
_HANDLERS: dict[str, Any] = {
    "dynamodb": import_module("moto.dynamodb.responses").DynamoHandler,
    "dynamodbstreams": import_module("moto.dynamodbstreams.responses").DynamoDBStreamsHandler,
    "kinesis": import_module("moto.kinesis.responses").KinesisResponse,
    "sqs": import_module("moto.sqs.responses").SQSResponse,
    "events": import_module("moto.events.responses").EventsHandler,
}
HOT = {
    "dynamodb": "GetItem PutItem DeleteItem UpdateItem Query Scan BatchGetItem BatchWriteItem TransactGetItems "
    "TransactWriteItems",
    "dynamodbstreams": "GetShardIterator GetRecords",
    "kinesis": "PutRecord PutRecords GetShardIterator GetRecords",
    "sqs": "SendMessage SendMessageBatch ReceiveMessage DeleteMessage DeleteMessageBatch ChangeMessageVisibility",
    "events": "PutEvents",
}
_HOT = frozenset((service, operation) for service, names in HOT.items() for operation in names.split())


def patch() -> None:
    """Put the layer in place."""
    calls.use("engine", engine)


def engine(call: Call, proceed: Proceed) -> dict[str, Any]:
    """Answer a hot call; let any other pass."""
    if (call.service, call.operation) not in _HOT or not _mocked.enabled:
        return proceed(call)
    if not call.client.meta.endpoint_url.endswith(".amazonaws.com"):
        return proceed(call)
    model: Any = call.client.meta.service_model.operation_model(call.operation)
    report: Any = _VALIDATOR.validate(call.params, model.input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())
    handler = _handler(call)
    try:
        with LOCK if call.service.startswith("dynamodb") else nullcontext():
            answer = getattr(handler, _method(call.operation))()
    except Malformed:
        return proceed(call)
    except (ServiceException, HTTPException) as error:
        raise _failure(call, model, handler, error) from None
    result: dict[str, Any] = json.loads(answer) if isinstance(answer, str) else answer.result or {}
    members: Any = model.output_shape.members if model.output_shape else ()
    reply = {name: entry for name, entry in result.items() if name in members and entry is not None}
    reply["ResponseMetadata"] = {"HTTPStatusCode": 200, "RequestId": "direct", "HTTPHeaders": {}, "RetryAttempts": 0}
    return reply


def _handler(call: Call) -> Any:
    handler = _HANDLERS[call.service]()
    handler.automated_parameter_parsing = True
    handler.body = handler.params = _as_moto_reads(call)
    handler.uri_match = {}
    handler.region = call.client.meta.region_name
    handler.current_account = account()
    return handler


def _as_moto_reads(call: Call) -> dict[str, Any]:
    """The parameters in the form in which moto's handler gets them; a copy where it changes them."""
    params = call.params
    if call.service == "kinesis" and call.operation.startswith("Put"):
        if "Records" in params:
            return {**params, "Records": [_encoded(record) for record in params["Records"]]}
        return _encoded(params)
    if call.service == "sqs" and "Entries" in params:
        return {**params, "Entries": [dict(entry) for entry in params["Entries"]]}
    return params


def _encoded(record: dict[str, Any]) -> dict[str, Any]:
    data = record["Data"]
    return {**record, "Data": b64encode(data.encode() if isinstance(data, str) else data).decode()}


def _failure(call: Call, model: Any, handler: Any, error: Any) -> Exception:
    """The exception that botocore would raise for moto's error."""
    if isinstance(error, HTTPException):
        status, headers, body = error.code or 400, dict(error.get_headers()), error.description or ""
    else:
        metadata = model.service_model.metadata
        handler.headers = {"Content-Type": f"application/x-amz-json-{metadata['jsonVersion']}"}
        handler.querystring = {"Action": [call.operation]}
        handler.response_headers = {}
        status, headers, body = handler.serialized(ActionResult(error))
    raw = {"status_code": status, "headers": headers, "body": body.encode() if isinstance(body, str) else body}
    parser = _parser(model.service_model.protocol)
    parsed = parser.parse(raw, model.output_shape)
    code = parsed["Error"]["Code"]
    fields = model.service_model.shape_for_error_code(code)
    if fields is not None:
        parsed.update(parser.parse(raw, fields))
    return call.client.exceptions.from_code(code)(parsed, call.operation)


_validate_map: Any = getattr(ParamValidator, "_validate_map")  # noqa: B009


class _Validator(ParamValidator):
    """botocore's validator without attribute values: ``values`` checks these, faster and further."""

    def _validate_map(self, param: Any, shape: Any, errors: Any, name: str) -> None:
        if shape.value.name != "AttributeValue" or not isinstance(param, dict):
            _validate_map(self, param, shape, errors, name)  # pyright: ignore[reportUnknownArgumentType]


_VALIDATOR: Any = _Validator()
_method = cache(camelcase_to_underscores)
_parser: Any = cache(import_module("botocore.parsers").create_parser)
