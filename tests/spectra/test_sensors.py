"""Sensor grids: a library as another instrument would have measured it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from relple_tf import predict, train
from relple_tf.command_line import run
from relple_tf.config import Config
from relple_tf.config import replace as with_fields
from relple_tf.errors import InputError
from relple_tf.prediction.runs import to_model_input
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sensors.profiles import Sensor, band_weights, on_sensor, profile_names, read_sensor
from relple_tf.spectra.sources.named import load

SD_PER_FWHM = 1 / np.sqrt(8 * np.log(2))

GRIDS = {
    "asd": (350, 2500, 2151, 1.0),
    "lucas": (400, 2499.5, 4200, 0.5),
    "micronir": (908, 1676, 125, 6.19355),
    "neospectra": (1350, 2550, 257, None),
    "neospectra_ossl": (1350, 2550, 601, 2.0),
    "nirscan_nano": (900, 1700, 228, 3.52423),
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
def test_a_line_becomes_a_gaussian_of_the_sensors_fwhm_and_keeps_its_area(fwhm_nm):
    fine_nm, wanted_nm, step_nm = np.arange(1400, 1600.01, 0.1), np.arange(1430, 1570.01, 0.25), 0.25
    line = np.zeros(len(fine_nm))
    line[np.argmin(np.abs(fine_nm - 1500))] = 1.0
    seen = band_weights(fine_nm, wanted_nm, np.full(len(wanted_nm), fwhm_nm)) @ line
    assert seen.sum() * step_nm == pytest.approx(0.1, rel=1e-8)  # 2e-9 lies outside the window
    high = wanted_nm[seen >= seen.max() / 2]
    assert high[-1] - high[0] == pytest.approx(fwhm_nm, abs=2 * step_nm)
    sd = fwhm_nm * SD_PER_FWHM
    gaussian = 0.1 * np.exp(-0.5 * ((wanted_nm - 1500) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(seen, gaussian, atol=1e-3 * gaussian.max())
    variance = (seen * (wanted_nm - 1500) ** 2).sum() / seen.sum()
    # The line is a triangle of base 0.2 nm, whose own variance adds to that of the Gaussian.
    assert variance == pytest.approx(sd**2 + 0.1**2 / 6, rel=1e-6)


def test_a_band_is_the_integral_of_the_polygon_times_the_gaussian_on_any_grid():
    rng = np.random.default_rng(0)
    own_nm = np.sort(rng.uniform(1000, 1100, 40))
    values, sd = rng.uniform(0.1, 0.9, 40), 9.0 * SD_PER_FWHM
    wanted_nm = np.array([own_nm[0], 1021.3, 1050.0, 1077.7, own_nm[-1]])
    seen = band_weights(own_nm, wanted_nm, np.full(5, 9.0)) @ values

    def weighted(nm, centre):
        return np.interp(nm, own_nm, values) * np.exp(-0.5 * ((nm - centre) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))

    for found, centre in zip(seen, wanted_nm, strict=True):
        corners = own_nm[np.abs(own_nm - centre) < 8 * sd]
        ends = centre - 8 * sd, centre + 8 * sd
        assert found == pytest.approx(quad(weighted, *ends, (centre,), points=corners, limit=400)[0], rel=1e-7)


@pytest.mark.parametrize("fwhm_nm", [0.0, 0.7, 10.0, 60.0])
def test_weights_are_none_below_0_sum_to_1_and_keep_straight_lines_away_from_the_ends(fwhm_nm):
    own_nm = np.concatenate([np.arange(1000, 1200, 2.0), np.arange(1200, 1400.1, 5.0)])
    wanted_nm = np.linspace(1000, 1400, 83)
    weights = band_weights(own_nm, wanted_nm, np.full(83, fwhm_nm))
    assert weights.data.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-14)
    inside = (wanted_nm >= 1000 + 3 * fwhm_nm) & (wanted_nm <= 1400 - 3 * fwhm_nm)
    assert inside.any()
    np.testing.assert_allclose((weights @ own_nm)[inside], wanted_nm[inside], rtol=1e-9)


def test_no_fwhm_is_linear_interpolation():
    own_nm, wanted_nm = np.arange(1000, 1101, 2.0), np.linspace(1000, 1100, 77)
    values = bumpy(own_nm, rows=1)[0].astype(float)
    seen = band_weights(own_nm, wanted_nm, np.zeros(77)) @ values
    np.testing.assert_allclose(seen, np.interp(wanted_nm, own_nm, values), atol=1e-12)


def test_two_averages_are_one_of_the_fwhm_in_quadrature():
    fine_nm = np.arange(1300, 1700.01, 0.5)
    middle = (fine_nm > 1400) & (fine_nm < 1600)
    values = bumpy(fine_nm, rows=1)[0].astype(float)
    three, four, five = (band_weights(fine_nm, fine_nm, np.full(len(fine_nm), 10.0 * n)) for n in (3, 4, 5))
    np.testing.assert_allclose((four @ (three @ values))[middle], (five @ values)[middle], atol=2e-5)


# A library on a sensor


def test_a_library_on_the_grid_of_a_profile_is_known_to_have_its_resolution():
    asd = read_sensor("asd")
    soils = library_of(bumpy(asd.wavelengths_nm), asd.wavelengths_nm)
    np.testing.assert_array_equal(on_sensor(soils, asd).spectra, soils.spectra)
    seen = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    expected = band_weights(asd.wavelengths_nm, seen.wavelengths_nm, np.full(3, 24.0)) @ soils.spectra.T
    np.testing.assert_allclose(seen.spectra, expected.T, rtol=1e-6)  # 26^2 = 24^2 + 10^2
    assert "grid is that of sensor asd" in seen.notes[-1]
    coarse = on_sensor(soils, sensor_of([1200, 1500, 1800], 8.0))
    np.testing.assert_array_equal(coarse.spectra, soils.spectra[:, [850, 1150, 1450]])
    assert "3 bands stay coarser" in coarse.notes[-1]
    for shift_nm, known in ((2e-4, True), (0.01, False)):
        seen = on_sensor(replace(soils, wavelengths_nm=asd.wavelengths_nm + shift_nm), sensor_of([1200, 1500], 26.0))
        assert ("grid is that of sensor asd" in seen.notes[-1]) == known


def test_another_library_is_averaged_by_the_sensors_whole_fwhm_and_that_is_said():
    own_nm = np.arange(1100, 1900, 2.0)
    soils = library_of(bumpy(own_nm), own_nm)
    seen = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    expected = band_weights(own_nm, seen.wavelengths_nm, np.full(3, 26.0)) @ soils.spectra.T
    np.testing.assert_allclose(seen.spectra, expected.T, rtol=1e-6)
    assert "26 nm FWHM; the library's own resolution is not known" in seen.notes[-1]


def test_light_is_averaged_and_not_its_logarithm():
    own_nm = np.arange(1100, 1900, 2.0)
    light = bumpy(own_nm)
    dark = library_of(-np.log10(light), own_nm, "absorbance")
    centres = [1200, 1500, 1800]
    seen = on_sensor(library_of(light, own_nm), sensor_of(centres, 30.0))
    np.testing.assert_allclose(on_sensor(dark, sensor_of(centres, 30.0)).spectra, seen.spectra, rtol=1e-5)
    absorbed = on_sensor(dark, sensor_of(centres, 30.0, "absorbance"))
    assert absorbed.quantity == "absorbance"
    np.testing.assert_allclose(absorbed.spectra, -np.log10(seen.spectra), rtol=1e-5)


def test_reflectance_and_absorbance_turn_into_one_another_and_back():
    own_nm = np.arange(1100, 1900, 2.0)
    soils = library_of(bumpy(own_nm), own_nm)
    there = on_sensor(soils, sensor_of(own_nm, None, "absorbance"))
    np.testing.assert_allclose(there.spectra, -np.log10(soils.spectra), rtol=1e-5)
    np.testing.assert_allclose(on_sensor(there, sensor_of(own_nm, None)).spectra, soils.spectra, rtol=1e-6)


def test_bands_beyond_the_library_are_refused_until_the_config_leaves_them_out():
    own_nm = np.arange(1100, 2499, 2.0)
    soils, sensor = library_of(bumpy(own_nm), own_nm), read_sensor("neospectra")
    with pytest.raises(
        InputError, match=r"1350..2550 nm, made up 1100..2498 nm.*--set front_end.stop_nm=2498 "
    ) as error:
        on_sensor(soils, sensor)
    assert "start_nm" not in str(error.value)
    assert "\n" not in str(error.value)
    seen = on_sensor(soils, sensor, 0.0, 2498.0)
    np.testing.assert_array_equal(seen.wavelengths_nm, sensor.wavelengths_nm[sensor.wavelengths_nm <= 2498])
    with pytest.raises(InputError, match=r"--set front_end.start_nm=1100 models"):
        on_sensor(soils, read_sensor("micronir"))
    with pytest.raises(InputError, match=r"scio covers 740..1070 nm, made up 1100..2498 nm: too little in common"):
        on_sensor(soils, read_sensor("scio"))
    with pytest.raises(InputError, match=r"stop_nm=1351 leave 1 of its bands"):
        on_sensor(soils, sensor, 0.0, 1351.0)


def test_all_else_of_a_library_stays():
    own_nm = np.arange(1100, 1900, 2.0)
    soils = replace(
        library_of(bumpy(own_nm), own_nm),
        targets={"pH": np.array([5.0, np.nan, 7.0])},
        groups=np.array(["a", "a", "b"]),
        parts=np.array(["train", "train", "test"]),
        notes=("first",),
    )
    seen = on_sensor(soils, sensor_of([1200, 1500, 1800], 26.0))
    for name in ("ids", "groups", "parts"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(soils, name))
    np.testing.assert_array_equal(seen.targets["pH"], soils.targets["pH"])
    assert seen.notes[0] == "first"


# Profiles


def test_these_are_the_profiles():
    assert profile_names() == tuple(sorted(GRIDS))


@pytest.mark.parametrize("name", GRIDS)
def test_a_profile_has_the_ends_the_count_and_the_step_of_its_instrument(name):
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


def test_resolutions_of_a_few_wavelengths_are_those_of_all_bands():
    sensor = read_sensor("micronir")
    np.testing.assert_allclose(sensor.fwhm_nm, 0.0125 * sensor.wavelengths_nm, rtol=1e-12)
    asd = read_sensor("asd")
    assert asd.fwhm_nm[700 - 350] == 3
    assert asd.fwhm_nm[1400 - 350] == asd.fwhm_nm[2100 - 350] == 10
    # Fourier-transform: one width in cm-1, to 1 %.
    neo = read_sensor("neospectra")
    np.testing.assert_allclose(neo.fwhm_nm / neo.wavelengths_nm**2, 16 / 1550**2, rtol=0.012)


def test_a_file_of_your_own_gives_listed_bands_and_a_width_for_each(tmp_path):
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
        ("count = 61", "counts = 61", "counts is unknown; a profile has host, source"),
        ("start_nm = 1200.0", "start_nm = 1.2", "start_nm must be a wavelength in nm, 100..30000, got 1.2"),
        ("start_nm = 1200.0", "start_nm = nan", "start_nm must be a wavelength in nm"),
        ("start_nm = 1200.0", 'start_nm = "1200"', "start_nm must be a number, got '1200'"),
        ("stop_nm = 2400.0", "stop_nm = 1200.0", "stop_nm must lie above start_nm 1200, got 1200"),
        ("stop_nm = 2400.0", "wavelengths_nm = [1, 2]", "start_nm stands beside wavelengths_nm"),
        ("count = 61", 'count = 61\nspacing = "log"', "spacing is one of wavelength, wavenumber; got 'log'"),
        ('"reflectance"', '"percent"', "quantity is one of reflectance, absorbance; got 'percent'"),
        ('"made up"', '""', "source is a text that is not empty"),
        ('host = "none"', "", "host is missing"),
        ("fwhm_nm = 12.0", "fwhm_nm = 0", "fwhm_nm must be a width in nm, above 0"),
        ("fwhm_nm = 12.0", "fwhm_nm = inf", "fwhm_nm must be a width in nm"),
        ("fwhm_nm = 12.0", "fwhm_nm = [12, 13]", "fwhm_nm has 2 numbers for 61 wavelengths"),
        ("fwhm_nm = 12.0", "fwhm_nm = 12\nfwhm_at_nm = [1500]", "fwhm_at_nm needs fwhm_nm as a list"),
        ("fwhm_nm = 12.0", "fwhm_at_nm = [1500]", "fwhm_at_nm stands without fwhm_nm"),
        ("fwhm_nm = 12.0", "fwhm_nm = [12, 13]\nfwhm_at_nm = [1500, 1400]", "fwhm_at_nm must be strictly ascending"),
        ("count = 61", "count = 61 62", "not TOML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_key(tmp_path, old, new, message):
    assert old in PROFILE
    place = written(tmp_path, PROFILE.replace(old, new))
    with pytest.raises(InputError) as error:
        read_sensor(place)
    assert str(error.value).startswith(f"{place}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("listed", ["[900, 900]", "[905, 900]", "[900]", "900"])
def test_listed_wavelengths_ascend(tmp_path, listed):
    text = f'host = "h"\nsource = "s"\nquantity = "absorbance"\nwavelengths_nm = {listed}\n'
    with pytest.raises(InputError, match="wavelengths_nm must"):
        read_sensor(written(tmp_path, text))


def test_an_unknown_sensor_names_the_known_ones():
    with pytest.raises(InputError, match=r"no file 'micronirs'; profiles are asd, lucas, micronir, .*, scio;"):
        load(with_fields(Config(), data__sensor="micronirs"))


# The run


def test_without_a_sensor_the_library_is_its_own(monkeypatch):
    monkeypatch.setattr("relple_tf.spectra.sources.named.on_sensor", None)
    config = with_fields(Config(), data__source="simulated", simulated__soils=20)
    assert load(config).wavelengths_nm.tolist() == np.arange(1100, 2499, 2.0).tolist()


def called(command, *arguments):
    with pytest.raises(SystemExit) as exit_:
        run(command.main, [str(argument) for argument in arguments])
    return exit_.value.code


def test_a_run_for_a_sensor_reads_that_sensors_scans(tmp_path):
    place = written(tmp_path, PROFILE.replace("count = 61", 'count = 61\nspacing = "wavenumber"'))
    folder = tmp_path / "run"
    flags = (
        "training.cv_folds=0",
        "training.max_epochs=2",
        "front_end.step_nm=20",
        "front_end.derivative_window_nm=60",
    )
    more = ("front_end.whitened_components=5", "model.expert_kind=cnn", "simulated.soils=60")
    flags = [f"--set={flag}" for flag in (*flags, *more, "model.architecture=shared_bottom")]
    command = ("--data", "simulated", "--targets", "OC_g_kg", "--preset", "rs_ple_nano", *flags, "--sensor", place)
    assert called(train, *command, "--out", folder) == 0
    given = json.loads((folder / "card.json").read_text())["input"]
    sensor = read_sensor(place)
    assert given == {"quantity": "reflectance", "wavelengths_nm": sensor.wavelengths_nm.tolist()}
    config = with_fields(Config(), data__source="simulated", simulated__soils=60, data__sensor=place)
    scans = load(config)
    table = pd.DataFrame(scans.spectra, columns=[repr(nm) for nm in sensor.wavelengths_nm.tolist()])
    table.insert(0, "id", scans.ids)
    table.to_csv(tmp_path / "scans.csv", index=False)
    assert called(predict, folder, tmp_path / "scans.csv", "--out", tmp_path / "values.csv") == 0
    kept, again = pd.read_csv(folder / "predictions.csv"), pd.read_csv(tmp_path / "values.csv")
    np.testing.assert_allclose(again["OC_g_kg"], kept["OC_g_kg_predicted"], rtol=1e-5)


def test_a_run_that_does_not_cover_the_sensor_is_refused_before_anything_is_written(tmp_path, capsys):
    command = ("--data", "simulated", "--set=simulated.soils=60", "--sensor", "neospectra")
    assert called(train, *command, "--out", tmp_path / "run") == 2
    refusal = capsys.readouterr().err.strip()
    assert refusal.startswith("error: sensor neospectra covers 1350..2550 nm, simulated 1100..2498 nm")
    assert refusal.count("\n") == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step_nm", [4.0, 8.0])
@pytest.mark.parametrize("digits", [0, 1, 3])
@pytest.mark.parametrize("name", profile_names())
def test_a_model_of_a_sensor_reads_its_scans_however_bands_are_rounded(name, digits, step_nm):
    """Also where bands lie far apart, as a Fourier-transform instrument's do at its long end."""
    nm = read_sensor(name).wavelengths_nm
    inside = nm[(nm >= 1200) & (nm <= 2400)] if nm[-1] > 2400 else nm
    card = {"input": {"wavelengths_nm": inside.tolist(), "quantity": "reflectance"}, "front_end": {}}
    card["front_end"]["grid_nm"] = [1200.0, 1200.0 + step_nm]
    named = np.unique(np.round(nm, digits))
    spectra = (0.4 + 0.1 * np.sin(named / 90))[None].astype("float32")
    library = SpectralLibrary(
        source="scans",
        spectra=spectra,
        wavelengths_nm=named,
        quantity="reflectance",
        targets={},
        ids=np.array(["a"]),
    )
    if named[0] > inside[0] or named[-1] < inside[-1]:
        card["input"]["wavelengths_nm"] = inside[(inside >= named[0]) & (inside <= named[-1])].tolist()
    ready, _ = to_model_input(library, card)
    assert ready.spectra.shape == (1, len(card["input"]["wavelengths_nm"]))
    hole = (named < 1600) | (named > 1700)
    if (~hole).any() and named[0] < 1590 and named[-1] > 1710:
        with pytest.raises(InputError, match="no band within"):
            to_model_input(only(library, hole), card)


def only(library, kept):
    """The library with some of its bands."""
    return replace(library, spectra=library.spectra[:, kept], wavelengths_nm=library.wavelengths_nm[kept])
