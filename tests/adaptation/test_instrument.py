"""Correction of another instrument: the right map is found, by pairs that do not judge themselves, and is deployed."""

import dataclasses
import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from export_fixtures import TINY_RUN, fixture_run  # noqa: F401

from export.bundling.stored_run import load as load_for_export
from export.convert.conversion import converted, recipe_file
from export.convert.operators import audit
from export.recipes import RECIPES
from export.verify.runtimes import RUNTIMES
from relple_tf import adapt
from relple_tf.adaptation.instrument import (
    DIRECT,
    METHODS,
    NONE,
    OFFSET,
    PIECEWISE,
    REFERENCE,
    SLOPE,
    choose,
    fit_map,
    held_out_squares,
    paired_correction,
    reference_correction,
)
from relple_tf.adaptation.instrument_run import corrected_run, correction, estimator, on_grid, read_scans_of_both
from relple_tf.adaptation.stored_run import read_run
from relple_tf.command_line import run as run_command
from relple_tf.errors import InputError
from relple_tf.models.instrument import grid_stage, transfers_of, without_transfers
from relple_tf.prediction.runs import estimates
from relple_tf.runs.stored_data import load_data
from relple_tf.selection.calibrated_run import CalibratedRun
from relple_tf.spectra.sources.named import load

NM = np.arange(1100.0, 1500.0, 10)
BANDS = len(NM)
RNG = np.random.default_rng(0)
OFFSETS, GAINS = RNG.normal(0, 0.05, BANDS), 1 + RNG.normal(0, 0.1, BANDS)
SOURCES = ("a.csv", "b.csv")
REFERENCE_RUNTIME = next(runtime for runtime in RUNTIMES if runtime.name == "LiteRT reference")


def samples(count=12, shift_nm=0.0, peaks=20):
    """Smooth absorbance of `count` samples: bands of random height on a random level."""
    heights = np.random.default_rng(1).normal(0.3, 0.1, (count, peaks + 1))
    centres = np.linspace(1050, 1550, peaks)[:, None]
    return heights[:, -1:] + heights[:, :-1] @ np.exp(-(((NM + shift_nm - centres) / 40) ** 2) / 2)


def estimate(absorbance):
    """Two estimates that depend on all bands."""
    weights = np.sin(np.arange(2 * BANDS)).reshape(BANDS, 2).astype("float32")
    return absorbance @ weights


def noisy(absorbance, sd=1e-4):
    return absorbance + np.random.default_rng(2).normal(0, sd, absorbance.shape)


def chosen(second):
    return paired_correction(samples(), second, estimate, sources=SOURCES)


@pytest.mark.parametrize(
    ("second", "method"),
    [
        (noisy(samples()), NONE),
        (noisy(samples() - OFFSETS), OFFSET),
        (noisy((samples() - OFFSETS) / GAINS), SLOPE),
    ],
    ids=[NONE, OFFSET, SLOPE],
)
def test_the_simplest_sufficient_method_is_chosen(second, method):
    assert chosen(second).method == method


@pytest.mark.parametrize("method", [OFFSET, SLOPE])
def test_an_offset_per_band_is_removed_exactly(method):
    mapped = fit_map(method, samples(), samples() - OFFSETS)(samples(20) - OFFSETS)
    np.testing.assert_allclose(mapped, samples(20), atol=1e-12)


def test_a_gain_and_an_offset_per_band_are_removed_exactly():
    distorted = (samples() - OFFSETS) / GAINS
    np.testing.assert_allclose(fit_map(SLOPE, samples(), distorted)(distorted), samples(), atol=1e-12)


def test_a_shift_of_the_wavelengths_needs_neighbouring_bands():
    squares = held_out_squares(samples(), noisy(samples(shift_nm=4.0)), estimate)
    means = {method: values.mean() for method, values in squares.items()}
    assert means[PIECEWISE] < 0.2 * min(means[NONE], means[OFFSET], means[SLOPE])


def test_direct_standardisation_corrects_what_its_pairs_span():
    """Samples of four components, which twelve pairs span; the rank of the matrix is theirs."""
    distorted = samples(shift_nm=4.0, peaks=3) - OFFSETS
    fitted = fit_map(DIRECT, samples(peaks=3), distorted)
    new = samples(20, shift_nm=4.0, peaks=3) - OFFSETS
    np.testing.assert_allclose(fitted(new), samples(20, peaks=3), atol=1e-6)
    assert fitted.left.shape[1] == 4


@pytest.mark.parametrize("method", METHODS)
def test_a_map_and_its_layer_are_the_same_function(method):
    fitted = fit_map(method, samples(), noisy((samples(shift_nm=3.0) - OFFSETS) / GAINS))
    if fitted is None:
        return
    stage = grid_stage(BANDS, [fitted.layer("instrument1")])
    scan = samples(20).astype("float32")
    np.testing.assert_allclose(stage(scan), fitted(scan.astype("float64")), atol=2e-6)


def test_the_error_of_a_pair_does_not_depend_on_its_fit():
    """The error of pair 0 with a map of the others, whatever scan pair 0 has on the new instrument."""
    second = noisy((samples() - OFFSETS) / GAINS)
    squares = held_out_squares(samples(), second, estimate)
    others = np.arange(1, len(second))
    for method in METHODS:
        fitted = fit_map(method, samples()[others], second[others])
        mapped = second[:1] if fitted is None else fitted(second[:1])
        expected = np.mean((estimate(mapped) - estimate(samples()[:1])) ** 2)
        np.testing.assert_allclose(squares[method][0], expected, rtol=1e-6)


def test_a_simpler_method_within_one_standard_error_is_preferred():
    best = np.array([0.0, 1.0, 2.0, 3.0])  # mean 1.5, standard error 0.645
    assert choose({NONE: best + 5, OFFSET: best + 0.64, SLOPE: best}) == OFFSET
    assert choose({NONE: best + 5, OFFSET: best + 0.65, SLOPE: best}) == SLOPE


def test_rounding_does_not_decide_between_methods():
    errors = {NONE: np.full(5, 1.0), OFFSET: np.full(5, 1e-8), SLOPE: np.full(5, 1e-9)}
    assert choose(errors) == OFFSET


def test_a_reference_material_gives_the_factor_of_each_band():
    factor = np.linspace(0.8, 1.2, BANDS)
    tile = np.full((3, BANDS), 0.2)
    correction = reference_correction(tile, tile[:1] - np.log10(factor), sources=SOURCES)
    assert correction.method == REFERENCE
    reflectance = 10.0 ** -samples()
    mapped = correction.map(-np.log10(reflectance * factor))
    np.testing.assert_allclose(10.0**-mapped, reflectance, rtol=1e-12)


FACTOR = np.linspace(0.75, 1.0, 140).astype("float32")
"""Of the reflectance on the second instrument, for each band of the simulated soils."""


def soils(rows, factor=1.0):
    """Simulated soils, whose reflectance the second instrument multiplies by `factor`."""
    library = load(dataclasses.replace(TINY_RUN, simulated=dataclasses.replace(TINY_RUN.simulated, soils=160)))
    return dataclasses.replace(library.rows(np.asarray(rows)), spectra=library.spectra[rows] * np.float32(factor))


def write(path, library, prefix="s", **columns):
    table = pd.DataFrame(library.spectra.round(6), columns=[f"{nm:g}" for nm in library.wavelengths_nm])
    for name, values in reversed(({"id": [f"{prefix}{row}" for row in range(len(library))]} | columns).items()):
        table.insert(0, name, values)
    table.to_csv(path, index=False)
    return path


PAIRS, LOCAL, OTHERS = range(120, 132), range(132, 148), range(148, 160)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pairs a.csv and b.csv, and soils of the second instrument with laboratory values."""
    folder = tmp_path_factory.mktemp("instrument")
    write(folder / "a.csv", soils(PAIRS))
    write(folder / "b.csv", soils(PAIRS, FACTOR))
    write(folder / "local.csv", soils(LOCAL, FACTOR), "l", **soils(LOCAL).targets)
    return folder


def ended(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        run_command(adapt.main, [str(argument) for argument in arguments])
    return end.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def stored(run):
    return read_run(run)


@pytest.fixture(scope="module")
def adapted(run, files):
    """The folder of a run that was adapted to the second instrument and to local soils."""
    arguments = [run, "--data", files / "local.csv", "--paired", files / "a.csv", files / "b.csv"]
    with pytest.raises(SystemExit) as end:
        run_command(adapt.main, [str(argument) for argument in [*arguments, "--out", files / "run"]])
    assert end.value.code == 0
    return files / "run"


@pytest.fixture(scope="module")
def trained(adapted):
    return load_for_export(adapted)


def test_the_saved_model_reads_a_scan_of_the_new_instrument_as_one_of_the_library(stored, trained):
    first, second = soils(OTHERS).spectra, soils(OTHERS, FACTOR).spectra
    expected = stored.model.get_layer("absorbance_stage")(first)
    np.testing.assert_allclose(trained.absorbance_stage(second), expected, atol=1e-4)
    np.testing.assert_array_equal(without_transfers(trained.absorbance_stage)(first), expected)
    assert np.isnan(trained.absorbance_stage(np.full_like(second[:1], 0.4))).all()  # constant: impossible


def test_card_and_report_state_the_method_its_errors_and_its_size(adapted, trained):
    facts = json.loads((adapted / "card.json").read_text())["adaptation"]["instrument"]
    assert facts["method"] == OFFSET
    assert facts["pairs"] == len(PAIRS)
    assert list(facts["rms_sd"]) == list(METHODS)
    assert facts["rms_sd"][OFFSET] < 0.1 * facts["rms_sd"][NONE]
    (layer,) = transfers_of(trained.absorbance_stage)
    assert facts["bytes"] == 4 * layer.count_params()
    text = (adapted / "report.html").read_text()
    assert f"{facts['bytes']:,} bytes in a device file" in text
    assert f"<td><strong>{facts['rms_sd'][OFFSET]:.3f}</strong></td>" in text


def test_no_scan_of_the_first_instrument_tests_the_model(stored, adapted):
    library, parts = load_data(adapted / "data.npz")
    assert all(name.startswith("l") for name in library.ids[parts == "test"])
    np.testing.assert_array_equal(library.spectra[parts != "test"], stored.library.spectra[stored.parts != "test"])


def test_quantisation_and_selection_read_the_library_on_its_instrument(run, stored, adapted, trained):
    features = load_for_export(run).features(trained.train_scans)
    np.testing.assert_array_equal(trained.library_features(trained.train_scans), features)
    before, after = CalibratedRun.read(run), CalibratedRun.read(adapted)
    kept = before.calibration_scores[stored.parts != "test"]
    np.testing.assert_allclose(after.calibration_scores[after.parts != "test"], kept, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_a_device_file_of_the_adapted_run_agrees_with_keras(trained):
    """In the int8 file the correction and the regressions are float32, and the network is calibrated without them."""
    recipe = RECIPES["int8"]
    received = REFERENCE_RUNTIME.run(recipe_file(trained, recipe), trained.test_scans)
    for target in trained.targets:
        tolerance = recipe.largest_error * np.std(trained.test_values[target])
        np.testing.assert_allclose(received[target], trained.test_outputs[target], rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", [SLOPE, PIECEWISE, DIRECT])
def test_every_form_of_the_layer_is_exported(method):
    stage = grid_stage(BANDS, [fit_map(method, samples(), noisy(samples(shift_nm=3.0) / GAINS)).layer("instrument1")])
    scan = samples(3).astype("float32")

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, BANDS), tf.float32, name="spectrum")])
    def function(spectrum):
        return {"sum": estimate(stage(spectrum))[:, :1]}

    content = converted(function, stage.variables)
    assert not audit(content).lacks["TFLM"]
    np.testing.assert_allclose(REFERENCE_RUNTIME.run(content, scan)["sum"], estimate(stage(scan))[:, 0], atol=1e-4)


def test_a_second_correction_leads_to_the_instrument_that_the_first_one_reads(adapted):
    once = read_run(adapted)
    bands = once.model.get_layer("absorbance_stage").output.shape[1]
    twice = corrected_run(
        once, reference_correction(np.full((1, bands), 0.3), np.full((1, bands), 0.2), sources=SOURCES)
    )
    second = soils(OTHERS, FACTOR).spectra
    third = second * np.float32(10**0.1)
    stage = twice.model.get_layer("absorbance_stage")
    assert [layer.name for layer in transfers_of(stage)] == ["instrument2", "instrument1"]
    expected, received = estimates(once.model, second), estimates(twice.model, third)
    for name in expected:
        np.testing.assert_allclose(received[name], expected[name], rtol=1e-3)
    # The pairs of the second correction are judged by the model behind the first one.
    inside = keras.Model(once.model.input, once.model.get_layer("target_scaling").input)
    judged = estimator(once)(on_grid(once, soils(OTHERS, FACTOR)))
    np.testing.assert_allclose(judged, inside(second), atol=1e-4)


def test_a_reference_material_is_read_from_both_files(stored, tmp_path):
    sand = [write(tmp_path / f"{name}.csv", soils([120], factor)) for name, factor in (("a", 1.0), ("b", FACTOR))]
    fitted = correction(None, sand)(stored)
    second = on_grid(stored, soils(OTHERS, FACTOR))
    np.testing.assert_allclose(fitted.map(second), on_grid(stored, soils(OTHERS)), atol=1e-4)
    assert f"{fitted.bytes:,} bytes" in fitted.statement


def test_samples_of_one_file_only_are_dropped_by_name_and_scans_are_averaged(stored, files, tmp_path):
    brighter, darker = (soils(PAIRS[4:], FACTOR * factor) for factor in (1.01, 0.99))
    twice = dataclasses.replace(
        brighter,
        spectra=np.concatenate([brighter.spectra, darker.spectra]),
        ids=np.concatenate([brighter.ids, darker.ids]),
    )
    write(tmp_path / "b.csv", twice, id=[f"s{row}" for row in range(4, 12)] * 2)
    first, second = (library for library, _ in read_scans_of_both(stored, (files / "a.csv", tmp_path / "b.csv")))
    assert len(first) == 12
    np.testing.assert_allclose(second.spectra, soils(PAIRS[4:], FACTOR).spectra, atol=2e-6)
    fitted = correction([files / "a.csv", tmp_path / "b.csv"], None)(stored)
    assert any("samples without a scan on the other instrument: s0, s1, s2, s3" in note for note in fitted.notes)
    assert fitted.samples == {f"s{row}" for row in range(4, 12)}


def test_scans_that_cannot_correct_an_instrument_are_refused_in_one_line(stored, files, tmp_path):
    a = files / "a.csv"
    cases = [
        (write(tmp_path / "few.csv", soils(PAIRS[:4], FACTOR)), "expected at least 5 samples with the same name"),
        (write(tmp_path / "x.csv", soils(PAIRS, FACTOR), "x"), r"received 0 \(names such as s0 and x0\)"),
        (write(tmp_path / "copy.csv", soils(PAIRS)), "hold the same scans"),
        (tmp_path / "none.csv", "no file"),
        (a, "a.csv twice"),
    ]
    for b, message in cases:
        with pytest.raises(InputError, match=message) as error:
            correction([a, b], None)(stored)
        assert "\n" not in str(error.value)


def test_options_that_cannot_correct_an_instrument_are_refused_in_one_line(run, files, tmp_path, capsys):
    a, b, local, one_target = *(files / f"{name}.csv" for name in ("a", "b", "local")), tmp_path / "one_target.csv"
    pd.read_csv(local).drop(columns="pH").to_csv(one_target, index=False)
    cases = [
        (["--data", local, "--paired", a, b, "--reference", a, b], "not allowed with argument --paired"),
        (["--paired", a, b], "the following arguments are required: --data"),
        (["--data", one_target, "--paired", a, b], "received too few of pH"),
    ]
    for arguments, message in cases:
        code, output = ended([run, *arguments, "--out", tmp_path / "out"], capsys)
        errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
        assert code == 2, arguments
        assert len(errors) == 1, arguments
        assert message in errors[0]
        assert not (tmp_path / "out").exists(), arguments
