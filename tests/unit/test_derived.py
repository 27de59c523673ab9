"""What an event tells beyond its words: campaign, machine, bot, values in the form that compares."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.derived import derived

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.0 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("url", "campaign"),
    [
        (
            "https://x.vn/?utm_source=zalo&utm_medium=oa&utm_campaign=t%E1%BA%BFt&utm_content=a",
            {"source": "zalo", "medium": "oa", "name": "tết", "content": "a"},
        ),
        ("https://x.vn/a?gclid=G1#top", {"source": "google", "click_ids": {"gclid": "G1"}}),
        ("https://x.vn/?utm_source=fb&fbclid=F", {"source": "fb", "click_ids": {"fbclid": "F"}}),
        *[
            (f"https://x.vn/?{key}=1", {"source": whose, "click_ids": {key: "1"}})
            for key, whose in {"gbraid": "google", "wbraid": "google", "ttclid": "tiktok", "zclid": "zalo"}.items()
        ],
        ("https://x.vn/?a=1", None),
        ("no url", None),
    ],
)
def test_campaigns_are_read_from_the_address(url: str, campaign: dict[str, Any] | None) -> None:
    assert derived({"type": "page", "context": {"page": {"url": url}}}).get("campaign") == campaign


def test_what_the_sdk_told_of_the_campaign_counts_first() -> None:
    context = {"campaign": {"source": "mail", "name": None}, "page": {"url": "https://x.vn/?utm_source=a&utm_medium=b"}}
    assert derived({"context": context})["campaign"] == {"source": "mail", "medium": "b"}


def test_machines_are_named_and_bots_flagged() -> None:
    phone = derived({"context": {"userAgent": SAFARI}})["agent"]
    assert (phone["bot"], phone["browser"], phone["os"], phone["os_version"]) == (False, "Mobile Safari", "iOS", "17.1")
    for bot in (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/8.0",
        "coccocbot-web/1.0",
    ):
        assert derived({}, bot)["agent"]["bot"] is True
    assert "agent" not in derived({"context": {"userAgent": ""}})


def test_traits_are_normalised_beside_their_originals() -> None:
    traits = {
        "phone": "01681234567",
        "email": " AN@x.vn",
        "name": "Chị Nguyễn Thị An",
        "birthday": "01/01/1990",
        "address": "P.5, Q.5, TP.HCM",
    }
    event = {"type": "identify", "traits": dict(traits)}
    made = derived(event)["traits"]
    assert event["traits"] == traits
    assert (made["phone"], made["email"], made["gender"]) == ("+84381234567", "an@x.vn", "f")
    assert (made["name"]["family"], made["name"]["given"], made["name"]["folded"]) == ("Nguyễn", "An", "nguyen thi an")
    assert made["birthday"] == {"date": "1990-01-01", "precision": "year"}
    assert made["address"]["current"][0]["ward"] == "Phường An Đông"
    assert "traits" not in derived({"type": "group", "traits": traits})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["traits", "page", "url", "campaign", "name", "address", "phone", "userAgent"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["context", "traits", "properties", "type"]), JSON, max_size=4))
def test_whatever_an_event_holds_nothing_breaks(event: dict[str, Any]) -> None:
    assert type(derived(event)) is dict
