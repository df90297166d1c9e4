"""Scans are predicted chunk by chunk, and the result does not depend on the chunks."""

import numpy as np
import pandas as pd
import pytest
from soil_tables import NM, ROWS, columns, reflectance, write

from relple_tf.errors import InputError
from relple_tf.predict import holds_predictions
from relple_tf.prediction.runs import predict_scans
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
        name: [*cells[:-1], "0.5"] if name.isdigit() and int(name) < 1970 else cells
        for name, cells in columns().items()
    }
    narrow = NM[NM < 1960].tolist()
    narrow_card = card(input={"wavelengths_nm": narrow, "quantity": "reflectance"}, front_end={"grid_nm": narrow})
    scans = open_scans(write(tmp_path / "soils.csv", table))
    with pytest.raises(InputError, match=rf"soils\.csv: row {ROWS} \(s{ROWS}\) is constant"):
        predict_scans(tmp_path, narrow_card, scans, Model(), chunk)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_bands_that_do_not_cover_the_model_are_refused_before_it_runs(tmp_path, chunk):
    wide = card(input={"wavelengths_nm": [1700.0, *NM.tolist()], "quantity": "reflectance"})
    model = Model()
    with pytest.raises(InputError, match=r"1800\.\.2090 nm do not cover the model's 1700\.\.2090 nm"):
        predict_scans(tmp_path, wide, open_scans(write(tmp_path / "soils.csv", columns())), model, chunk)
    assert model.counts == []
