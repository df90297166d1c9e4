"""Sensor profiles, and conversion of a library to the grid and resolution of a sensor."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from relple_tf import predict, train
from relple_tf.command_line import run
from relple_tf.config import Config, FrontEndConfig
from relple_tf.config import replace as with_fields
from relple_tf.errors import InputError
from relple_tf.models.front_end import in_range
from relple_tf.prediction.runs import to_model_input
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.range_ends import end_tolerance_nm, nm_text
from relple_tf.spectra.sensors.profiles import Sensor, _same_grid, band_weights, on_sensor, profile_names, read_sensor
from relple_tf.spectra.sources.named import load

SD_PER_FWHM = 1 / np.sqrt(8 * np.log(2))

GRIDS = {
    "asd": (350, 2500, 2151, 1.0),
    "lucas": (400, 2499.5, 4200, 0.5),
    "micronir": (908.1, 1676.2, 125, 6.19435),
    "neospectra": (1350, 2550, 257, None),
    "neospectra_ossl": (1350, 2550, 601, 2.0),
    "nirscan_nano": (901.03, 1700.84, 228, None),
    "scio": (740, 1070, 331, 1.0),
}

PROFILE = """
host = "none"
source = "made up"
quantity = "reflectance"
start_nm = 1200.0
stop_nm = 2400.0
count = 61
fwhm_nm = 12.0
"""


def library_of(spectra, wavelengths_nm, quantity="reflectance"):
    spectra = np.asarray(spectra, np.float32)
    return SpectralLibrary(
        source="made up",
        spectra=spectra,
        wavelengths_nm=np.asarray(wavelengths_nm, float),
        quantity=quantity,
        targets={},
        ids=np.array([f"soil{row}" for row in range(len(spectra))]),
    )


def sensor_of(wavelengths_nm, fwhm_nm, quantity="reflectance"):
    wavelengths_nm = np.asarray(wavelengths_nm, float)
    widths = None if fwhm_nm is None else np.broadcast_to(float(fwhm_nm), wavelengths_nm.shape)
    return Sensor(
        name="made_up", host="none", source="none", quantity=quantity, wavelengths_nm=wavelengths_nm, fwhm_nm=widths
    )


def bumpy(wavelengths_nm, rows=3):
    waves = np.array([np.sin(wavelengths_nm / (7 + 5 * row)) for row in range(rows)])
    return (0.4 + 0.3 * waves).astype(np.float32)


def written(tmp_path, text):
    path = tmp_path / "sensor.toml"
    path.write_text(text)
    return str(path)


# Averaging


@pytest.mark.parametrize("fwhm_nm", [5.0, 16.0])
def test_a_line_becomes_a_gaussian_with_the_fwhm_of_the_sensor_and_the_same_area(fwhm_nm):
    fine_nm, sensor_nm, step_nm = np.arange(1400, 1600.01, 0.1), np.arange(1430, 1570.01, 0.25), 0.25
    line = np.zeros(len(fine_nm))
    line[np.argmin(np.abs(fine_nm - 1500))] = 1.0
    converted = band_weights(fine_nm, sensor_nm, np.full(len(sensor_nm), fwhm_nm)) @ line
    assert converted.sum() * step_nm == pytest.approx(0.1, rel=1e-8)  # 2e-9 lies outside the window
    high = sensor_nm[converted >= converted.max() / 2]
    assert high[-1] - high[0] == pytest.approx(fwhm_nm, abs=2 * step_nm)
    sd = fwhm_nm * SD_PER_FWHM
    gaussian = 0.1 * np.exp(-0.5 * ((sensor_nm - 1500) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(converted, gaussian, atol=1e-3 * gaussian.max())
    variance = (converted * (sensor_nm - 1500) ** 2).sum() / converted.sum()
    # The line is a triangle of base 0.2 nm, whose variance adds to that of the Gaussian.
    assert variance == pytest.approx(sd**2 + 0.1**2 / 6, rel=1e-6)


def test_a_band_is_the_integral_of_the_interpolated_spectrum_times_the_gaussian_on_any_grid():
    rng = np.random.default_rng(0)
    library_nm = np.sort(rng.uniform(1000, 1100, 40))
    values, sd = rng.uniform(0.1, 0.9, 40), 9.0 * SD_PER_FWHM
    sensor_nm = np.array([library_nm[0], 1021.3, 1050.0, 1077.7, library_nm[-1]])
    converted = band_weights(library_nm, sensor_nm, np.full(5, 9.0)) @ values

    def weighted(nm, centre):
        return np.interp(nm, library_nm, values) * np.exp(-0.5 * ((nm - centre) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))

    for value, centre in zip(converted, sensor_nm, strict=True):
        corners = library_nm[np.abs(library_nm - centre) < 8 * sd]
        ends = centre - 8 * sd, centre + 8 * sd
        assert value == pytest.approx(quad(weighted, *ends, (centre,), points=corners, limit=400)[0], rel=1e-7)


@pytest.mark.parametrize("fwhm_nm", [0.0, 0.7, 10.0, 60.0])
def test_weights_are_not_negative_sum_to_1_and_preserve_straight_lines_away_from_the_ends(fwhm_nm):
    library_nm = np.concatenate([np.arange(1000, 1200, 2.0), np.arange(1200, 1400.1, 5.0)])
    sensor_nm = np.linspace(1000, 1400, 83)
    weights = band_weights(library_nm, sensor_nm, np.full(83, fwhm_nm))
    assert weights.data.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-14)
    inside = (sensor_nm >= 1000 + 3 * fwhm_nm) & (sensor_nm <= 1400 - 3 * fwhm_nm)
    assert inside.any()
    np.testing.assert_allclose((weights @ library_nm)[inside], sensor_nm[inside], rtol=1e-9)


def test_fwhm_0_is_linear_interpolation():
    library_nm, sensor_nm = np.arange(1000, 1101, 2.0), np.linspace(1000, 1100, 77)
    values = bumpy(library_nm, rows=1)[0].astype(float)
    converted = band_weights(library_nm, sensor_nm, np.zeros(77)) @ values
    np.testing.assert_allclose(converted, np.interp(sensor_nm, library_nm, values), atol=1e-12)


def test_two_convolutions_equal_a_single_convolution_with_the_fwhm_added_in_quadrature():
    fine_nm = np.arange(1300, 1700.01, 0.5)
    middle = (fine_nm > 1400) & (fine_nm < 1600)
    values = bumpy(fine_nm, rows=1)[0].astype(float)
    three, four, five = (band_weights(fine_nm, fine_nm, np.full(len(fine_nm), 10.0 * n)) for n in (3, 4, 5))
    np.testing.assert_allclose((four @ (three @ values))[middle], (five @ values)[middle], atol=2e-5)


# A library on a sensor


def test_a_library_on_the_grid_of_a_profile_has_the_resolution_of_the_profile():
    asd = read_sensor("asd")
    soils = library_of(bumpy(asd.wavelengths_nm), asd.wavelengths_nm)
    np.testing.assert_array_equal(on_sensor(soils, asd).spectra, soils.spectra)
    converted = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    expected = band_weights(asd.wavelengths_nm, converted.wavelengths_nm, np.full(3, 24.0)) @ soils.spectra.T
    np.testing.assert_allclose(converted.spectra, expected.T, rtol=1e-6)  # 26^2 = 24^2 + 10^2
    assert "has the grid of sensor asd" in converted.notes[-1]
    coarse = on_sensor(soils, sensor_of([1200, 1500, 1800], 8.0))
    np.testing.assert_array_equal(coarse.spectra, soils.spectra[:, [850, 1150, 1450]])
    assert "3 bands stay coarser" in coarse.notes[-1]
    for shift_nm, same_grid in ((2e-4, True), (0.49, True), (0.51, False)):
        converted = on_sensor(
            replace(soils, wavelengths_nm=asd.wavelengths_nm + shift_nm), sensor_of([1200, 1500], 26.0)
        )
        assert ("has the grid of sensor asd" in converted.notes[-1]) == same_grid


def test_a_library_of_unknown_resolution_is_averaged_with_the_full_fwhm_of_the_sensor_and_a_note():
    library_nm = np.arange(1100, 1900, 2.0)
    soils = library_of(bumpy(library_nm), library_nm)
    converted = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    expected = band_weights(library_nm, converted.wavelengths_nm, np.full(3, 26.0)) @ soils.spectra.T
    np.testing.assert_allclose(converted.spectra, expected.T, rtol=1e-6)
    assert "26 nm FWHM; the resolution of the library is unknown" in converted.notes[-1]


def test_reflectance_is_averaged_not_absorbance():
    library_nm = np.arange(1100, 1900, 2.0)
    reflectance = bumpy(library_nm)
    absorbance_soils = library_of(-np.log10(reflectance), library_nm, "absorbance")
    centres = [1200, 1500, 1800]
    converted = on_sensor(library_of(reflectance, library_nm), sensor_of(centres, 30.0))
    np.testing.assert_allclose(
        on_sensor(absorbance_soils, sensor_of(centres, 30.0)).spectra, converted.spectra, rtol=1e-5
    )
    absorbance = on_sensor(absorbance_soils, sensor_of(centres, 30.0, "absorbance"))
    assert absorbance.quantity == "absorbance"
    np.testing.assert_allclose(absorbance.spectra, -np.log10(converted.spectra), rtol=1e-5)


def test_reflectance_converts_to_absorbance_and_back():
    library_nm = np.arange(1100, 1900, 2.0)
    soils = library_of(bumpy(library_nm), library_nm)
    absorbance = on_sensor(soils, sensor_of(library_nm, None, "absorbance"))
    np.testing.assert_allclose(absorbance.spectra, -np.log10(soils.spectra), rtol=1e-5)
    np.testing.assert_allclose(on_sensor(absorbance, sensor_of(library_nm, None)).spectra, soils.spectra, rtol=1e-6)


def test_bands_beyond_the_library_are_refused_unless_the_config_excludes_them():
    library_nm = np.arange(1100, 2499, 2.0)
    soils, sensor = library_of(bumpy(library_nm), library_nm), read_sensor("neospectra")
    with pytest.raises(
        InputError, match=r"1350..2550 nm, made up 1100..2498 nm.*--set front_end.stop_nm=2498 "
    ) as error:
        on_sensor(soils, sensor)
    assert "start_nm" not in str(error.value)
    assert "\n" not in str(error.value)
    converted = on_sensor(soils, sensor, 0.0, 2498.0)
    np.testing.assert_array_equal(converted.wavelengths_nm, sensor.wavelengths_nm[sensor.wavelengths_nm <= 2498])
    with pytest.raises(InputError, match=r"--set front_end.start_nm=1100 to model"):
        on_sensor(soils, read_sensor("micronir"))
    with pytest.raises(InputError, match=r"scio covers 740..1070 nm, made up 1100..2498 nm: the ranges do not overlap"):
        on_sensor(soils, read_sensor("scio"))
    with pytest.raises(InputError, match=r"stop_nm=1351 leave 1 of its bands"):
        on_sensor(soils, sensor, 0.0, 1351.0)


def test_everything_except_the_spectra_is_unchanged():
    library_nm = np.arange(1100, 1900, 2.0)
    soils = replace(
        library_of(bumpy(library_nm), library_nm),
        targets={"pH": np.array([5.0, np.nan, 7.0])},
        groups=np.array(["a", "a", "b"]),
        parts=np.array(["train", "train", "test"]),
        notes=("first",),
    )
    converted = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    for name in ("ids", "groups", "parts"):
        np.testing.assert_array_equal(getattr(converted, name), getattr(soils, name))
    np.testing.assert_array_equal(converted.targets["pH"], soils.targets["pH"])
    assert converted.notes[0] == "first"


# Profiles


def test_every_profile_has_its_expected_grid_in_this_file():
    assert profile_names() == tuple(sorted(GRIDS))


@pytest.mark.parametrize("name", GRIDS)
def test_a_profile_has_the_range_the_band_count_and_the_step_of_its_instrument(name):
    start, stop, count, step = GRIDS[name]
    sensor = read_sensor(name)
    assert (sensor.wavelengths_nm[0], sensor.wavelengths_nm[-1], len(sensor.wavelengths_nm)) == (start, stop, count)
    if step is not None:
        np.testing.assert_allclose(np.diff(sensor.wavelengths_nm), step, rtol=1e-5)
    assert sensor.quantity == ("absorbance" if name == "lucas" else "reflectance")
    assert (sensor.fwhm_nm is None) == (name == "scio")
    assert "not checked" in sensor.source or name in ("scio", "neospectra_ossl")


def test_a_wavenumber_grid_is_uniform_in_wavenumber():
    per_cm = 1e7 / read_sensor("neospectra").wavelengths_nm
    np.testing.assert_allclose(np.diff(per_cm), (1e7 / 2550 - 1e7 / 1350) / 256, rtol=1e-9)


def test_resolutions_given_at_a_few_wavelengths_are_interpolated_to_all_bands():
    sensor = read_sensor("micronir")
    np.testing.assert_allclose(sensor.fwhm_nm, 0.0125 * sensor.wavelengths_nm, rtol=1e-12)
    asd = read_sensor("asd")
    assert asd.fwhm_nm[700 - 350] == 3
    assert asd.fwhm_nm[1400 - 350] == asd.fwhm_nm[2100 - 350] == 10
    # Fourier transform: the same width in cm-1 everywhere, within 1.2 %.
    neo = read_sensor("neospectra")
    np.testing.assert_allclose(neo.fwhm_nm / neo.wavelengths_nm**2, 16 / 1550**2, rtol=0.012)


def test_a_profile_file_may_list_bands_and_a_width_for_each(tmp_path):
    text = (
        'host = "h"\nsource = "s"\nquantity = "absorbance"\nwavelengths_nm = [900, 905.5, 920]\nfwhm_nm = [9, 10, 12]\n'
    )
    sensor = read_sensor(written(tmp_path, text))
    np.testing.assert_array_equal(sensor.wavelengths_nm, [900, 905.5, 920])
    np.testing.assert_array_equal(sensor.fwhm_nm, [9, 10, 12])
    assert sensor.quantity == "absorbance"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count = 61", "", "count is missing"),
        ("count = 61", "count = 61.0", "count must be a whole number from 2 to 20000, got 61.0"),
        ("count = 61", "count = true", "count must be a whole number"),
        ("count = 61", "counts = 61", "counts is unknown; the keys of a profile are host, source"),
        ("start_nm = 1200.0", "start_nm = 1.2", "start_nm must be a wavelength in nm, 100..30000, got 1.2"),
        ("start_nm = 1200.0", "start_nm = nan", "start_nm must be a wavelength in nm"),
        ("start_nm = 1200.0", 'start_nm = "1200"', "start_nm must be a number, got '1200'"),
        ("stop_nm = 2400.0", "stop_nm = 1200.0", "stop_nm must be above start_nm 1200, got 1200"),
        ("stop_nm = 2400.0", "wavelengths_nm = [1, 2]", "start_nm conflicts with wavelengths_nm"),
        ("count = 61", 'count = 61\nspacing = "log"', "spacing must be wavelength or wavenumber, got 'log'"),
        ('"reflectance"', '"percent"', "quantity must be reflectance or absorbance, got 'percent'"),
        ('"made up"', '""', "source must be a text that is not empty"),
        ('host = "none"', "", "host is missing"),
        ("fwhm_nm = 12.0", "fwhm_nm = 0", "fwhm_nm must be a width in nm, above 0"),
        ("fwhm_nm = 12.0", "fwhm_nm = inf", "fwhm_nm must be a width in nm"),
        ("fwhm_nm = 12.0", "fwhm_nm = [12, 13]", "fwhm_nm has 2 numbers for 61 wavelengths"),
        ("fwhm_nm = 12.0", "fwhm_nm = 12\nfwhm_at_nm = [1500]", "fwhm_at_nm needs fwhm_nm as a list"),
        ("fwhm_nm = 12.0", "fwhm_at_nm = [1500]", "fwhm_at_nm needs fwhm_nm, which is missing"),
        ("fwhm_nm = 12.0", "fwhm_nm = [12, 13]\nfwhm_at_nm = [1500, 1400]", "fwhm_at_nm must be strictly ascending"),
        ("count = 61", "count = 61 62", "not TOML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_key(tmp_path, old, new, message):
    assert old in PROFILE
    path = written(tmp_path, PROFILE.replace(old, new))
    with pytest.raises(InputError) as error:
        read_sensor(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("listed", ["[900, 900]", "[905, 900]", "[900]", "900"])
def test_listed_wavelengths_must_ascend(tmp_path, listed):
    text = f'host = "h"\nsource = "s"\nquantity = "absorbance"\nwavelengths_nm = {listed}\n'
    with pytest.raises(InputError, match="wavelengths_nm must"):
        read_sensor(written(tmp_path, text))


def test_the_error_for_an_unknown_sensor_lists_the_profiles():
    with pytest.raises(InputError, match=r"no file 'micronirs'; profiles are asd, lucas, micronir, .*, scio;"):
        load(with_fields(Config(), data__sensor="micronirs"))


# The run


def test_without_a_sensor_the_library_keeps_its_grid(monkeypatch):
    monkeypatch.setattr("relple_tf.spectra.sources.named.on_sensor", None)
    config = with_fields(Config(), data__source="simulated", simulated__soils=20)
    assert load(config).wavelengths_nm.tolist() == np.arange(1100, 2499, 2.0).tolist()


def exit_code(command, *arguments):
    with pytest.raises(SystemExit) as exit_:
        run(command.main, [str(argument) for argument in arguments])
    return exit_.value.code


def test_a_run_for_a_sensor_predicts_scans_of_this_sensor(tmp_path):
    profile = written(tmp_path, PROFILE.replace("count = 61", 'count = 61\nspacing = "wavenumber"'))
    folder = tmp_path / "run"
    flags = (
        "training.cv_folds=0",
        "training.max_epochs=2",
        "front_end.step_nm=20",
        "front_end.derivative_window_nm=60",
    )
    more = ("front_end.whitened_components=5", "model.expert_kind=cnn", "simulated.soils=60")
    flags = [f"--set={flag}" for flag in (*flags, *more, "model.architecture=shared_bottom")]
    command = ("--data", "simulated", "--targets", "OC_g_kg", "--preset", "rs_ple_nano", *flags, "--sensor", profile)
    assert exit_code(train, *command, "--out", folder) == 0
    card_input = json.loads((folder / "card.json").read_text())["input"]
    sensor = read_sensor(profile)
    assert card_input == {
        "quantity": "reflectance",
        "wavelengths_nm": sensor.wavelengths_nm.tolist(),
        "end_tolerance_nm": [20.0, pytest.approx(sensor.wavelengths_nm[-1] - sensor.wavelengths_nm[-2])],
    }
    config = with_fields(Config(), data__source="simulated", simulated__soils=60, data__sensor=profile)
    scans = load(config)
    table = pd.DataFrame(scans.spectra, columns=[repr(nm) for nm in sensor.wavelengths_nm.tolist()])
    table.insert(0, "id", scans.ids)
    table.to_csv(tmp_path / "scans.csv", index=False)
    assert exit_code(predict, folder, tmp_path / "scans.csv", "--out", tmp_path / "values.csv") == 0
    of_training, predicted = pd.read_csv(folder / "predictions.csv"), pd.read_csv(tmp_path / "values.csv")
    np.testing.assert_allclose(predicted["OC_g_kg"], of_training["OC_g_kg_predicted"], rtol=1e-5)


def test_a_run_that_does_not_cover_the_sensor_is_refused_before_anything_is_written(tmp_path, capsys):
    command = ("--data", "simulated", "--set=simulated.soils=60", "--sensor", "neospectra")
    assert exit_code(train, *command, "--out", tmp_path / "run") == 2
    refusal = capsys.readouterr().err.strip()
    assert refusal.startswith("error: sensor neospectra covers 1350..2550 nm, simulated 1100..2498 nm")
    assert refusal.count("\n") == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step_nm", [4.0, 8.0])
@pytest.mark.parametrize("digits", [0, 1, 3])
@pytest.mark.parametrize("name", profile_names())
def test_a_model_for_a_sensor_accepts_its_scans_with_rounded_band_names(name, digits, step_nm):
    """Also where bands are far apart, as at the long end of a Fourier-transform instrument."""
    nm = read_sensor(name).wavelengths_nm
    inside = nm[(nm >= 1200) & (nm <= 2400)] if nm[-1] > 2400 else nm
    card = {"input": {"wavelengths_nm": inside.tolist(), "quantity": "reflectance"}, "front_end": {}}
    card["front_end"]["grid_nm"] = [1200.0, 1200.0 + step_nm]
    rounded_nm = np.unique(np.round(nm, digits))
    spectra = (0.4 + 0.1 * np.sin(rounded_nm / 90))[None].astype("float32")
    library = SpectralLibrary(
        source="scans",
        spectra=spectra,
        wavelengths_nm=rounded_nm,
        quantity="reflectance",
        targets={},
        ids=np.array(["a"]),
    )
    if rounded_nm[0] > inside[0] or rounded_nm[-1] < inside[-1]:
        card["input"]["wavelengths_nm"] = inside[(inside >= rounded_nm[0]) & (inside <= rounded_nm[-1])].tolist()
    ready, _ = to_model_input(library, card)
    assert ready.spectra.shape == (1, len(card["input"]["wavelengths_nm"]))
    hole = (rounded_nm < 1600) | (rounded_nm > 1700)
    if (~hole).any() and rounded_nm[0] < 1590 and rounded_nm[-1] > 1710:
        with pytest.raises(InputError, match="no band within"):
            to_model_input(only(library, hole), card)


def only(library, kept):
    """The library with only the bands where `kept` is true."""
    return replace(library, spectra=library.spectra[:, kept], wavelengths_nm=library.wavelengths_nm[kept])


# Devices of one kind, whose calibration differs


REAL_ENDS = {
    "micronir": [(908.1, 1676.2), (908.0, 1676.0)],
    "nirscan_nano": [(900.40, 1700.84), (901.48, 1700.84), (901.84, 1700.84)],
    "neospectra": [(1350.0004, 2549.9999)],
    "scio": [(740.0, 1070.0)],
}
"""First and last bands of published scans; of two devices of nirscan_nano, only the first is known."""


def device_nm(name, low_bands, high_bands, seed=0):
    """Bands of a device of this kind: the ends moved inward by fractions of a band, the others by up to a quarter."""
    nm = read_sensor(name).wavelengths_nm
    spacing = np.gradient(nm)
    moved = nm + np.random.default_rng(seed).uniform(-0.25, 0.25, len(nm)) * spacing
    low_nm, high_nm = nm[0] + low_bands * spacing[0], nm[-1] - high_bands * spacing[-1]
    inside = moved[(moved > low_nm) & (moved < high_nm)]
    return np.concatenate([[low_nm], inside, [high_nm]])


def model_card(name, step_nm):
    """The parts of a card that the conversion of scans reads, of a model for this sensor."""
    nm = read_sensor(name).wavelengths_nm
    grid_nm = np.arange(nm[0], nm[-1] + 1e-6, step_nm)
    entries = {"wavelengths_nm": nm.tolist(), "quantity": read_sensor(name).quantity}
    entries["end_tolerance_nm"] = list(end_tolerance_nm(nm, grid_nm))
    return {"input": entries, "front_end": {"grid_nm": grid_nm.tolist()}}


@pytest.mark.parametrize("step_nm", [0.1, 8.0])
@pytest.mark.parametrize("name", profile_names())
def test_a_model_for_a_sensor_reads_scans_whose_ends_lie_up_to_a_band_inside(name, step_nm):
    card, nm = model_card(name, step_nm), read_sensor(name).wavelengths_nm
    draws = np.random.default_rng(1).uniform(0, 1, (8, 2))
    for seed, (low, high) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1), *draws]):
        scan_nm = device_nm(name, low, high, seed)
        scans = library_of(bumpy(scan_nm), scan_nm, read_sensor(name).quantity)
        ready, notes = to_model_input(scans, card)
        expected = [np.interp(nm, scan_nm, spectrum) for spectrum in scans.spectra]
        np.testing.assert_array_equal(ready.spectra, np.float32(expected))
        np.testing.assert_array_equal(ready.spectra[:, [0, -1]], scans.spectra[:, [0, -1]])
        assert sum("is held" in note for note in notes) == int(low > 0) + int(high > 0)


@pytest.mark.parametrize("step_nm", [0.1, 8.0])
@pytest.mark.parametrize("name", profile_names())
def test_a_model_for_a_sensor_refuses_scans_that_end_further_inside(name, step_nm):
    card, nm = model_card(name, step_nm), read_sensor(name).wavelengths_nm
    for end, (low, high) in enumerate([(1, 0), (0, 1)]):
        # Two bands, or two steps of the grid where these are larger.
        bands = 2 * max(step_nm / np.gradient(nm)[-end], 1)
        scan_nm = device_nm(name, bands * low, bands * high)
        distance = [scan_nm[0] - nm[0], nm[-1] - scan_nm[-1]][end]
        with pytest.raises(InputError, match=f"they miss {nm_text(nm[-end])} nm by {nm_text(distance)} nm, more than "):
            to_model_input(library_of(bumpy(scan_nm), scan_nm), card)


@pytest.mark.parametrize("name", profile_names())
def test_a_library_of_a_device_is_converted_to_the_profile_of_its_kind(name):
    sensor = read_sensor(name)
    nm = sensor.wavelengths_nm
    ends = [(nm[0] + low * (nm[1] - nm[0]), nm[-1] - high * (nm[-1] - nm[-2])) for low, high in ((0.9, 0), (0.3, 1))]
    for first, last in [*ends, *REAL_ENDS.get(name, [])]:
        # The same number of bands as the profile.
        library_nm = first + (nm - nm[0]) * (last - first) / (nm[-1] - nm[0])
        soils = library_of(bumpy(library_nm), library_nm, sensor.quantity)
        converted = on_sensor(soils, sensor)
        np.testing.assert_array_equal(converted.wavelengths_nm, nm)
        assert sum("is held" in note for note in converted.notes) == int(first > nm[0] + 1e-6) + int(
            last < nm[-1] - 1e-6
        )
        if np.all(np.abs(library_nm - nm) <= np.gradient(nm) / 2) and sensor.fwhm_nm is not None:
            assert f"has the grid of sensor {name}" in converted.notes[-1]
            # It has the resolution of its kind already, so it is interpolated only, and not even that for differences
            # below SAME_NM; the slope of `bumpy` is at most 0.3 / 7 per nm.
            expected = np.stack([np.interp(nm, library_nm, spectrum) for spectrum in soils.spectra])
            np.testing.assert_allclose(converted.spectra, expected, atol=5e-5)


@pytest.mark.parametrize("name", REAL_ENDS)
def test_published_devices_are_recognised_by_their_bands(name):
    nm = read_sensor(name).wavelengths_nm
    for first, last in REAL_ENDS[name]:
        library_nm = first + (nm - nm[0]) * (last - first) / (nm[-1] - nm[0])
        assert _same_grid(library_nm).name == name


@pytest.mark.parametrize("name", profile_names())
def test_another_number_of_bands_or_bands_off_by_more_than_half_the_spacing_are_another_instrument(name):
    nm = read_sensor(name).wavelengths_nm
    for other in (nm[1:], nm[:-1], nm + 0.6 * np.gradient(nm), nm - 0.6 * np.gradient(nm)):
        assert _same_grid(other) is None


def test_a_library_that_misses_a_sensor_by_more_than_a_band_is_refused_with_the_distance():
    sensor = read_sensor("micronir")
    for missing, refused in ((6.19, False), (6.19535, False), (6.2, True), (12.4, True)):
        library_nm = np.arange(sensor.wavelengths_nm[0] + missing, 1700, 2.0)
        soils = library_of(bumpy(library_nm), library_nm)
        if refused:
            with pytest.raises(
                InputError, match=rf"misses 908.1 nm by {missing:g} nm, more than 6.1944 nm; use --set fr"
            ):
                on_sensor(soils, sensor)
        else:
            np.testing.assert_array_equal(on_sensor(soils, sensor).wavelengths_nm, sensor.wavelengths_nm)


def test_a_band_that_lies_outside_the_configured_range_by_rounding_is_kept():
    library_nm = np.linspace(1349.9996, 2550.0004, 601)
    soils = library_of(bumpy(library_nm), library_nm)
    config = FrontEndConfig(start_nm=1350.0, stop_nm=2550.0)
    np.testing.assert_array_equal(in_range(soils, config).wavelengths_nm, library_nm)
    np.testing.assert_array_equal(
        on_sensor(soils, sensor_of(library_nm, None), 1350.0, 2550.0).wavelengths_nm, library_nm
    )
    narrower = in_range(soils, FrontEndConfig(start_nm=1350.002, stop_nm=2549.998))
    np.testing.assert_array_equal(narrower.wavelengths_nm, library_nm[1:-1])
