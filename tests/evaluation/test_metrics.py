"""Metrics compared with values calculated by hand."""

import numpy as np
import pytest

from relple_tf.evaluation.metrics import scores

MEASURED = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
PREDICTED = np.array([1.5, 2.0, 2.5, 5.0, 5.5])
"""Errors .5, 0, -.5, 1, .5: sum 1.5, squares 1.75; deviations of measured -2..2, squares 10."""


def test_metrics_equal_values_calculated_by_hand():
    rmse = np.sqrt(1.75 / 5)
    # Errors around their mean of .3: .2, -.3, -.8, .7, .2, squares 1.3.
    # Predictions around 3.3: -1.8, -1.3, -.8, 1.7, 2.2, squares 13.3; products with measured 11.
    expected = {
        "n": 5,
        "r2": 1 - 1.75 / 10,
        "rmse": rmse,
        "mae": 0.5,
        "bias": 0.3,
        "sep": np.sqrt(1.3 / 4),
        "rpd": np.sqrt(10 / 4) / rmse,
        "rpiq": 2 / rmse,
        "ccc": 2 * (11 / 5) / (10 / 5 + 13.3 / 5 + 0.3**2),
    }
    assert scores(MEASURED, PREDICTED) == pytest.approx(expected)


def test_a_perfect_prediction():
    got = scores(MEASURED, MEASURED)
    assert (got["r2"], got["ccc"]) == pytest.approx((1, 1))
    assert (got["rmse"], got["mae"], got["bias"], got["sep"]) == (0, 0, 0, 0)
    assert got["rpd"] == got["rpiq"] == np.inf


def test_rows_without_a_laboratory_value_are_omitted():
    gaps = np.array([np.nan, *MEASURED, np.nan])
    assert scores(gaps, np.array([9.0, *PREDICTED, -9.0])) == scores(MEASURED, PREDICTED)


def test_bias_changes_rmse_and_ccc_but_not_sep():
    plain, shifted = scores(MEASURED, PREDICTED), scores(MEASURED, PREDICTED + 2)
    assert shifted["bias"] == pytest.approx(plain["bias"] + 2)
    assert shifted["sep"] == pytest.approx(plain["sep"])
    assert shifted["rmse"] ** 2 == pytest.approx(plain["sep"] ** 2 * 4 / 5 + 2.3**2)
    assert shifted["ccc"] < plain["ccc"]


def test_ratios_do_not_depend_on_the_unit_and_errors_scale_with_it():
    original, scaled = scores(MEASURED, PREDICTED), scores(10 * MEASURED, 10 * PREDICTED)
    for name in ("r2", "rpd", "rpiq", "ccc"):
        assert scaled[name] == pytest.approx(original[name])
    for name in ("rmse", "mae", "bias", "sep"):
        assert scaled[name] == pytest.approx(10 * original[name])


def test_predicting_the_mean_scores_zero():
    got = scores(MEASURED, np.full(5, 3.0))
    assert got["r2"] == pytest.approx(0)
    assert got["ccc"] == pytest.approx(0)


@pytest.mark.parametrize("measured", [[], [1.0], [np.nan, 1.0, np.nan], [2.0, 2.0, 2.0]], ids=str)
def test_too_few_or_equal_values_are_refused(measured):
    measured = np.array(measured, "float64")
    with pytest.raises(ValueError, match="at least 2 different measured values"):
        scores(measured, np.zeros(len(measured)))
