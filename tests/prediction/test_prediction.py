"""Scans are predicted chunk by chunk, and the result does not depend on the chunks."""

import re

import numpy as np
import pandas as pd
import pytest
from soil_tables import NM, ROWS, columns, reflectance, write

from export.runtime.soil_scan import Bands
from relple_tf.errors import InputError
from relple_tf.predict import holds_predictions
from relple_tf.prediction.runs import predict_scans, to_model_input
from relple_tf.runs.card_schema import input_end_tolerance_nm
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.range_ends import end_tolerance_nm
from relple_tf.spectra.readers.scans import open_scans

INTERVAL = {
    "target": "pH",
    "coverage": 0.9,
    "half_width": 0.5,
    "growth": 1.0,
    "root": False,
    "non_negative": True,
    "n": 50,
}
CHUNKS = (1, 7, ROWS, 1000)


def card(**changed):
    """Card of a model that reads every second band of `soil_tables` as absorbance."""
    grid = {"wavelengths_nm": NM[::2].tolist(), "quantity": "absorbance"}
    entries = {
        "input": grid,
        "front_end": {"grid_nm": NM[::2].tolist()},
        "domain": {"limits": {"T2": 1.0, "Q": 1.0}, "share_within": 0.99},
        "targets": {"pH": {"interval": INTERVAL | {"test": None}}, "OC_g_kg": {"interval": None}},
        "simulated": True,
    }
    return entries | changed


class Model:
    """A model whose outputs are weighted sums of the bands; it records the number of scans of each call."""

    def __init__(self):
        self.counts = []

    def __call__(self, spectra):
        self.counts.append(len(spectra))
        weighted_sum = spectra.astype(float) @ np.arange(spectra.shape[1])
        return {
            "pH": weighted_sum / 50,
            "OC_g_kg": weighted_sum,
            "T2": 5 * spectra[:, 7] ** 2,
            "Q": np.zeros(len(spectra)),
        }


@pytest.mark.parametrize("chunk", CHUNKS)
def test_predictions_and_notes_do_not_depend_on_the_chunk(tmp_path, chunk):
    table = columns(id=["a", "b", "", *columns()["id"][3:]])
    scans = open_scans(write(tmp_path / "soils.csv", table))
    model = Model()
    predicted, notes = predict_scans(tmp_path, card(), scans, model, chunk)
    assert model.counts == [min(chunk, ROWS - first) for first in range(0, ROWS, chunk)]

    absorbance = -np.log10(reflectance(NM)[:, ::2])
    expected = Model()(absorbance.astype("float32"))
    assert list(predicted) == ["id", "pH", "pH_low", "pH_high", "OC_g_kg", "status"]
    assert predicted["id"].tolist() == ["a", "b", "row3", *columns()["id"][3:]]
    np.testing.assert_allclose(predicted["OC_g_kg"], expected["OC_g_kg"], rtol=1e-5)
    assert predicted["status"].tolist() == np.where(expected["T2"] > 1, "outside", "ok").tolist()
    outside = int((expected["T2"] > 1).sum())
    assert 0 < outside < ROWS
    assert f"{outside} of {ROWS} scans have status outside or invalid: do not use their values" in notes
    assert "interpolated from 30 bands to the model's 15" in notes
    single_chunk, single_chunk_notes = predict_scans(tmp_path, card(), scans, Model(), ROWS)
    pd.testing.assert_frame_equal(predicted, single_chunk, check_exact=True)
    assert notes == single_chunk_notes


def test_names_of_scans_stay_beside_the_names_of_their_samples(tmp_path):
    samples, names = [f"soil{row // 2}" for row in range(ROWS)], [f"u{row}" for row in range(ROWS)]
    table = columns(id=None, scan_id=names, **{"Sample Name": samples})
    scans = open_scans(write(tmp_path / "soils.csv", table))
    predicted, _ = predict_scans(tmp_path, card(), scans, Model(), 7)
    assert list(predicted)[:3] == ["id", "scan", "pH"]
    assert (predicted["id"].tolist(), predicted["scan"].tolist()) == (samples, names)
    predicted.to_csv(tmp_path / "p.csv", index=False)
    assert holds_predictions(tmp_path / "p.csv")
    predicted.rename(columns={"scan": "id2", "pH": "scan"}).to_csv(tmp_path / "other.csv", index=False)
    assert not holds_predictions(tmp_path / "other.csv")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_scan_that_is_constant_in_the_range_of_the_model_is_named_by_its_row(tmp_path, chunk):
    """The scan is not constant over its full range, so the table is valid."""
    table = {
        name: [*cells[:-1], "0.44"] if name.isdigit() and int(name) < 1890 else cells
        for name, cells in columns().items()
    }
    narrow = NM[NM < 1880].tolist()
    narrow_card = card(input={"wavelengths_nm": narrow, "quantity": "reflectance"}, front_end={"grid_nm": narrow})
    scans = open_scans(write(tmp_path / "soils.csv", table))
    with pytest.raises(InputError, match=rf"soils\.csv: row {ROWS} \(s{ROWS}\) is constant"):
        predict_scans(tmp_path, narrow_card, scans, Model(), chunk)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_bands_that_do_not_cover_the_model_are_refused_before_it_runs(tmp_path, chunk):
    wide = card(input={"wavelengths_nm": [1700.0, *NM.tolist()], "quantity": "reflectance"})
    model = Model()
    with pytest.raises(InputError, match=r"1800\.\.2090 nm do not cover the model's 1700\.\.2090 nm: they miss 1700"):
        predict_scans(tmp_path, wide, open_scans(write(tmp_path / "soils.csv", columns())), model, chunk)
    assert model.counts == []


MODEL_NM = np.arange(1000.0, 1201.0, 4.0)


def model_card(step_nm, **entries):
    """Card of a model that reads MODEL_NM, 4 nm apart, with a grid of another step."""
    grid_nm = np.arange(1000.0, 1200.1, step_nm).tolist()
    entries = {"wavelengths_nm": MODEL_NM.tolist(), "quantity": "reflectance", **entries}
    return card(input=entries, front_end={"grid_nm": grid_nm})


def scans_on(nm):
    nm = np.asarray(nm)
    return SpectralLibrary.from_arrays(0.4 + 0.1 * np.sin(nm / [[30.0], [50.0]]), {}, wavelengths_nm=nm, source="scans")


@pytest.mark.parametrize(("step_nm", "tolerance_nm"), [(2.0, 4.0), (4.0, 4.0), (10.0, 10.0)])
@pytest.mark.parametrize("end", ["low", "high"])
def test_an_end_is_held_up_to_the_larger_of_the_grid_step_and_the_spacing_of_the_bands(step_nm, tolerance_nm, end):
    for missing_nm in (7e-6, 0.0004, 0.5, tolerance_nm, tolerance_nm + 0.0009, tolerance_nm + 0.0011, 3 * tolerance_nm):
        low_nm, high_nm = (missing_nm, 0.0) if end == "low" else (0.0, missing_nm)
        nm = np.linspace(1000 + low_nm, 1200 - high_nm, 173)
        if missing_nm > tolerance_nm + 0.001:
            with pytest.raises(InputError, match=r"do not cover the model's 1000\.\.1200 nm: they miss 1") as error:
                to_model_input(scans_on(nm), model_card(step_nm))
            distance, allowed = re.search(r"by (\S+) nm, more than (\S+) nm", str(error.value)).groups()
            assert float(distance) > float(allowed) == tolerance_nm
            continue
        scans = scans_on(nm)
        ready, notes = to_model_input(scans, model_card(step_nm))
        np.testing.assert_array_equal(
            ready.spectra, np.float32([np.interp(MODEL_NM, nm, spectrum) for spectrum in scans.spectra])
        )
        column = 0 if end == "low" else -1
        np.testing.assert_array_equal(ready.spectra[:, column], scans.spectra[:, column])
        word, which, nm_of_model = ("start", "first", 1000) if end == "low" else ("stop", "last", 1200)
        side = "above" if end == "low" else "below"
        assert notes[0] == (
            f"the bands {word} {abs(nm[column] - nm_of_model):.3g} nm {side} {nm_of_model} nm, the {which} wavelength "
            f"of the model: their {which} value is held"
        )


def test_the_tolerance_of_the_card_is_used_and_computed_where_a_card_does_not_state_it():
    assert input_end_tolerance_nm(model_card(10.0)) == (10.0, 10.0)
    stated = model_card(10.0, end_tolerance_nm=[1.0, 30.0])
    assert input_end_tolerance_nm(stated) == (1.0, 30.0)
    to_model_input(scans_on(np.arange(1001.0, 1171.0)), stated)
    with pytest.raises(
        InputError, match=r"they miss 1000 nm by 2 nm, more than 1 nm and 1200 nm by 31 nm, more than 30"
    ):
        to_model_input(scans_on(np.arange(1002.0, 1170.0)), stated)


def test_a_band_far_from_the_others_does_not_widen_the_tolerance():
    nm = np.array([1000.0, 1100.0, 1102.0, 1104.0, 1200.0])
    assert end_tolerance_nm(nm, nm) == (4.0, 4.0)
    assert end_tolerance_nm(nm[:2], nm[2:4]) == (100.0, 100.0)
    card_of_nm = model_card(2.0, wavelengths_nm=nm.tolist())
    card_of_bundle = {"input": card_of_nm["input"], "front_end": card_of_nm["front_end"]}
    assert input_end_tolerance_nm(card_of_nm) == Bands.of(card_of_bundle).end_tolerance_nm == (4.0, 4.0)


def test_a_refusal_never_prints_two_equal_wavelengths():
    narrow = card(
        input={"wavelengths_nm": [1350.0, 1350.01, 1350.02], "quantity": "reflectance"},
        front_end={"grid_nm": [1350.0, 1350.01]},
    )
    with pytest.raises(
        InputError, match=r"bands 1350.0123..1351 nm do not.*1350..1350.02 nm: they miss 1350 nm by 0.0123"
    ):
        to_model_input(scans_on([1350.0123, 1351.0]), narrow)


@pytest.mark.parametrize("step_nm", [2.0, 4.0, 10.0])
def test_a_scan_that_ends_early_is_judged_by_the_rule_of_ends_and_a_hole_by_that_of_gaps(step_nm):
    """A scan without its first bands is either read or refused for its end, never for a gap."""
    spacing_nm = 4.0
    for removed in range(5):
        nm = MODEL_NM[removed:]
        if removed * spacing_nm <= max(step_nm, spacing_nm):
            ready, _ = to_model_input(scans_on(nm), model_card(step_nm))
            assert ready.spectra.shape[1] == len(MODEL_NM)
        else:
            with pytest.raises(InputError, match="they miss 1000 nm"):
                to_model_input(scans_on(nm), model_card(step_nm))
    with pytest.raises(InputError, match=r"no band within .* nm of 11"):
        to_model_input(scans_on(MODEL_NM[(MODEL_NM < 1100) | (MODEL_NM > 1130)]), model_card(step_nm))
