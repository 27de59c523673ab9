"""People with several records each, for the matcher: own names, habits and errors; the truth is known.

``people(seed, records, noise)`` gives a header and rows as `hoso match` reads them, and per row the person it is of.
Noise: ``clean`` (few errors), ``base``, ``shifted`` (more errors, more fields empty, other shares of sources).
"""

# ruff: noqa: E501
from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass, field

HEADER = [
    "record_id",
    "source",
    "first_name",
    "last_name",
    "email",
    "phone",
    "dob",
    "gender",
    "address",
    "ward",
    "district",
    "city",
    "country",
    "updated_at",
]
_SURNAMES = (
    "Nguyễn 31 Trần 11 Lê 10 Phạm 7 Hoàng 5 Phan 4 Vũ 4 Đặng 3 Bùi 3 Đỗ 3 Hồ 2 Ngô 2 Dương 2 Lý 1 Đinh 1 Trịnh 1 Đoàn 1 Lâm 1 "
    "Mai 1 Cao 1 Tạ 1 Hà 1 Châu 1 Kiều 0.5 Thái 0.5 Tô 0.5 Lương 1 Trương 1"
)
_WOMEN = (
    "Lan Hương Hoa Hồng Thảo Linh Trang Ngọc Mai Hà Thu Yến Phương Quyên Nhung Thủy Hạnh Dung Loan Oanh Trinh Tuyết Vy "
    "Nga Diễm Như Chi Hằng Hiền Huyền Khánh Kiều My Nhi Thơ Xuân Ánh Diệp Giang Lam Thúy Trâm Vân Bích Châu"
)
_MEN = (
    "Hùng Dũng Tuấn Minh Nam Sơn Hải Long Quân Khoa Phúc Đức Thắng Tài Tâm Bảo Bình Cường Đạt Duy Hiếu Hòa Hoàng Huy Khang "
    "Kiên Lộc Luân Nghĩa Nhân Phong Quang Quốc Thành Thiện Thịnh Trí Trung Tú Việt Vinh Vũ An Chính Định Khải Toàn"
)
_MIDDLE_W = "Thị Thị Thị Ngọc Thu Thanh Kim Bích Hồng Mỹ Minh Quỳnh Phương Khánh Hoài Diệu Xuân Bảo"
_MIDDLE_M = "Văn Văn Văn Hữu Đức Minh Quang Thanh Công Anh Hoàng Quốc Xuân Ngọc Tuấn Gia Duy Đình Trọng Mạnh"
_US_SURNAMES = (
    "Smith 10 Johnson 8 Williams 7 Brown 6 Jones 6 Miller 5 Davis 5 Garcia 4 Wilson 4 Anderson 3 Taylor 3 Moore 2 Lee 2 "
    "Harris 2 Clark 2 Lewis 2 Walker 2 Hall 1 Young 1 King 1 Wright 1 Hill 1 Scott 1 Baker 1 Carter 1 Turner 1 Parker 1 "
    "Morris 1 Cook 1 Bell 1 Ward 1 Gray 1 Price 0.7 Wood 0.7 Barnes 0.7 Ross 0.7 Perry 0.7 Fisher 0.7 Simpson 0.6 Murphy 0.6 "
    "O'Neill 0.4 Hunter 0.5 Palmer 0.5 Dixon 0.4 Burns 0.4 Gordon 0.4 Shaw 0.4 Holmes 0.4 Stone 0.4 Ferguson 0.3 Byrd 0.2"
)
_US_WOMEN = (
    "Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Nancy Lisa Margaret Sandra Ashley Emily Donna "
    "Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Laura Helen Amy Anna Angela Ruth Brenda Pamela Nicole Katherine"
)
_US_MEN = (
    "James John Robert Michael William David Richard Charles Joseph Thomas Christopher Daniel Paul Mark Donald George Kenneth "
    "Steven Edward Brian Ronald Anthony Kevin Jason Matthew Gary Timothy Jose Larry Jeffrey Frank Scott Eric Andrew Peter"
)
_SHORT = {
    "Robert": "Bob", "William": "Bill", "Michael": "Mike", "Thomas": "Tom", "Jennifer": "Jen", "Elizabeth": "Liz",
    "Katherine": "Kate", "Matthew": "Matt", "Christopher": "Chris", "Andrew": "Andy", "Daniel": "Dan", "Steven": "Steve",
    "Patricia": "Pat", "Deborah": "Debbie", "Kenneth": "Ken", "Timothy": "Tim", "Susan": "Sue", "Rebecca": "Becky",
}  # fmt: skip
_STREETS = [
    "Lê Lợi",
    "Nguyễn Huệ",
    "Trần Hưng Đạo",
    "Hai Bà Trưng",
    "Lý Thường Kiệt",
    "Nguyễn Trãi",
    "Điện Biên Phủ",
    "Cách Mạng Tháng Tám",
    "Võ Thị Sáu",
    "Pasteur",
    "Nguyễn Đình Chiểu",
    "Phan Xích Long",
    "Hoàng Diệu",
    "Bà Triệu",
    "Quang Trung",
    "Tây Sơn",
    "Láng Hạ",
    "Kim Mã",
    "Đội Cấn",
    "Giải Phóng",
    "Xuân Thủy",
    "Nguyễn Văn Linh",
    "Lê Duẩn",
    "Ông Ích Khiêm",
    "Hùng Vương",
    "Phan Chu Trinh",
    "Lạc Long Quân",
    "Âu Cơ",
    "Trường Chinh",
    "Phạm Văn Đồng",
    "Tô Hiệu",
    "Lê Hồng Phong",
    "Trần Phú",
    "Nguyễn Thị Minh Khai",
    "Bùi Thị Xuân",
    "Lê Văn Sỹ",
    "Huỳnh Thúc Kháng",
    "Ngô Gia Tự",
    "Phan Bội Châu",
    "Hòa Bình",
]
_US_STREETS = (
    "Oak Maple Cedar Pine Elm Washington Lake Hill Main Park View Walnut Spring North Ridge Church Willow Mill River Sunset "
    "Railroad Jackson Lincoln Madison Franklin Highland Forest Jefferson Center Chestnut Victoria Meadow Broadway Prospect"
)
_US_KINDS = "Street/St Avenue/Ave Road/Rd Lane/Ln Drive/Dr Court/Ct Boulevard/Blvd"
_US_TOWNS = (
    "Salem Milton Newport Oxford Clinton Dover Hudson Madison Ashland Bristol Georgetown Springfield Franklin Greenville "
    "Riverside Fairview Kingston Arlington Burlington Lexington Auburn Camden Marion Chester"
)
_CITIES = {
    "Hồ Chí Minh": ("HCM/TP.HCM/TP Hồ Chí Minh/Sài Gòn/Ho Chi Minh City", [*map(str, range(1, 13)), "Bình Thạnh", "Phú Nhuận",
                    "Tân Bình", "Tân Phú", "Gò Vấp", "Thủ Đức", "Bình Tân"]),
    "Hà Nội": ("HN/Hanoi/TP Hà Nội", ["Ba Đình", "Hoàn Kiếm", "Đống Đa", "Cầu Giấy", "Tây Hồ", "Hai Bà Trưng", "Thanh Xuân",
               "Hà Đông", "Long Biên"]),
    "Đà Nẵng": ("Da Nang", ["Hải Châu", "Thanh Khê", "Sơn Trà", "Liên Chiểu", "Cẩm Lệ"]),
    "Hải Phòng": ("Hai Phong", ["Hồng Bàng", "Lê Chân", "Ngô Quyền", "Kiến An"]),
    "Cần Thơ": ("Can Tho", ["Ninh Kiều", "Bình Thủy", "Cái Răng", "Ô Môn"]),
    "Huế": ("Hue", ["Phú Hội", "Vĩnh Ninh", "Thuận Thành"]),
    "Bình Dương": ("Thủ Dầu Một", ["Phú Cường", "Hiệp Thành"]),
}  # fmt: skip
_WARDS = [
    "Bến Nghé",
    "Đa Kao",
    "Tân Định",
    "Thảo Điền",
    "Linh Trung",
    "Dịch Vọng",
    "Trúc Bạch",
    "Láng Thượng",
    "Phúc Xá",
    "An Hải",
    "Mỹ An",
]
_SITES = "gmail.com gmail.com gmail.com gmail.com gmail.com yahoo.com hotmail.com icloud.com outlook.com yahoo.com.vn"
_WORDS = "pro cute kun miu vn shop love 88 sky bee"
_PREFIXES = "032 033 034 035 036 037 038 039 070 076 077 078 079 081 082 083 084 085 086 088 089 090 091 093 094 096 097 098 056 058"
_OLD = {
    "032": "0162", "033": "0163", "034": "0164", "035": "0165", "036": "0166", "037": "0167", "038": "0168", "039": "0169",
    "070": "0120", "079": "0121", "077": "0122", "076": "0126", "078": "0128", "083": "0123", "084": "0124", "085": "0125",
    "081": "0127", "082": "0129", "056": "0186", "058": "0188",
}  # fmt: skip
_TELEX = {"á": "as", "à": "af", "ả": "ar", "ã": "ax", "ạ": "aj", "â": "aa", "ă": "aw", "ê": "ee", "ô": "oo", "ơ": "ow", "ư": "uw", "đ": "dd"}  # fmt: skip
_FILLED = {
    "crm": {"email": 0.76, "phone": 0.86, "dob": 0.88, "gender": 0.95, "address": 0.85},
    "shop": {"email": 0.94, "phone": 0.80, "dob": 0.26, "gender": 0.31, "address": 0.90},
    "pos": {"email": 0.25, "phone": 0.95, "dob": 0.46, "gender": 0.51, "address": 0.15},
    "call": {"email": 0.19, "phone": 0.96, "dob": 0.34, "gender": 0.60, "address": 0.59},
    "news": {"email": 1.00, "phone": 0.08, "dob": 0.08, "gender": 0.11, "address": 0.04},
}


@dataclass(frozen=True)
class Noise:
    """Chances of what goes wrong."""

    typo: float
    plain: float
    order: float
    filler: float
    empty: float
    moved: float
    sources: tuple[float, ...] = (30, 28, 20, 10, 12)


LEVELS = {
    "clean": Noise(0.005, 0.3, 0.03, 0.01, -0.45, 0.15),
    "base": Noise(0.06, 0.5, 0.22, 0.04, 0.02, 0.50),
    "shifted": Noise(0.10, 0.6, 0.28, 0.07, 0.15, 0.65, (20, 24, 26, 15, 15)),
}


@dataclass
class _Person:
    """What is true of a person."""

    vietnamese: bool
    woman: bool
    surname: str
    middle: str
    given: str
    born: tuple[int, int, int]
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    homes: list[tuple[str, ...]] = field(default_factory=list)


class _World:
    def __init__(self, seed: int, noise: Noise, households: float) -> None:
        self.r = random.Random(seed)
        self.noise = noise
        self.households = households
        self.taken: set[str] = set()

    def weighted(self, text: str) -> str:
        parts = text.split()
        return self.r.choices(parts[::2], [float(part) for part in parts[1::2]])[0]

    def pick(self, text: str) -> str:
        return self.r.choice(text.split())

    def person(self, vietnamese: bool, surname: str | None = None, woman: bool | None = None, age: int = 0) -> _Person:
        r = self.r
        woman = r.random() < 0.5 if woman is None else woman
        if vietnamese:
            middle = self.pick(_MIDDLE_W if woman else _MIDDLE_M)
            if woman and middle == "Thị" and r.random() < 0.15:
                middle = "Thị " + self.pick("Ngọc Thanh Kim Thu Hồng")
            given = self.pick(_WOMEN if woman else _MEN)
            surname = surname or self.weighted(_SURNAMES)
        else:
            middle = r.choice("ABCDEJKLMPRSTW") if r.random() < 0.4 else ""
            given = self.pick(_US_WOMEN if woman else _US_MEN)
            surname = surname or self.weighted(_US_SURNAMES)
        year = age or r.randint(1946, 2009)
        made = _Person(vietnamese, woman, surname, middle, given, (year, r.randint(1, 12), r.randint(1, 28)))
        made.phones = [self.phone(vietnamese)]
        made.emails = [self.email(made)]
        made.homes = [self.home(vietnamese)]
        for values, make in (
            (made.phones, lambda: self.phone(vietnamese)),
            (made.emails, lambda: self.email(made)),
            (made.homes, lambda: self.home(vietnamese)),
        ):
            while r.random() < self.noise.moved and len(values) < 3:
                values.append(make())  # type: ignore[arg-type]
        return made

    def household(self) -> list[_Person]:
        r = self.r
        vietnamese = r.random() < 0.7
        head = self.person(vietnamese)
        found = [head]
        for _ in range(r.choice((1, 1, 1, 2, 2, 3))):
            child = r.random() < 0.5
            surname = head.surname if (child or not vietnamese or r.random() < 0.3) else None
            woman = None if child else not head.woman
            age = min(head.born[0] + r.randint(20, 35), 2010) if child else head.born[0] + r.randint(-5, 5)
            other = self.person(vietnamese, surname, woman, age)
            if surname and r.random() < 0.06:  # named alike, too
                other.given, other.middle = head.given, head.middle
            other.homes[0] = head.homes[0]
            if r.random() < 0.4:
                other.phones[0] = head.phones[0]
            if r.random() < 0.4:
                other.emails[0] = head.emails[0]
            found.append(other)
        return found

    def phone(self, vietnamese: bool) -> str:
        r = self.r
        if vietnamese:
            return self.pick(_PREFIXES) + f"{r.randrange(10**7):07d}"
        return f"{r.randint(201, 989)}{r.randrange(10**7):07d}"

    def email(self, who: _Person) -> str:
        while (address := self.some_email(who)) in self.taken:
            pass
        self.taken.add(address)
        return address

    def some_email(self, who: _Person) -> str:
        r = self.r
        given, surname = _plain(who.given), _plain(who.surname)
        middle = _plain(who.middle)
        firsts = "".join(part[0] for part in [surname, *middle.split()])
        number = str(r.randrange(10 ** r.choice((2, 3, 3, 4, 6, 7))))
        name = r.choice(
            [
                f"{given}.{surname}{r.choice(('', number[:3]))}",
                f"{firsts}{given}{number}",
                f"{firsts}{given}{number}",
                f"{surname}{middle}{given}{r.choice(('', number[:3]))}",
                f"{given}_{self.pick(_WORDS)}{number}",
                f"{given}{surname}{r.choice((str(who.born[0])[2:], number[:5]))}",
            ]
        )
        return name.replace(" ", "").replace("'", "") + "@" + self.pick(_SITES)

    def home(self, vietnamese: bool) -> tuple[str, ...]:
        r = self.r
        if not vietnamese:
            return (
                f"{r.randint(100, 9999)}",
                self.pick(_US_STREETS) + " " + self.pick(_US_KINDS),
                "",
                "",
                self.pick(_US_TOWNS),
            )
        house = str(r.randint(1, 450))
        if r.random() < 0.4:
            house += f"/{r.randint(1, 90)}"
        elif r.random() < 0.1:
            house += r.choice("ABC")
        city = r.choices(list(_CITIES), (40, 28, 9, 7, 7, 5, 4))[0]
        ward = r.choice(_WARDS) if r.random() < 0.4 else str(r.randint(1, 25))
        return (house, r.choice(_STREETS), ward, r.choice(_CITIES[city][1]), city)

    def record(self, who: _Person) -> list[str]:
        r, noise = self.r, self.noise
        source = r.choices(list(_FILLED), noise.sources)[0]
        filled = _FILLED[source]
        plain = r.random() < noise.plain
        first, last = self.name(who, plain)

        def said(part: str) -> bool:
            chance = filled[part]
            return r.random() < (
                chance + (1 - chance) * -noise.empty if noise.empty < 0 else chance * (1 - noise.empty)
            )

        email = phone = dob = sex = ""
        if said("email"):
            email = self.of(who.emails)
            if r.random() < noise.typo / 2:
                email = self.typo(email.split("@")[0]) + "@" + email.split("@")[1]
            elif r.random() < noise.filler / 2:
                email = email.rpartition("@")[0] + "@gmial.con"
            if r.random() < 0.06:
                email = email.upper()
        elif r.random() < noise.filler:
            email = r.choice(("null", "khongco@gmail.com", "none@none.com", "a@a.com", "n/a", "noemail@noemail.com"))
        if said("phone"):
            phone = self.written_phone(who)
        elif r.random() < 2 * noise.filler:
            phone = r.choice(("0900000000", "-", "n/a", "0123456789", "0000000000"))
        if said("dob"):
            dob = self.written_date(who)
        if said("gender"):
            sex = "F" if who.woman != (r.random() < noise.typo / 3) else "M"
        place = self.written_home(who, plain) if said("address") else ("", "", "", "")
        stamp = str(r.randint(1514764800, 1627000000))
        return [source, first, last, email, phone, dob, sex, *place, "VN" if who.vietnamese else "US", stamp]

    def of(self, values: list[str]) -> str:
        return values[0] if len(values) == 1 or self.r.random() < 0.6 else self.r.choice(values[1:])

    def name(self, who: _Person, plain: bool) -> tuple[str, str]:
        r, noise = self.r, self.noise
        given, middle, surname = who.given, who.middle, who.surname
        if not who.vietnamese and given in _SHORT and r.random() < noise.order / 2:
            given = _SHORT[given]
        if r.random() < noise.typo * 1.3:
            given = self.typo(given)
        if r.random() < noise.typo:
            surname = self.typo(surname)
        if r.random() < 0.3 + noise.order / 2:
            middle = ""
        if who.vietnamese and r.random() < noise.order:
            first, last = given, f"{surname} {middle}".strip()
        else:
            parts = (middle, given) if who.vietnamese else (given, middle)
            first, last = " ".join(part for part in parts if part), surname
        if r.random() < noise.order / 3:
            first, last = last, first
        elif r.random() < noise.order / 3:
            whole = (last, first) if who.vietnamese and r.random() < 0.7 else (first, last)
            first, last = " ".join(whole), ""
        elif r.random() < noise.order / 5:
            first = r.choice(("Chị ", "C.", "Mrs ") if who.woman else ("Anh ", "A. ", "Mr ")) + first
        style = r.random()
        if plain:
            first, last = _unmarked(first), _unmarked(last)
        if style < 0.06:
            first, last = first.upper(), last.upper()
        elif style < 0.12:
            first, last = first.lower(), last.lower()
        return first, last

    def written_phone(self, who: _Person) -> str:
        r = self.r
        number = self.of(who.phones)
        if r.random() < self.noise.typo / 3:
            place = r.randint(3, 9)
            number = number[:place] + str(r.randrange(10)) + number[place + 1 :]
        if not who.vietnamese:
            return r.choice(("{}{}{}", "({}) {}-{}", "{}-{}-{}", "+1{}{}{}")).format(
                number[:3], number[3:6], number[6:]
            )
        if number[:3] in _OLD and r.random() < 0.15:
            number = _OLD[number[:3]] + number[3:]
        style = r.random()
        if style < 0.25:
            return "+84" + number[1:]
        if style < 0.3:
            return "84" + number[1:]
        if style < 0.4:
            return f"{number[:4]} {number[4:7]} {number[7:]}"
        return f"{number[:4]}.{number[4:7]}.{number[7:]}" if style < 0.5 else number

    def written_date(self, who: _Person) -> str:
        r, noise = self.r, self.noise
        year, month, day = who.born
        draw = r.random()
        if draw < noise.typo / 3:
            month, day = (day, month) if day <= 12 else (month, day)
        elif draw < noise.typo * 0.6:
            month, day = 1, 1
        elif draw < noise.typo * 0.8:
            day = min(28, max(1, day + r.choice((-10, -1, 1, 10))))
        elif draw < noise.typo * 0.95:
            return "1900-01-01"
        return f"{year:04d}-{month:02d}-{day:02d}"

    def written_home(self, who: _Person, plain: bool) -> tuple[str, str, str, str]:
        r, noise = self.r, self.noise
        home = who.homes[0] if len(who.homes) == 1 or r.random() < 0.6 else r.choice(who.homes[1:])
        house, street, ward, district, city = home
        if r.random() < noise.typo / 3:
            house += r.choice("123")
        if not who.vietnamese:
            name, kinds = street.rsplit(" ", 1)
            line = f"{house} {self.typo(name) if r.random() < noise.typo else name} {r.choice(kinds.split('/'))}"
            return line, "", "", city if r.random() < 0.95 else ""
        if r.random() < noise.typo:
            street = self.typo(street)
        if r.random() < 0.45:
            street = r.choice(("Đường ", "Đường ", "đ. ")) + street
        if ward.isdigit():
            ward = r.choice(("Phường {}", "P.{}", "P {}", "p{}")).format(ward)
        if r.random() < 0.15:
            ward = ""
        if district.isdigit():
            district = r.choice(("Quận {}", "Q.{}", "Q{}", "District {}")).format(district)
        elif r.random() < 0.4:
            district = "Quận " + district
        if r.random() < 0.6:
            city = r.choice(_CITIES[city][0].split("/"))
        if city == "Bình Dương" and r.random() < 0.3:
            city, district = "TP.HCM", ""
        parts = (f"{house} {street}", ward, district, city)
        if r.random() < 0.18:
            parts = (", ".join(part for part in parts if part), "", "", "")
        return tuple(map(_unmarked, parts)) if plain else parts  # type: ignore[return-value]

    def typo(self, text: str) -> str:
        r = self.r
        place = r.randrange(len(text))
        draw = r.random()
        if draw < 0.25 and any(letter in _TELEX for letter in text.lower()):
            spots = [spot for spot, letter in enumerate(text.lower()) if letter in _TELEX]
            spot = r.choice(spots)
            return text[:spot] + _TELEX[text[spot].lower()] + text[spot + 1 :]
        if draw < 0.45 and len(text) > 2:
            return text[:place] + text[place + 1 :]
        if draw < 0.65:
            return text[:place] + text[place] + text[place:]
        if draw < 0.85 and place + 1 < len(text):
            return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        return text[:place] + r.choice("nmbvcxasdfghjkl") + text[place + 1 :]


def people(seed: int, records: int, noise: str = "base", households: float = 0.22) -> tuple[list[list[str]], list[str]]:
    """Rows under ``HEADER`` (first) in random order, and the person of each row after the header."""
    world = _World(seed, LEVELS[noise], households)
    r = world.r
    made: list[tuple[str, list[str]]] = []
    number = 0
    while len(made) < records:
        group = world.household() if r.random() < households / 2 else [world.person(r.random() < 0.7)]
        for who in group:
            number += 1
            copies = r.choices((1, 2, 3, 4, 5, 7, 9), (1477, 665, 319, 143, 63, 28, 17))[0]
            made += [(f"e{number}", world.record(who)) for _ in range(copies)]
    del made[records:]
    r.shuffle(made)
    rows = [[f"r{place:07d}", *row] for place, (_, row) in enumerate(made)]
    return [list(HEADER), *rows], [who for who, _ in made]


def _unmarked(text: str) -> str:
    plain = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _plain(text: str) -> str:
    return _unmarked(text).lower()
