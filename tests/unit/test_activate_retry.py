"""What an answer means, how long to wait, when to give up; the breaker; signatures."""

from __future__ import annotations

import random
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hoso.activate import signing
from hoso.activate.breaker import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, THRESHOLD, Breaker
from hoso.model.time import DAY_MS, HOUR_MS
from hoso.platform import retry
from hoso.platform.retry import CAP_MS, QUEUE_KEEPS_MS, WEBHOOK, Meaning

NOW = 1_767_596_400_000
SECRET = "whsec_Y2RwLXRlc3Qtc2lnbmluZy1rZXktMDEyMzQ1Njc4OSE="
PUBLISHED_BODY = (
    b'{"type":"segment.entered","timestamp":"2026-01-05T07:00:00Z",'
    b'"data":{"profile_id":"p_01","segment":"cart-abandoners"}}'
)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, Meaning.DELIVERED),
        (201, Meaning.DELIVERED),
        (202, Meaning.DELIVERED),
        (204, Meaning.DELIVERED),
        (301, Meaning.REFUSED),
        (302, Meaning.REFUSED),
        (307, Meaning.REFUSED),
        (400, Meaning.REFUSED),
        (401, Meaning.UNAUTHORISED),
        (403, Meaning.UNAUTHORISED),
        (404, Meaning.REFUSED),
        (408, Meaning.RETRY),
        (410, Meaning.GONE),
        (413, Meaning.REFUSED),
        (422, Meaning.REFUSED),
        (425, Meaning.RETRY),
        (429, Meaning.THROTTLED),
        (500, Meaning.RETRY),
        (503, Meaning.RETRY),
        (504, Meaning.RETRY),
    ],
)
def test_r41_the_table_of_twenty_answers(status: int, meaning: Meaning) -> None:
    assert retry.meaning(status) is meaning


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        (None, None),
        ("0", 0),
        ("7", 7_000),
        (" 120 ", 120_000),
        ("Mon, 05 Jan 2026 07:00:30 GMT", 30_000),
        ("Mon, 05 Jan 2026 06:00:00 GMT", 0),
        ("999999999999", retry.LONGEST_WAIT_MS),
        ("Fri, 31 Dec 9999 23:59:59 GMT", retry.LONGEST_WAIT_MS),
        *((text, None) for text in ("soon", "", "-5", "1.5", "²", "Mon, 99 Xxx 2026")),
    ],
)
def test_r41_retry_after_in_seconds_or_as_a_date(header: str | None, wait_ms: int | None) -> None:
    assert retry.retry_after_ms(header, NOW) == wait_ms


def test_r41_full_jitter_is_bounded_and_never_less_than_asked_for() -> None:
    uniform = random.Random(7).uniform

    for tries in range(1, 60):
        waits = [retry.delay_ms(tries, None, uniform) for _ in range(50)]
        assert max(waits) <= CAP_MS
        assert min(waits) >= 1_000
    assert max(retry.delay_ms(1, None, uniform) for _ in range(50)) <= 10_000
    assert retry.delay_ms(1, 3 * HOUR_MS, uniform) == 3 * HOUR_MS


def test_r41_given_up_only_when_the_time_and_the_tries_are_used_up() -> None:
    late = NOW + WEBHOOK.length_ms

    assert not retry.is_over(WEBHOOK, NOW, 100, late - 1)
    assert not retry.is_over(WEBHOOK, NOW, WEBHOOK.least_tries - 1, late)
    assert retry.is_over(WEBHOOK, NOW, WEBHOOK.least_tries, late)
    assert retry.is_over(WEBHOOK, NOW, 1, NOW + QUEUE_KEEPS_MS)


def test_the_queue_never_forgets_before_the_courier_gives_up() -> None:
    assert WEBHOOK.length_ms < QUEUE_KEEPS_MS < 4 * DAY_MS - 12 * HOUR_MS + 1


def test_r43_the_breaker_opens_after_repeated_faults_and_then_for_longer() -> None:
    state = Breaker(1)
    for _ in range(THRESHOLD - 1):
        state = state.failed(NOW)
    assert state.wait_ms(NOW) == 0
    pauses = []
    for _ in range(12):
        state = state.failed(NOW)
        pauses.append(state.wait_ms(NOW))

    assert pauses[:3] == [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, 4 * FIRST_PAUSE_MS]
    assert pauses[-1] == LONGEST_PAUSE_MS
    assert state.is_half_open
    assert state.probing(NOW).wait_ms(NOW) == FIRST_PAUSE_MS
    assert state.succeeded() == Breaker(1)


def test_r43_busy_is_no_fault() -> None:
    state = Breaker(1).throttled(NOW, 20_000)

    assert (state.failures, state.wait_ms(NOW)) == (0, 20_000)
    assert Breaker(1).throttled(NOW, 10**9).wait_ms(NOW) == LONGEST_PAUSE_MS


def test_s25_the_published_signature() -> None:
    made = signing.headers("msg_2test", NOW, PUBLISHED_BODY, [SECRET])

    assert made["webhook-signature"] == "v1,PJ3XzwFV7K30qLLJ6llVgB3tm4UqqxHRvDtBes6xZkk="


def test_s25_the_published_verifier_accepts_either_secret_of_a_rotation() -> None:
    import time

    old, new = signing.new_secret(), signing.new_secret()
    made = signing.headers("id", int(time.time() * 1_000), b'{"a": 1}', [new, old])

    for secret in (old, new):
        assert Webhook(secret).verify(b'{"a": 1}', made) == {"a": 1}
    for secret, body in ((signing.new_secret(), b'{"a": 1}'), (new, b'{"a": 2}')):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, made)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (SECRET, True),
        ("whsec_" + "QUFB" * 21 + "QQ==", True),
        ("whsec_" + "QQ==", False),
        ("whsec_" + "QUFB" * 8, True),
        ("whsec_" + "QUFB" * 7 + "QUE=", False),
        ("whsec_" + "QUFB" * 22, False),
        ("whsec_not base64 at all!", False),
        ("whpk_" + "QUFB" * 8, False),
        ("", False),
        ("whsec_é", False),
    ],
)
def test_s25_a_secret_is_24_to_64_bytes(text: str, good: bool) -> None:
    assert signing.is_secret(text) is good


def test_every_new_secret_is_another() -> None:
    made: Any = {signing.new_secret() for _ in range(100)}
    assert len(made) == 100
