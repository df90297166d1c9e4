"""Checks of laboratory values: each threshold from both sides, and no finding on sound values."""

import numpy as np
import pytest
from soil_tables import NM, ROWS, columns, reflectance, write

from relple_tf.config import Config, DataConfig, SimulatedConfig
from relple_tf.errors import InputError
from relple_tf.spectra.checks.finding import refuse
from relple_tf.spectra.checks.laboratory import check_laboratory
from relple_tf.spectra.checks.statistic_rows import statistic_rows
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table, without_bad_scans
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.sources.simulated import simulate

SOILS = 60
SPREAD = np.exp(np.random.default_rng(0).normal(0, 0.4, SOILS))
"""Log-normal contents of 60 soils around 1."""


def library(*, parts=None, ids=None, **targets):
    rows = len(next(iter(targets.values())))
    return SpectralLibrary(
        source="soils",
        spectra=reflectance(NM, rows).astype("float32"),
        wavelengths_nm=NM,
        quantity="reflectance",
        targets={name: np.array(values, float) for name, values in targets.items()},
        ids=np.array([f"s{row}" for row in range(1, rows + 1)] if ids is None else ids),
        parts=parts,
    )


def found(columns=None, **targets):
    """(check, severity) of each finding, and the messages."""
    findings = check_laboratory(library(**targets), columns)
    return [(finding.check, finding.severity) for finding in findings], " ".join(f.message for f in findings)


def put(values, value, *rows):
    changed = np.array(values, float)
    changed[list(rows)] = value
    return changed


EC = 80 * SPREAD
CODED = {
    "-999": (put(EC, -999, 3, 8), "refuse"),
    "a single -999": (put(EC, -999, 3), "refuse"),
    "9999": (put(EC, 9999, 3, 8), "refuse"),
    "a single 9999": (put(EC, 9999, 3), "refuse"),
    "a single 999 may be measured": (put(EC, 999, 3), "warn"),
    "-1 twice": (put(EC, -1, 3, 8), "refuse"),
    "a single -1": (put(EC, -1, 3), "warn"),
    "-9 among negative values": (put(EC - 80, -9, 3, 8), None),
    "99 within the others": (put(EC, 99, 3, 8), None),
    "999 twice within a wide range": (put(EC * 20, 999, 3, 8), None),
    "a negative value that is no code": (put(EC, -4.2, 3), "warn"),
    "many negative values": (EC - 60, None),
}


@pytest.mark.parametrize("case", CODED)
def test_codes_far_from_the_other_values_are_refused_in_any_unit(case):
    values, severity = CODED[case]
    findings, message = found(EC_mS_m=values)
    assert [outcome for check, outcome in findings if check in ("code", "negative")] == ([severity] if severity else [])
    assert not severity or ("EC_mS_m" in message and "4 (s4)" in message)


def test_a_code_is_named_as_it_was_written():
    """The reader multiplies percent by ten."""
    findings, message = found(OC_g_kg=put(15 * SPREAD, -9990, 1, 2, 5, 7))
    assert findings == [("code", "refuse")]
    assert "-999 (-9990 after conversion)" in message
    assert "4 rows: 2 (s2), 3 (s3), 6 (s6) and 1 more" in message


@pytest.mark.parametrize(
    ("ph", "expected"), [(0, "refuse"), (1.9, "refuse"), (2.1, None), (11.9, None), (12.1, "warn")]
)
def test_impossible_ph(ph, expected):
    findings, _ = found(pH_CaCl2=put(6 + np.log(SPREAD), ph, 5))
    assert findings == ([("pH", expected)] if expected else [])


def test_zeros_far_from_the_other_values_are_named():
    findings, message = found(OC_g_kg=put(12 * SPREAD, 0, 4, 9), CaCO3_g_kg=put(50 * SPREAD, 0, *range(30)))
    assert findings == [("zeros", "warn")]
    assert "OC_g_kg: 0 in 2 rows: 5 (s5), 10 (s10)" in message


@pytest.mark.parametrize(("smallest", "expected"), [(0.24, []), (0.26, [("zeros", "warn")])])
def test_a_zero_is_natural_where_small_values_are(smallest, expected):
    values = put(np.linspace(1, 1.5, SOILS), 0, 0)
    values[1] = smallest * np.median(np.delete(values, 0))
    assert found(N_g_kg=values)[0] == expected


@pytest.mark.parametrize(("zeros", "expected"), [(8, []), (9, [("zeros", "warn")])])
def test_a_spike_of_zeros_has_more_than_two_zeros_per_small_value(zeros, expected):
    values = put(15 * SPREAD, 0, *range(zeros))
    assert found(OC_g_kg=put(values, 1.0, *range(20, 24)))[0] == expected


@pytest.mark.parametrize(
    ("factor", "expected"), [(1, None), (0.29, "ratio"), (0.31, None), (3.9, None), (4.1, "ratio")]
)
def test_median_of_carbon_over_nitrogen(factor, expected):
    findings, message = found(OC_g_kg=10 * factor * SPREAD, N_g_kg=SPREAD)
    assert [check for check, _ in findings if check == "ratio"] == ([expected] if expected else [])
    assert not expected or "OC_g_kg and N_g_kg: a median C:N of" in message


@pytest.mark.parametrize(("ratio", "expected"), [(90, []), (110, [("ratio", "warn")])])
def test_peat_may_have_a_high_ratio(ratio, expected):
    nitrogen = 4.2 + 0.1 * SPREAD
    assert found(OC_g_kg=ratio * nitrogen, N_g_kg=nitrogen)[0] == expected


RATIOS = {
    "OC of 1.05 total carbon": ({"TC_g_kg": 15 * SPREAD}, 15.75 * SPREAD, []),
    "OC of 1.15 total carbon": ({"TC_g_kg": 15 * SPREAD}, 17.25 * SPREAD, ["ratio"]),
    "too few rows": ({"TC_g_kg": put(np.full(SOILS, np.nan), 1, *range(9))}, 15 * SPREAD, []),
}


@pytest.mark.parametrize("case", RATIOS)
def test_other_columns_are_compared_with_the_targets(case):
    others, carbon, expected = RATIOS[case]
    assert [check for check, _ in found(others, OC_g_kg=carbon)[0]] == expected


@pytest.mark.parametrize(
    ("target", "median", "expected"),
    [
        *(("OC_g_kg", 2.4, 1), ("OC_g_kg", 2.6, 0), ("OC_g_kg", 95, 0), ("OC_g_kg", 105, 1)),
        *(("N_g_kg", 0.24, 1), ("N_g_kg", 0.26, 0), ("clay_pct", 2.4, 1), ("clay_pct", 2.6, 0)),
    ],
)
def test_medians_far_from_those_of_soils_suggest_another_unit(target, median, expected):
    values = median * SPREAD / np.median(SPREAD)
    assert [check for check, _ in found(**{target: values})[0]] == ["level"] * expected


@pytest.mark.parametrize(("carbon", "expected"), [(579, []), (581, [("largest", "warn")])])
def test_organic_carbon_above_that_of_humus(carbon, expected):
    assert found(OC_g_kg=put(60 * SPREAD, carbon, 2))[0] == expected


@pytest.mark.parametrize(("share", "expected"), [(0.95, []), (1.05, ["cec"])])
def test_exchange_capacity_above_that_of_smectite_and_humus(share, expected):
    clay, carbon = 20 * SPREAD, 15 * SPREAD[::-1]
    cec = share * (1.2 * clay + 0.4 * carbon)
    assert [check for check, _ in found({"clay_pct": clay, "OC_g_kg": carbon}, CEC_cmolc_kg=cec)[0]] == expected


@pytest.mark.parametrize(("share", "expected"), [(1.05, []), (0.95, ["cec"])])
def test_exchange_capacity_below_that_of_kaolinite(share, expected):
    clay, carbon = 20 * SPREAD, 15 * SPREAD[::-1]
    cec = share * 0.05 * (clay + carbon)
    assert [check for check, _ in found({"clay_pct": clay, "OC_g_kg": carbon}, CEC_cmolc_kg=cec)[0]] == expected


@pytest.mark.parametrize(
    ("total", "rows", "expected"),
    [(109, 60, 0), (111, 60, 1), (91, 60, 0), (89, 60, 1), (109, 1, 0), (111, 1, 1)],
)
def test_sum_of_clay_silt_and_sand(total, rows, expected):
    clay = np.linspace(5, 60, SOILS)
    sand = put(60 - clay, total - 40 - clay[:rows], *range(rows))
    findings, message = found({"silt_pct": np.full(SOILS, 40.0), "sand_pct": sand}, clay_pct=clay)
    assert findings == [("texture", "warn")] * expected
    assert not expected or rows == SOILS or "row 1 (s1)" in message


@pytest.mark.parametrize(("gap", "expected"), [(0.95, []), (1.05, ["shifted_decimals"])])
def test_values_a_decade_above_all_others_have_lost_their_decimal_point(gap, expected):
    values = np.linspace(1, 4, SOILS)
    values = put(10**values, 10 ** (4 + gap), 0, 1)
    findings, message = found(P_mg_kg=values)
    assert [check for check, _ in findings] == expected
    assert not expected or "2 rows: 1 (s1), 2 (s2)" in message


def test_a_lost_decimal_point_of_a_narrow_target_needs_a_smaller_gap():
    values = 10 ** np.linspace(1, 1.2, SOILS)
    assert found(P_mg_kg=put(values, 10**1.85, 0))[0] == []
    assert found(P_mg_kg=put(values, 10**1.95, 0))[0] == [("shifted_decimals", "warn")]


def test_high_nitrogen_without_carbon_has_lost_its_decimal_point():
    carbon, nitrogen = 15 * SPREAD, 1.5 * SPREAD * np.linspace(0.9, 1.1, SOILS)
    findings, message = found(OC_g_kg=carbon, N_g_kg=put(nitrogen, 10 * nitrogen[7], 7))
    assert ("ratio_outliers", "warn") in findings
    assert "row 8 (s8)" in message
    findings, _ = found(OC_g_kg=put(carbon, 10 * carbon[7], 7), N_g_kg=put(nitrogen, 10 * nitrogen[7], 7))
    assert ("ratio_outliers", "warn") not in findings


def test_copies_of_another_column():
    number = np.arange(1.0, SOILS + 1)
    assert found(EC_mS_m=number)[0] == [("copy", "warn")]
    assert found(EC_mS_m=number + 0.5)[0] == []
    assert found(CEC_cmolc_kg=12 * SPREAD, EC_mS_m=12 * SPREAD)[0] == [("copy", "warn")]
    assert found({"TC_g_kg": 15 * SPREAD}, OC_g_kg=15 * SPREAD)[0] == []


@pytest.mark.parametrize(("levels", "expected"), [(10, [("classes", "warn")]), (11, [])])
def test_few_whole_numbers_are_classes(levels, expected):
    assert found(texture=1 + np.arange(SOILS) % levels)[0] == expected
    assert found(texture=1.5 + np.arange(SOILS) % levels)[0] == []


def test_scans_of_one_sample_count_once():
    """Ten scans of two soils repeat their values; this proves nothing about codes or classes."""
    values = np.repeat([1.5, 20.0, 33.0], 20)
    ids = np.repeat(["a", "b", "c"], 20)
    assert check_laboratory(library(clay_pct=values, ids=ids)) == ()


def with_statistics(labels, *functions):
    oc, ph = 15 * SPREAD, 6 + np.log(SPREAD)
    below = {"OC_g_kg": [f(oc) for f in functions], "pH": [f(ph) for f in functions]}
    return library(
        OC_g_kg=[*oc, *below["OC_g_kg"]],
        pH=[*ph, *below["pH"]],
        ids=[*(f"s{row}" for row in range(1, SOILS + 1)), *labels],
    )


def sd(values):
    return values.std(ddof=1)


STATISTICS = {
    "labels": (["Mean", "SD"], (np.mean, sd)),
    "labels with a number": (["mittelwert (n=60)", "Écart-type:"], (np.mean, sd)),
    "min and max": (["min", "max"], (np.min, np.max)),
    "count": (["n"], (len,)),
    "no labels": (["s61", "s62"], (np.mean, sd)),
    "no label": (["s61"], (np.mean,)),
}


@pytest.mark.parametrize("case", STATISTICS)
def test_rows_of_statistics_are_dropped_by_name(case):
    labels, functions = STATISTICS[case]
    soils = with_statistics(labels, *functions)
    (finding,) = statistic_rows(soils.ids, soils.targets)
    assert (finding.check, finding.severity) == ("statistic_rows", "drop")
    assert finding.rows == tuple(range(SOILS, SOILS + len(labels)))


def test_a_soil_with_the_label_of_a_statistic_is_kept():
    """`n` and `SD` may be names of samples; only values or a second label prove a statistic."""
    soils = with_statistics(["SD", "s62"], lambda values: 1.1 * values[3], lambda values: 1.2 * values[5])
    assert statistic_rows(soils.ids, soils.targets) == ()


def test_dropped_rows_keep_their_part():
    soils = with_statistics(["mean"], np.mean)
    parts = np.array(["train"] * SOILS + ["test"])
    kept = without_bad_scans(library(**soils.targets, ids=soils.ids, parts=parts), {SOILS: "row 61 (mean): reason"})
    assert len(kept) == SOILS
    assert kept.dropped == (("mean", "test", "row 61 (mean): reason"),)
    assert kept.doubts[0].startswith("1 scan was dropped (1 test);")


@pytest.mark.parametrize("rows", [ROWS, 400])
def test_sound_values_have_no_finding(rows, tmp_path):
    assert check_laboratory(simulate(SimulatedConfig(soils=rows, step_nm=20))) == ()
    assert read_table(write(tmp_path / "soils.csv", columns()), DataConfig(minimum_values=10)).warnings == ()


def test_measured_soils_have_no_finding():
    limesoda = load(Config())
    assert check_laboratory(limesoda) == ()
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert check_laboratory(limesoda.rows(rng.choice(len(limesoda), 50, replace=False))) == ()


def test_only_the_first_refusal_is_raised():
    findings = check_laboratory(library(pH=put(6 + np.log(SPREAD), 0, 1), EC_mS_m=put(EC, -999, 3)))
    assert [finding.severity for finding in findings] == ["refuse", "refuse"]
    with pytest.raises(InputError, match=r"^soils: EC_mS_m: .* row 4 \(s4\)"):
        refuse("soils", findings)


def test_a_table_is_checked_before_its_scans_are_averaged(tmp_path):
    cells = ["12.5", "-999", *(str(13 + row) for row in range(ROWS - 2))]
    path = write(tmp_path / "soils.csv", columns(id=["s1", "s1", *columns()["id"][2:]], EC_mS_m=cells))
    with pytest.raises(InputError, match=r"EC_mS_m: .*-999.* row 2 \(s1\)"):
        read_table(path, DataConfig(targets=("EC_mS_m",), replicates="average"))
