"""soil_scan.py and the page read the same tables: one file of cases drives the tests of both readers."""

import json
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium, needs_chromium

from export.page.generator import template
from export.runtime import soil_scan

TABLE = json.loads(Path(__file__).with_name("scan_cases.json").read_text(encoding="utf-8"))
CARD = TABLE["model"]
BANDS = soil_scan.Bands.of(CARD)
CASES = [pytest.param(case, id=case["name"]) for case in TABLE["cases"]]

FACTS = {
    "quantity": CARD["input"]["quantity"],
    "wavelengths_nm": CARD["input"]["wavelengths_nm"],
    "end_tolerance_nm": BANDS.end_tolerance_nm,
    "gap_nm": BANDS.gap_nm.tolist(),
    "id_column": CARD["id_column"],
    "check": {"same_nm": soil_scan.SAME_NM, "shortest_nm": soil_scan.SHORTEST_NM},
}


def check(expected, scans, error, notes):
    assert [identity for identity, _ in scans] == [identity for identity, _ in expected["scans"]]
    for (_, received), (_, values) in zip(scans, expected["scans"], strict=True):
        # null, in JSON, is NaN.
        np.testing.assert_allclose(np.array(received, "float32"), np.array(values, "float32"), rtol=2e-6)
    assert expected["error"] in error
    assert bool(expected["error"]) == bool(error)
    if "notes" in expected:
        assert notes == expected["notes"]


@pytest.mark.parametrize("case", CASES)
def test_soil_scan_py_reads(case, tmp_path):
    (tmp_path / "scans.csv").write_bytes(case["text"].encode())
    scans, error, notes = [], "", []
    with soil_scan.opened(str(tmp_path / "scans.csv")) as file:
        rows = soil_scan.read_scans(file, BANDS, CARD["id_column"], notes.append)
        try:
            while row := next(rows, None):
                scans.append(row)
        except soil_scan.SoilScanError as refusal:
            error = str(refusal)
    check({**case, **case.get("python", {})}, scans, error, notes)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    browser.run("\n".join(map(template, ("estimate.js", "scans.js"))))
    yield browser
    browser.close()


@needs_chromium
@pytest.mark.parametrize("case", CASES)
def test_the_page_reads(case, reader):
    read = reader.apply(
        "(text, facts) => { const { scans, ...rest } = readScans(text, facts); "
        "return { ...rest, scans: scans.map(({ id, values }) => "
        "[id, Array.from(values, value => Number.isFinite(value) ? value : null)]) }; }",
        case["text"],
        FACTS,
    )
    check(case, read["scans"], read["error"], read["notes"])
