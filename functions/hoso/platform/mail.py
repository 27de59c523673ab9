"""E-mail through Amazon SES v2 (security S16; reliability R40, R47).

SES has no idempotency token, so a call is made once: botocore's own repetitions are off for this client, and every
error says whether the message is known not to be sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formataddr
from typing import Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
)

from hoso.model.errors import InvalidInput, Transient

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_MAX_ADDRESS = 254
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ABORT = frozenset({"MessageRejected", "BadRequestException", "NotFoundException", "InvalidParameterValue"})


class MailRefused(InvalidInput):
    """This message can never be sent as it is."""

    code = "mail_refused"


class MailNotSent(Transient):
    """The message is known not to be sent: throttled, quota used up, sender not verified. Later it may go."""

    code = "mail_not_sent"


class MailOutcomeUnknown(Transient):
    """SES may have taken the message; sending again might send it twice."""

    code = "mail_outcome_unknown"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to one address. ``tags`` come back in SES's own events; letters, digits, ``-`` and ``_`` only."""

    to: str
    subject: str
    html: str
    text: str
    sender: str
    sender_name: str = ""
    reply_to: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def is_address(text: str) -> bool:
    """Whether this is exactly one plain e-mail address.

    >>> is_address("an@example.vn"), is_address("an@example.vn, b@example.vn"), is_address("an@example.vn\\nBcc: b")
    (True, False, False)
    """
    return len(text) <= _MAX_ADDRESS and _ADDRESS.fullmatch(text) is not None


class Mailer:
    """Sends through one SES client (made with a single attempt) and configuration set."""

    def __init__(self, client: Any, configuration_set: str = "") -> None:
        self._client = client
        self._configuration_set = configuration_set

    def send(self, mail: Mail) -> str:
        """Send once; answers SES's message id.

        Raises:
            MailRefused: a header with a line break, more than one address, or SES says never.
            MailNotSent: known not to be sent; may be tried again.
            MailOutcomeUnknown: must not be tried again without a person's decision.
        """
        check(mail)
        try:
            return str(self._client.send_email(**self._wire(mail))["MessageId"])
        except ClientError as error:
            raise _of_answer(error) from error
        except ParamValidationError as error:
            raise MailRefused("SES cannot take the message") from error
        except (ConnectTimeoutError, EndpointConnectionError, NoCredentialsError) as error:
            raise MailNotSent(f"SES was not reached: {type(error).__name__}") from error
        except BotoCoreError as error:
            raise MailOutcomeUnknown(f"no answer of SES: {type(error).__name__}") from error

    def _wire(self, mail: Mail) -> dict[str, Any]:
        body = {"Html": mail.html, "Text": mail.text}
        simple: dict[str, Any] = {
            "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
            "Body": {kind: {"Data": data, "Charset": "UTF-8"} for kind, data in body.items() if data},
        }
        if mail.headers:
            simple["Headers"] = [{"Name": name, "Value": value} for name, value in mail.headers.items()]
        request: dict[str, Any] = {
            "FromEmailAddress": formataddr((mail.sender_name, mail.sender)),
            "Destination": {"ToAddresses": [mail.to]},
            "Content": {"Simple": simple},
        }
        if mail.reply_to:
            request["ReplyToAddresses"] = [mail.reply_to]
        if mail.tags:
            request["EmailTags"] = [{"Name": name, "Value": value} for name, value in mail.tags.items()]
        if self._configuration_set:
            request["ConfigurationSetName"] = self._configuration_set
        return request


def check(mail: Mail) -> None:
    """Raise ``MailRefused`` for what could put a header or a second recipient into the message."""
    for address in (mail.to, mail.sender, *([mail.reply_to] if mail.reply_to else [])):
        if not is_address(address):
            raise MailRefused("not exactly one e-mail address", code="bad_address")
    for text in (mail.subject, mail.sender_name, *mail.headers, *mail.headers.values()):
        if _CONTROL.search(text):
            raise MailRefused("a header must not hold control characters", code="bad_header")
    if not mail.subject.strip() or not (mail.html or mail.text):
        raise MailRefused("a message needs a subject and a body", code="empty_mail")


def _of_answer(error: ClientError) -> Exception:
    response = cast("dict[str, Any]", error.response)
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    if code in _ABORT:
        return MailRefused(f"SES says {code}", code="mail_refused")
    if status >= 500:
        return MailOutcomeUnknown(f"SES says {code}")
    return MailNotSent(f"SES says {code}")
