"""What cannot be raw scans of soils in one quantity is refused, a single bad scan is named, and sound scans pass."""

import numpy as np
import pytest

from relple_tf.config import SimulatedConfig
from relple_tf.errors import InputError
from relple_tf.spectra.checks.quantity import Declared
from relple_tf.spectra.checks.scans import assess, check_share
from relple_tf.spectra.checks.summary import ScanSummary
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sources.simulated import simulate

LIBRARY = simulate(SimulatedConfig(soils=60, start_nm=400, stop_nm=2490, step_nm=10))
NM, REFLECTANCE = LIBRARY.wavelengths_nm, LIBRARY.spectra.astype(float)
ABSORBANCE = -np.log10(REFLECTANCE)
NIR = NM >= 1100


def checked(numbers, nm=NM, block=1000, **declared):
    summary = ScanSummary(nm)
    for start in range(0, len(numbers), block):
        summary.add(numbers[start : start + block].astype(np.float32))
    return assess("soils.csv", summary, Declared(**declared))


def with_rows(rows, scans):
    numbers = REFLECTANCE.copy()
    numbers[rows] = scans
    return numbers


@pytest.mark.parametrize("part", [slice(None), NIR, NM <= 1700])
@pytest.mark.parametrize(
    ("numbers", "quantity", "scale"), [(REFLECTANCE, "reflectance", 1), (ABSORBANCE, "absorbance", 1)]
)
def test_sound_scans_pass_in_any_range_and_number(part, numbers, quantity, scale):
    for rows in (slice(None), slice(0, 1), slice(0, 5)):
        found = checked(numbers[rows][:, part], NM[part])
        assert (found.quantity.name, found.quantity.scale, found.bad) == (quantity, scale, {})


def preprocessed():
    centred = ABSORBANCE - ABSORBANCE.mean(axis=0)
    mean = ABSORBANCE.mean(axis=0)
    slope, offset = np.polyfit(mean, ABSORBANCE.T, 1)
    low, high = REFLECTANCE.min(axis=1, keepdims=True), REFLECTANCE.max(axis=1, keepdims=True)
    return {
        "first derivative": np.gradient(ABSORBANCE, NM, axis=1),
        "second derivative of percent": np.gradient(np.gradient(100 * REFLECTANCE, axis=1), axis=1),
        "SNV": (ABSORBANCE - ABSORBANCE.mean(1, keepdims=True)) / ABSORBANCE.std(1, keepdims=True),
        "centred": centred,
        "standardised": centred / centred.std(axis=0),
        "MSC": (ABSORBANCE - offset[:, None]) / slope[:, None],
        "unit norm": REFLECTANCE / np.linalg.norm(REFLECTANCE, axis=1, keepdims=True),
        "minimum to maximum": (REFLECTANCE - low) / (high - low),
        "divided by its maximum": REFLECTANCE / high,
    }


@pytest.mark.parametrize("kind", preprocessed())
def test_preprocessed_spectra_are_refused(kind):
    with pytest.raises(InputError, match="received preprocessed spectra"):
        checked(preprocessed()[kind])


def test_a_derivative_with_bands_of_0_is_called_preprocessed_and_a_dead_detector_is_named():
    """A derivative by a window is often padded with zeros at the ends."""
    padded = np.gradient(ABSORBANCE, NM, axis=1)
    padded[:, [0, 1, -1]] = 0
    with pytest.raises(InputError, match="received preprocessed spectra"):
        checked(padded)
    for value in (0, -999):
        dead = REFLECTANCE.copy()
        dead[:, 50] = value
        with pytest.raises(InputError, match=rf"1 bands are the same in all scans, .* {NM[50]:g} nm with {value}:"):
            checked(dead)


@pytest.mark.parametrize("scale", [1, 100])
def test_the_scale_of_fractions_and_percent_is_detected(scale):
    assert checked(scale * REFLECTANCE).quantity.scale == scale


@pytest.mark.parametrize(
    ("numbers", "scale"), [(1e3 * REFLECTANCE, 1000), (1e4 * REFLECTANCE, 10_000), (100 * ABSORBANCE, 100)]
)
def test_another_scale_must_be_declared(numbers, scale):
    quantity = "absorbance" if scale == 100 else "reflectance"
    with pytest.raises(InputError, match=rf"{quantity} times {scale}.*--set data.scale={scale}\b"):
        checked(numbers)
    assert checked(numbers, scale=float(scale)).quantity.scale == scale
    assert checked(numbers, model_scale=float(scale)).quantity.scale == scale
    with pytest.raises(InputError, match=rf"times {scale}"):
        checked(numbers, scale=scale / 100)


@pytest.mark.parametrize("other", ["absorbance", "percent"])
@pytest.mark.parametrize("rows", [[7], range(0, 60, 4), range(29)])
def test_rows_in_another_quantity_are_refused_by_name(other, rows):
    rows = list(rows)
    numbers = with_rows(rows, ABSORBANCE[rows] if other == "absorbance" else 100 * REFLECTANCE[rows])
    for block in (1, 7, 1000):
        with pytest.raises(InputError, match=rf"expected all scans in one (quantity|unit).*\brow {rows[0] + 1}\b"):
            checked(numbers, block=block)


def test_rows_in_absorbance_are_found_below_1700_nm():
    """Without the band at 1914 nm, the shape decides."""
    part = (NM >= 900) & (NM <= 1700)
    numbers = with_rows([3, 9], ABSORBANCE[[3, 9]])[:, part]
    with pytest.raises(InputError, match=r"2 of 60 look like absorbance.* row 4, row 10"):
        checked(numbers, NM[part])


NOISE = np.random.default_rng(0).normal(0, 5e-4, len(NM))
BAD = {
    "white reference": (0.99 + NOISE, "is flat"),
    "grey tile": (0.5 + NOISE, "is flat"),
    "dark": (0.003 + NOISE, "is dark"),
    "dead bands": (np.where((NM > 1500) & (NM < 1540), 0, REFLECTANCE[0]), "is exactly 0 in 3 consecutive bands"),
    "code": (np.where(NM == 1500, -999, REFLECTANCE[0]), "is -999 at a band"),
    "saturated": (np.where(NM == 1500, 1e30, REFLECTANCE[0]), "is 1e+30 at a band"),
    "constant": (np.full(len(NM), 0.4), "is constant"),
}


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_scan_is_named_and_the_others_pass(kind, scale):
    scan, reason = BAD[kind]
    numbers = with_rows(20, scan)
    if kind not in ("code", "saturated"):
        numbers = scale * numbers
    found = checked(numbers)
    assert reason in found.bad[20]
    assert list(found.bad) == [20]
    assert found.bad[20].startswith("soils.csv: row 21 ")


def test_two_consecutive_zeros_are_no_dead_bands():
    scan = np.where((NM > 1500) & (NM < 1530), 0, REFLECTANCE[0])
    assert checked(with_rows(20, scan), quantity="reflectance").bad == {}


def test_rows_of_statistics_below_a_table_are_named():
    table = np.vstack([REFLECTANCE, REFLECTANCE.mean(0), REFLECTANCE.std(0, ddof=1), REFLECTANCE.min(0)])
    found = checked(table.round(4))
    assert list(found.bad) == [60, 61, 62]
    assert [text.split(" is the ")[1].split()[0] for text in found.bad.values()] == ["mean", "SD", "minimum"]
    assert checked(table[[60, *range(60)]]).bad == {}  # a mean above the rows may be a scan of a mixed sample


def test_the_share_of_bad_scans_decides_between_dropping_and_refusing():
    bad = {row: f"soils.csv: row {row + 1} is dark" for row in range(5)}
    check_share("soils.csv", bad, 100, "drop")
    with pytest.raises(InputError, match=r"row 1 is dark \(5 of 99 scans cannot be soils; at most 5% are dropped"):
        check_share("soils.csv", bad, 99, "drop")
    with pytest.raises(InputError, match="5 of 1000 scans"):
        check_share("soils.csv", bad, 1000, "refuse")
    check_share("soils.csv", {}, 1, "refuse")


def test_descending_bare_numbers_are_nm_only_where_the_water_bands_prove_it():
    question = "nm or cm-1?"
    assert checked(REFLECTANCE, ambiguous_order=question).quantity.name == "reflectance"
    short = NM <= 1700
    for numbers, nm in ((REFLECTANCE[:, short], NM[short]), (REFLECTANCE[:, ::-1], NM)):
        with pytest.raises(InputError, match="nm or cm-1"):
            checked(numbers, nm, quantity="reflectance", ambiguous_order=question)


@pytest.mark.parametrize(("contrary", "read"), [(0.4, True), (0.6, False)])
def test_of_descending_bare_numbers_above_1000_most_scans_must_agree_at_1414(contrary, read):
    """As Uganda's soils; the band at 1914 nm is the same in all scans."""
    nm = NM[NM >= 1100]
    numbers, near = REFLECTANCE[:, NM >= 1100].copy(), np.abs(nm - 1414) < 90
    rows = np.arange(len(numbers)) < contrary * len(numbers)
    ends = np.flatnonzero(near)[[0, -1]]
    chord = np.stack([np.interp(nm[near], nm[ends], scan[ends]) for scan in numbers[rows]])
    numbers[np.ix_(rows, near)] = 2 * chord - numbers[np.ix_(rows, near)]
    if read:
        assert checked(numbers, nm, ambiguous_order="nm or cm-1?").quantity.name == "reflectance"
    else:
        with pytest.raises(InputError, match="nm or cm-1"):
            checked(numbers, nm, ambiguous_order="nm or cm-1?")


def test_a_declared_quantity_against_the_water_band_is_read_with_a_warning():
    found = checked(ABSORBANCE, quantity="reflectance")
    assert found.quantity.name == "reflectance"
    assert "look like absorbance" in found.warnings[0]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (ABSORBANCE, "state quantity='absorbance'"),
        (100 * REFLECTANCE, "outside 0..1.5"),
        (preprocessed()["minimum to maximum"], "preprocessed"),
    ],
)
def test_arrays_in_another_quantity_or_scale_are_refused(numbers, words):
    with pytest.raises(InputError, match=words):
        SpectralLibrary.from_arrays(numbers, {}, wavelengths_nm=NM)


def test_arrays_with_a_reference_scan_keep_their_rows_with_a_warning():
    library = SpectralLibrary.from_arrays(with_rows(20, 0.99 + NOISE), {}, wavelengths_nm=NM)
    assert len(library) == 60
    assert "row 21 is flat" in library.warnings[0]


def test_values_too_high_for_reflectance_and_too_low_for_percent_are_absorbance():
    """As in exports of SCiO, 740 to 1070 nm, where no water band decides."""
    part = (NM >= 740) & (NM <= 1070)
    scans = 1.45 + ABSORBANCE[:, part] - ABSORBANCE[:, part].min()
    assert 1.5 < np.median(scans.max(axis=1)) < 2
    assert checked(scans, NM[part]).quantity.name == "absorbance"
    with pytest.raises(InputError, match="cannot infer"):
        checked(scans / 4, NM[part])
