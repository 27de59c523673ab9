"""E-mail headers: nothing of a customer or operator can add a header or a second recipient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hoso.platform.mail import Mail, Mailer, MailRefused, is_address

GOOD = Mail(to="an@example.vn", subject="Chào", html="<p>x</p>", text="x", sender="shop@example.com")
HEADER = ["x\r\nBcc: a@example.com", "x\nBcc: a@example.com", "x\rBcc: a", "x\x00", "x\x0b", "x\x85y", "x\u2028y"]
ADDRESSES = [
    *("", "an", "an@", "@example.vn", "an@example", "an@@example.vn", "an@example.vn,b@example.vn", "an@example.vn b"),
    *("<an@example.vn>", '"An" <an@example.vn>', "an@example.vn\r\nBcc: b@example.vn", "an@exa mple.vn", "an@.vn"),
    *("a" * 65 + "@example.vn", "an@" + "a." * 130 + "vn", "an;b@example.vn", "ấn@example.vn", "(c)an@example.vn"),
]


class Ses:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_email(self, **request: Any) -> dict[str, str]:
        self.sent.append(request)
        return {"MessageId": "m-1"}


@pytest.mark.parametrize("text", HEADER)
@pytest.mark.parametrize("field", ["subject", "sender_name"])
def test_s16_control_characters_in_headers_are_refused(field: str, text: str) -> None:
    ses = Ses()

    with pytest.raises(MailRefused):
        Mailer(ses).send(replace(GOOD, **{field: text}))
    with pytest.raises(MailRefused):
        Mailer(ses).send(replace(GOOD, headers={"X-Note": text}))
    with pytest.raises(MailRefused):
        Mailer(ses).send(replace(GOOD, headers={text: "note"}))
    assert ses.sent == []


@pytest.mark.parametrize("text", ADDRESSES)
def test_s16_exactly_one_address(text: str) -> None:
    assert not is_address(text)
    for field in ("to", "sender", "reply_to") if text else ("to", "sender"):
        with pytest.raises(MailRefused):
            Mailer(Ses()).send(replace(GOOD, **{field: text}))


@pytest.mark.parametrize(
    "text", ["an@example.vn", "an.nguyen+x@mail.example.co.uk", "o'neil@example.com", "a_b-c@x.vn"]
)
def test_addresses(text: str) -> None:
    assert is_address(text)


def test_s16_display_names_are_encoded() -> None:
    ses = Ses()
    Mailer(ses, "set").send(replace(GOOD, sender_name='Cửa hàng, "Gạo"', reply_to="r@example.com"))

    (request,) = ses.sent
    assert request["FromEmailAddress"].isascii()
    assert request["FromEmailAddress"].endswith("<shop@example.com>")
    assert "," not in request["FromEmailAddress"]
    assert request["Destination"] == {"ToAddresses": ["an@example.vn"]}
    assert (request["ReplyToAddresses"], request["ConfigurationSetName"]) == (["r@example.com"], "set")


def test_an_empty_message_is_refused() -> None:
    for change in ({"subject": " "}, {"html": "", "text": ""}):
        with pytest.raises(MailRefused):
            Mailer(Ses()).send(replace(GOOD, **change))
