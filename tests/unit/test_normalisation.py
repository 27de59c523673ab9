"""Values in the form that compares: telephones, names, money, days, addresses, match keys. Tables of cases."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.model.addresses import parse_address
from hoso.model.identifiers import normalise
from hoso.model.legacy_text import font, modern
from hoso.model.local_time import birthday, local_date, local_instant
from hoso.model.mail_address import clean_email, google_email
from hoso.model.match_keys import google_key, meta_key
from hoso.model.money import parse_money
from hoso.model.person_names import clean_name, fold, gender, split_name
from hoso.model.phone import e164
from hoso.model.units import units

AN = "+84912345678"
NOTATIONS = [
    *("0912 345 678", "+84 (0)912 345 678", "0084912345678", "912345678", "84 0912345678", "０９１２３４５６７８"),
    *("+84912345678", "84912345678", "0912.345.678", "(+84) 912-345-678", "0912345678 ext 12", "0912345678 máy lẻ 3"),
    *("＋84912345678", "9.12345678E+08", "+84 0912 345 678", "(0912) 345 678"),
]


@pytest.mark.parametrize("text", NOTATIONS)
def test_one_telephone_in_any_notation_is_one_identifier(text: str) -> None:
    assert e164(text) == AN
    if "E+" not in text:
        assert normalise("phone", text) == AN


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("01681234567", "+84381234567"), ("+841681234567", "+84381234567"), ("1681234567", "+84381234567")],
        *[("01231234567", "+84831234567"), ("01991234567", "+84591234567"), ("84 01201234567", "+84701234567")],
        *[("(028) 3822 5678", "+842838225678"), ("+1 800 555 0100", "+18005550100")],
        *[("+44 (0)20 7946 0958", "+442079460958"), ("0044 20 7946 0958", "+442079460958")],
        ("842345678", "+84842345678"),  # a lost zero, not the country
        (912345678, AN),
    ],
)
def test_old_prefixes_landlines_and_the_rest_of_the_world(text: object, number: str) -> None:
    assert e164(text) == number
    assert normalise("phone", text) == number


@pytest.mark.parametrize(
    "text",
    ["09123456789", "123", "1900 1234", "1800123456", "9.12E+08", "", "+", "x", True, 1.5, None, "+84 1900 1234"],
)
def test_hotlines_short_codes_and_damaged_numbers_are_nobodys(text: object) -> None:
    assert e164(text) is None


def test_a_hotline_identifies_nobody() -> None:
    assert normalise("phone", "1900 1234") is None
    assert normalise("phone", "+1 800 555 0100") == "+18005550100"


@settings(max_examples=50)
@given(st.text(alphabet="0123456789+() .-x", max_size=20))
def test_a_number_normalises_to_itself(text: str) -> None:
    found = e164(text)
    assert found is None or (e164(found) == found and normalise("phone", text) == normalise("phone", found))


@pytest.mark.parametrize(
    ("text", "converted", "name"),
    [
        ("NguyÔn ThÞ Hång", "Nguyễn Thị Hồng", "tcvn3"),
        ("Lª §øc Anh", "Lê Đức Anh", "tcvn3"),
        ("Traàn Thò Höông", "Trần Thị Hương", "vni"),
        ("NGUYEÃN VAÊN TEØO", "NGUYỄN VĂN TÈO", "vni"),
        ("Ñaëng Ñình Ñöùc", "Đặng Đình Đức", "vni"),
    ],
)
def test_text_of_legacy_fonts_is_found_and_converted(text: str, converted: str, name: str) -> None:
    assert (modern(text), font(text)) == (converted, name)


@pytest.mark.parametrize(
    "text", ["José", "René", "Müller", "Noël", "Beyoncé", "François", "São Paulo", "Lê Hoà", "Phạm Vượng", "Åsa", "An"]
)
def test_other_names_stay_as_they_are(text: str) -> None:
    assert (modern(text), font(text)) == (text, None)


def test_folding_maps_the_stroked_d_and_its_look_alikes() -> None:
    for text in ("Đặng Đình Đức", "Ðặng ðình Ɖức", "ĐẶNG  ĐÌNH ĐỨC"):
        assert fold(text) == "dang dinh duc"
    assert fold("Hoà") == fold("Hòa") == "hoa"
    assert clean_name(" Nguye\u0302\u0303n  Thị An ") == "Nguyễn Thị An"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Nguyễn Thị An", ("Nguyễn", "Thị", "An")),
        ("Tôn Thất Tùng", ("Tôn Thất", "", "Tùng")),
        ("Âu Dương Phong", ("Âu Dương", "", "Phong")),
        ("Chị Nguyễn Thị Bích Ngọc", ("Nguyễn", "Thị Bích", "Ngọc")),
        ("Mr.An", ("", "", "An")),
        ("Chu Văn An", ("Chu", "Văn", "An")),
        ("An Nguyen", ("Nguyen", "", "An")),
        ("NguyÔn V¨n Nam", ("Nguyễn", "Văn", "Nam")),
    ],
)
def test_a_name_is_split_with_the_family_first(text: str, parts: tuple[str, str, str]) -> None:
    found = split_name(text)
    assert found is not None
    assert (found.family, found.middle, found.given) == parts


def test_a_split_says_how_sure_it_is_and_what_the_form_of_address_tells() -> None:
    sure, turned, foreign = split_name("Chị Trần Thị An"), split_name("An Nguyen"), split_name("John Smith")
    assert sure and turned and foreign
    assert sure.confidence > turned.confidence > foreign.confidence
    assert (sure.honorific, sure.gender, sure.display) == ("Chị", "f", "Trần Thị An")
    assert split_name(" ?! ") is None


@pytest.mark.parametrize(
    ("word", "said"),
    [("Nam", "m"), ("Nữ", "f"), ("Anh", "m"), ("Chị", "f"), ("F", "f"), ("Khác", "other"), ("?", None), (1, None)],
)
def test_gender_words(word: object, said: str | None) -> None:
    assert gender(word) == said


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        *[(text, "1250000", "VND") for text in ("1.250.000đ", "1,250,000 ₫", "1250000", "1 250 000 VNĐ", "1,25 triệu")],
        ("1,250,000.50 USD", "1250000.50", "USD"),
        *[
            ("450.000", "450000", "VND"),
            ("450,000", "450000", "VND"),
            ("450k", "450000", "VND"),
            ("450.00", "450", "VND"),
        ],
        *[
            ("1.234.567,50", "1234567.50", "VND"),
            ("1.234,567", "1234567", "VND"),
            ("1,234.567", "1234567", "VND"),
            ("-450.000", "-450000", "VND"),
            ("(450.000)", "-450000", "VND"),
        ],
        *[("€12,50", "12.50", "EUR"), ("$1,250.50", "1250.50", "USD"), ("1,234 USD", "1234", "USD")],
        (450000, "450000", "VND"),
    ],
)
def test_money_is_read_as_it_is_meant(text: object, amount: str, currency: str) -> None:
    found = parse_money(text)
    assert found is not None
    assert f"{found.amount:f}" == amount
    assert found.currency == currency


def test_minor_units_follow_iso_4217() -> None:
    read = {text: money.minor for text in ("1.250.000đ", "12.50 USD", "1.234 KWD") if (money := parse_money(text))}
    assert read == {"1.250.000đ": 1_250_000, "12.50 USD": 1_250, "1.234 KWD": 1_234}
    half = parse_money("1.234.567,50")
    assert half and (half.minor, half.exact) == (1_234_568, False)


@pytest.mark.parametrize(
    "text",
    [
        "450.5",
        "1.2.3",
        "12.500.00",
        "1.234 USD",
        "",
        "đ",
        "abc",
        "450000 abc",
        "1-2",
        True,
        None,
        float("nan"),
        "9" * 20,
    ],
)
def test_ambiguous_amounts_are_refused(text: object) -> None:
    assert parse_money(text) is None


def test_days_are_written_day_first_in_the_zone_of_the_shop() -> None:
    assert local_instant("05/01/2026 14:05") == local_instant("2026-01-05T07:05:00Z") == 1_767_596_700_000
    assert local_instant("05/01/2026 2:05 PM") == 1_767_596_700_000
    assert local_instant("2026-01-05 14:05:00", "UTC") == 1_767_596_700_000 + 7 * 3_600_000
    assert [
        local_instant(text) for text in ("12/31/2025", "31/02/2026", "soon", "05/01/26", None, "05/01/2026 25:00")
    ] == [None] * 6
    assert local_date("5/1/2026") == "2026-01-05"
    assert (birthday("20/05/1998"), birthday("01/01/1985"), birthday("01/01/1900")) == (
        ("1998-05-20", "day"),
        ("1985-01-01", "year"),
        None,
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (" An.Nguyen@Example.COM ", "an.nguyen@example.com"),
        ("An <an@b.vn>", "an@b.vn"),
        ("mailto:an@b.vn;", "an@b.vn"),
        *[(text, None) for text in ("an@home", "a b@c.vn", "a@@b.vn", "", "@b.vn", "a..b@c.vn", ".a@c.vn", False, 5)],
    ],
)
def test_mail_addresses(text: object, clean: str | None) -> None:
    assert clean_email(text) == clean


def test_dots_count_for_nothing_at_google_only() -> None:
    assert google_email("A.n.Nguyen@Gmail.com") == "annguyen@gmail.com"
    assert google_email("a.n@example.com") == "a.n@example.com"


@pytest.mark.parametrize(
    ("text", "scheme", "ward", "district", "today"),
    [
        ("12/3 Nguyễn Trãi, P.5, Q.5, TP.HCM", "pre2025", "Phường 5", "Quận 5", "Phường An Đông"),
        ("12/3/4 Nguyễn Trãi P5 Q5 TPHCM", "pre2025", "Phường 5", "Quận 5", "Phường An Đông"),
        ("Phường Sài Gòn, TP. Hồ Chí Minh", "2025", "Phường Sài Gòn", None, "Phường Sài Gòn"),
        ("TT. Sóc Sơn, H. Sóc Sơn, TP. Hà Nội 100000", "pre2025", "Thị trấn Sóc Sơn", "Huyện Sóc Sơn", "Xã Sóc Sơn"),
        ("X. Tam Hải, H. Núi Thành, Quảng Nam, Việt Nam", "pre2025", "Xã Tam Hải", "Huyện Núi Thành", "Xã Tam Hải"),
        ("P. Bến Nghé - Q.1 - TP.HCM", "pre2025", "Phường Bến Nghé", "Quận 1", "Phường Sài Gòn"),
        (
            "Phường Xuân Hương - Đà Lạt, Lâm Đồng",
            "2025",
            *["Phường Xuân Hương - Đà Lạt", None],
            "Phường Xuân Hương - Đà Lạt",
        ),
        # forms that ask for city and state get the province twice
        ("Phường Thuận Hòa, TP Huế, Thừa Thiên Huế", "pre2025", "Phường Thuận Hòa", "Quận Phú Xuân", "Phường Phú Xuân"),
        ("P. Bến Nghé, Quận 1, Hồ Chí Minh, TP. HCM", "pre2025", "Phường Bến Nghé", "Quận 1", "Phường Sài Gòn"),
        ("Phường Sài Gòn, Hồ Chí Minh, Hồ Chí Minh", "2025", "Phường Sài Gòn", None, "Phường Sài Gòn"),
        ("P. Lê Lợi, TP. Hưng Yên, Hưng Yên", "pre2025", "Phường Lê Lợi", "Thành phố Hưng Yên", "Phường Phố Hiến"),
        ("45 Lê Lợi, TX. Thuận An, Bình Dương", "pre2025", None, "Thành phố Thuận An", None),
    ],
)
def test_an_address_is_read_in_its_scheme_and_brought_to_todays(
    text: str, scheme: str, ward: str | None, district: str | None, today: str | None
) -> None:
    found = parse_address(text)
    assert found is not None
    assert found.address_raw == text
    assert found.level_scheme == scheme
    assert (found.ward and found.ward["name"], found.district and found.district["name"]) == (ward, district)
    assert found.current[0]["ward"] == today


def test_a_merged_province_is_part_of_todays() -> None:
    today = {
        text: found.current[0]["province"] for text in ("Bình Dương", "Hải Dương") if (found := parse_address(text))
    }
    assert today == {"Bình Dương": "Thành phố Hồ Chí Minh", "Hải Dương": "Thành phố Hải Phòng"}


def test_the_reserved_trait_and_what_is_no_address_of_the_country() -> None:
    trait = parse_address(
        {"street": "1 Lê Duẩn", "ward": "Bến Nghé", "district": "Quận 1", "city": "HCM", "country": "VN"}
    )
    assert trait and trait.ward == {"code": "26740", "name": "Phường Bến Nghé"} and trait.street == "1 Lê Duẩn"
    abroad = parse_address("123 Main St, Springfield")
    assert abroad and (abroad.level_scheme, abroad.current) == (None, [])
    assert parse_address("") is parse_address(5) is parse_address({}) is None


def test_wards_map_many_to_many() -> None:
    table = units()
    assert (len(table.provinces.units), len(table.wards.units), len(table.old_provinces.units)) == (34, 3_321, 63)
    divided = next(old for old, heirs in enumerate(table.heirs) if len(heirs) > 1)
    heirs = table.new_wards(table.old_wards.units[divided].code)
    assert len(heirs) > 1
    assert all(table.old_wards.units[divided].code in table.old_wards_of(heir) for heir in heirs)
    assert all(table.heirs)


def test_match_keys_are_hashes_of_each_platforms_form() -> None:
    hashes = {
        value: sha256(value.encode()).hexdigest()
        for value in ("84912345678", AN, "nguyễn", "hànội", "f", "19980520", "vn")
    }
    assert meta_key("ph", "0912 345 678") == hashes["84912345678"]
    assert google_key("phone", "0912 345 678") == hashes[AN]
    assert meta_key("ln", "Nguye\u0302\u0303n") == hashes["nguyễn"]
    assert meta_key("ct", "Hà Nội") == hashes["hànội"]
    assert (meta_key("ge", "Nữ"), meta_key("db", "20/05/1998")) == (hashes["f"], hashes["19980520"])
    assert meta_key("country", "VN") == hashes["vn"]
    assert meta_key("em", hashes["vn"]) == hashes["vn"]
    assert meta_key("em", " ") is meta_key("fn", "!") is google_key("phone", "1900 1234") is None
