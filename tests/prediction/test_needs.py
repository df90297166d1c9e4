"""Decisions of `predict`: the text of --need, the columns, and files that may be replaced."""

import numpy as np
import pandas as pd
import pytest
from soil_tables import ROWS, columns, write
from test_prediction import CHUNKS, Model, card

from relple_tf.errors import InputError
from relple_tf.predict import holds_predictions
from relple_tf.prediction.needs import check_needs, parse_needs
from relple_tf.prediction.runs import predict_scans, predictions_table
from relple_tf.spectra.readers.scans import open_scans

LIMIT = {"T2": np.float32([0.25, 0.25, 4.0, np.nan]), "Q": np.zeros(4, "float32")}
OUTPUTS = LIMIT | {"pH": np.float32([6, 6, 6, np.nan]), "OC_g_kg": np.ones(4, "float32")}


def test_needs_are_parsed():
    assert parse_needs("OC_g_kg=3,pH=0.3") == {"OC_g_kg": 3.0, "pH": 0.3}
    assert parse_needs(" pH = 3e-1 ") == {"pH": 0.3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected TARGET=WIDTH,... such as OC_g_kg=3,pH=0.3, received 'nothing'"),
        (" ", "received 'nothing'"),
        ("pH", "received 'pH'"),
        ("pH=", "received 'pH='"),
        ("=3", "received '=3'"),
        ("pH=1,", "received 'nothing'"),
        ("pH=1,pH=2", "pH is given twice"),
        ("pH=wide", "pH: expected a number above 0, received 'wide'"),
        ("pH=1=2", "received '1=2'"),
        *((f"pH={width}", "pH: expected a finite number above 0") for width in ("0", "-1", "nan", "inf", "1e999")),
    ],
)
def test_a_wrong_text_is_refused(text, message):
    with pytest.raises(InputError) as error:
        parse_needs(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"Au_ppm": 3}, "runs/a has no target Au_ppm; it has pH, OC_g_kg"),
        ({"OC_g_kg": 3}, "OC_g_kg has no prediction interval in runs/a, because training.cv_folds is 0"),
        *(({"pH": width}, "expected a finite number above 0") for width in (0, -0.1, float("nan"), "1", True, None)),
    ],
)
def test_a_model_that_cannot_decide_is_named(needs, message):
    with pytest.raises(InputError, match=message):
        check_needs(needs, card()["targets"], "runs/a")


def test_too_few_soils_for_an_interval_are_named():
    with pytest.raises(InputError, match="because 3 soils are too few; train with more soils"):
        check_needs({"pH": 1}, {"pH": {"interval": {"half_width": None, "n": 3}}}, "runs/a")


def test_numbers_of_numpy_are_accepted():
    check_needs({"pH": np.float32(0.3)}, card()["targets"], "runs/a")
    check_needs({"pH": np.int64(3)}, card()["targets"], "runs/a")


def decisions(need):
    return predictions_table(card(), {}, OUTPUTS, {"pH": need})["pH_decision"].tolist()


def test_the_limit_is_the_half_width_of_the_interval_and_the_status_is_ok():
    """At difficulty 0.5, the half width is 0.5 (1 + 1.0 x 0.5) = 0.75; the third scan is outside, the last invalid."""
    assert decisions(0.7499) == ["send"] * 4
    assert decisions(0.75) == decisions(1e9) == ["keep", "keep", "send", "send"]
    assert decisions(1e-12) == ["send"] * 4


@pytest.mark.parametrize("chunk", CHUNKS)
def test_decisions_stand_after_the_interval_and_invalid_scans_are_sent(tmp_path, chunk):
    table = columns()
    band = next(name for name in table if name.isdigit())
    table[band] = ["wet", *table[band][1:]]
    scans = open_scans(write(tmp_path / "soils.csv", table))
    without, _ = predict_scans(tmp_path, card(), scans, Model(), chunk)
    reach = np.maximum(without["pH"] - without["pH_low"], without["pH_high"] - without["pH"])
    need = round(float(reach[without["status"] == "ok"].median()), 3)
    predicted, notes = predict_scans(tmp_path, card(), scans, Model(), chunk, needs={"pH": need})
    assert list(predicted) == ["id", "pH", "pH_low", "pH_high", "pH_decision", "OC_g_kg", "status"]
    assert predicted["status"][0] == "invalid"
    kept = (predicted["status"] == "ok") & (reach <= need)
    assert 0 < kept.sum() < (predicted["status"] == "ok").sum()
    assert predicted["pH_decision"].tolist() == np.where(kept, "keep", "send").tolist()
    assert f"pH: {kept.sum()} of {ROWS} scans kept with a need of {need:g}; send the others" in notes
    pd.testing.assert_frame_equal(predicted.drop(columns="pH_decision"), without, check_exact=True)
    predicted.to_csv(tmp_path / "p.csv", index=False)
    assert holds_predictions(tmp_path / "p.csv")


RESULT = "id,pH,pH_low,pH_high,pH_decision,status\n"
ROW = "a,6.5,6,7,{},ok\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RESULT, True),
        (RESULT + ROW.format("keep"), True),
        (RESULT + ROW.format("send"), True),
        (RESULT + ROW.format("accepted"), False),
        (RESULT + ROW.format(""), False),
        ("id,pH,pH_decision,status\na,6.5,keep,ok\n", False),
        ("id,pH,pH_low,pH_high,OC_decision,status\na,6.5,6,7,keep,ok\n", False),
        ("id,pH_decision,status\na,keep,ok\n", False),
    ],
)
def test_only_a_file_with_decisions_of_this_command_is_replaced(tmp_path, text, expected):
    (tmp_path / "p.csv").write_text(text)
    assert holds_predictions(tmp_path / "p.csv") is expected
