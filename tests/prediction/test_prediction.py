"""Scans are predicted chunk by chunk, and nobody can tell where a chunk ended."""

import numpy as np
import pandas as pd
import pytest
from soil_tables import NM, ROWS, columns, reflectance, write

from relple_tf.errors import InputError
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
    """Of a model that reads every second band of `soil_tables` as absorbance."""
    grid = {"wavelengths_nm": NM[::2].tolist(), "quantity": "absorbance"}
    found = {
        "input": grid,
        "front_end": {"grid_nm": NM[::2].tolist()},
        "domain": {"limits": {"T2": 1.0, "Q": 1.0}, "share_within": 0.99},
        "targets": {"pH": {"interval": INTERVAL | {"test": None}}, "OC_g_kg": {"interval": None}},
        "simulated": True,
    }
    return found | changed


class Model:
    """Sums of the bands; remembers how many scans it was given at a time."""

    def __init__(self):
        self.lengths = []

    def __call__(self, spectra):
        self.lengths.append(len(spectra))
        depth = spectra.astype(float) @ np.arange(spectra.shape[1])
        return {"pH": depth / 50, "OC_g_kg": depth, "T2": 5 * spectra[:, 7] ** 2, "Q": np.zeros(len(spectra))}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_predictions_and_notes_do_not_depend_on_the_chunk(tmp_path, chunk):
    table = columns(id=["a", "b", "", *columns()["id"][3:]])
    scans = open_scans(write(tmp_path / "soils.csv", table))
    model = Model()
    predicted, notes = predict_scans(tmp_path, card(), scans, model, chunk)
    assert model.lengths == [min(chunk, ROWS - first) for first in range(0, ROWS, chunk)]

    absorbance = -np.log10(reflectance(NM)[:, ::2])
    expected = Model()(absorbance.astype("float32"))
    assert list(predicted) == ["id", "pH", "pH_low", "pH_high", "OC_g_kg", "status"]
    assert predicted["id"].tolist() == ["a", "b", "row3", *columns()["id"][3:]]
    np.testing.assert_allclose(predicted["OC_g_kg"], expected["OC_g_kg"], rtol=1e-5)
    assert predicted["status"].tolist() == np.where(expected["T2"] > 1, "outside", "ok").tolist()
    outside = int((expected["T2"] > 1).sum())
    assert 0 < outside < ROWS
    assert f"{outside} of {ROWS} scans are unlike the training soils: do not trust their values" in notes
    assert "interpolated from 30 bands to the model's 15" in notes
    whole, all_notes = predict_scans(tmp_path, card(), scans, Model(), ROWS)
    pd.testing.assert_frame_equal(predicted, whole, check_exact=True)
    assert notes == all_notes


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_scan_that_is_flat_where_the_model_reads_is_named_by_its_row(tmp_path, chunk):
    """The whole scan is not, so that its table is sound."""
    table = {
        name: [*cells[:-1], "0.5"] if name.isdigit() and int(name) < 1970 else cells
        for name, cells in columns().items()
    }
    narrow = NM[NM < 1960].tolist()
    short = card(input={"wavelengths_nm": narrow, "quantity": "reflectance"}, front_end={"grid_nm": narrow})
    scans = open_scans(write(tmp_path / "soils.csv", table))
    with pytest.raises(InputError, match=rf"soils\.csv: row {ROWS} \(s{ROWS}\) is constant"):
        predict_scans(tmp_path, short, scans, Model(), chunk)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_bands_that_do_not_cover_the_model_are_refused_before_it_is_asked(tmp_path, chunk):
    wide = card(input={"wavelengths_nm": [1700.0, *NM.tolist()], "quantity": "reflectance"})
    model = Model()
    with pytest.raises(InputError, match=r"1800\.\.2090 nm do not cover the model's 1700\.\.2090 nm"):
        predict_scans(tmp_path, wide, open_scans(write(tmp_path / "soils.csv", columns())), model, chunk)
    assert model.lengths == []
