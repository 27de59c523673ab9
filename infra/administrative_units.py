"""Make ``functions/hoso/model/data/units.json.zst`` from an unpacked release of the MIT-licensed ``vietnamadminunits``.

``python -m infra.administrative_units FOLDER`` with the folder that holds ``vietnamadminunits/`` and its
``*.dist-info/``. Run it again for a new release; the tests of addresses then say what changed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import zstandard

TARGET = Path(__file__).resolve().parents[1] / "functions" / "hoso" / "model" / "data"


def table(folder: Path) -> dict[str, Any]:
    """The compact table: units of both schemes as ``[code, name, index of the unit above]``, and what became what."""
    data = folder / "vietnamadminunits" / "data"
    base = sqlite3.connect(f"file:{data / 'dataset.db'}?mode=ro", uri=True)
    converter: dict[str, Any] = json.loads((data / "converter_2025.json").read_text())
    provinces: dict[str, int] = {}
    wards: dict[tuple[str, str], int] = {}
    made: dict[str, Any] = {"provinces": [], "wards": [], "old_provinces": [], "old_districts": [], "old_wards": []}
    query = "SELECT provinceCode, province, provinceKey, wardCode, ward, wardKey FROM admin_units ORDER BY 1, 4"
    for code, name, key, ward_code, ward, ward_key in base.execute(query):
        if key not in provinces:
            provinces[key] = len(made["provinces"])
            made["provinces"].append([code, name])
        wards[key, ward_key] = len(made["wards"])
        made["wards"].append([ward_code, ward, provinces[key]])

    heirs = _heirs(converter, wards)
    old_provinces: dict[str, int] = {}
    districts: dict[tuple[str, str], int] = {}
    query = (
        "SELECT provinceCode, province, provinceKey, districtCode, district, districtKey, wardCode, ward, wardKey "
        "FROM admin_units_legacy ORDER BY 1, 4, 7"
    )
    became = {old: provinces[new] for new, olds in converter["DICT_PROVINCE"].items() for old in olds}
    for code, name, key, district_code, district, district_key, ward_code, ward, ward_key in base.execute(query):
        if key not in old_provinces:
            old_provinces[key] = len(made["old_provinces"])
            made["old_provinces"].append([code, name, became[key]])
        if (key, district_key) not in districts:
            districts[key, district_key] = len(made["old_districts"])
            made["old_districts"].append([district_code, district, old_provinces[key]])
        if ward:
            new = heirs.get(f"{key}_{district_key}_{ward_key}", [])
            made["old_wards"].append([ward_code, ward, districts[key, district_key], new])
    return made


def _heirs(converter: dict[str, Any], wards: dict[tuple[str, str], int]) -> dict[str, list[int]]:
    """New wards by the key of the old one; of a divided ward the largest heir first."""
    heirs: dict[str, list[int]] = {}
    for province, news in converter["DICT_PROVINCE_WARD_NO_DIVIDED"].items():
        for new, olds in news.items():
            for old in olds:
                heirs.setdefault(old, []).append(wards[province, new])
    for province, olds in converter["DICT_PROVINCE_WARD_DIVIDED"].items():
        for old, parts in olds.items():
            ordered = sorted(parts, key=lambda part: not part["isDefaultNewWard"])
            heirs[old] = [wards[province, part["newWardKey"]] for part in ordered] + heirs.get(old, [])
    return {old: list(dict.fromkeys(new)) for old, new in heirs.items()}


def main() -> None:
    """Write table and licence."""
    folder = Path(sys.argv[1])
    made = table(folder)
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    (TARGET / "units.json.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(text))
    notice = next(folder.glob("vietnamadminunits-*.dist-info/licenses/LICENSE")).read_text()
    (TARGET / "units.LICENSE").write_text(
        f"units.json.zst is made from the tables of vietnamadminunits under this licence:\n\n{notice}"
    )
    print({name: len(rows) for name, rows in made.items()}, len(text), "bytes")


if __name__ == "__main__":
    main()
