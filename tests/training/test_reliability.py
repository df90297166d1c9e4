"""Properties of the disagreement as a part of Q."""

import numpy as np
import pytest

from relple_tf.models.agreement import Disagreement, Larger
from relple_tf.models.domain import SHARE_WITHIN, conformal_quantile
from relple_tf.pipeline import disagreement
from relple_tf.training.reliability import USUAL_SHARE, Agreement, fit_agreement


def test_of_new_soils_as_many_exceed_the_limit_as_stated_and_no_target_dominates():
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(500, 3)) * [0.01, 0.1, 1.0]
    agreement = fit_agreement(differences, 7.0)
    received = agreement.q(differences)
    np.testing.assert_allclose(conformal_quantile(received, SHARE_WITHIN), 7.0)
    new = agreement.q(rng.normal(size=(20_000, 3)) * [0.01, 0.1, 1.0])
    assert 0.98 < np.mean(new <= 7.0) < 1
    largest = np.argmax(np.abs(differences) / agreement.usual, axis=1)
    assert np.bincount(largest).min() > 100
    np.testing.assert_allclose(np.mean(np.abs(differences) <= agreement.usual, axis=0), USUAL_SHARE, atol=0.005)


def test_rows_that_were_trained_on_have_no_influence():
    rng = np.random.default_rng(1)
    differences, q = rng.normal(size=(100, 2)), 3.0
    unknown = np.full((40, 2), np.nan)
    agreement, expected = fit_agreement(np.vstack([differences, unknown]), q), fit_agreement(differences, q)
    np.testing.assert_array_equal(agreement.usual, expected.usual)
    assert agreement.scale == expected.scale
    assert fit_agreement(np.vstack([differences[:19], unknown]), q) is None


def test_equal_estimates_and_reference_are_no_disagreement():
    """The whole stack may consist of robust views: the scan is then judged by T2 and Q alone."""
    agreement = fit_agreement(np.zeros((50, 2)), 1.0)
    assert np.isfinite(agreement.usual).all()
    assert np.isfinite(agreement.scale)
    assert agreement.q(np.zeros((1, 2))) == 0


def test_the_layer_computes_the_same_as_the_fit():
    rng = np.random.default_rng(2)
    agreement = Agreement(usual=np.array([0.1, 0.4]), scale=3.0)
    estimates, reference = rng.normal(size=(2, 9, 2)).astype("float32")
    received = np.asarray(disagreement(agreement)((estimates, reference)))
    assert received.shape == (9, 1)
    np.testing.assert_allclose(received[:, 0], agreement.q(estimates.astype("float64") - reference), rtol=1e-4)


@pytest.mark.parametrize("values", [(np.nan, 1.0), (1.0, np.nan)])
def test_nan_in_either_is_nan(values):
    first, second = (np.array([[value]], "float32") for value in values)
    assert np.isnan(np.asarray(Larger()((first, second)))).all()
    layer = Disagreement()
    assert np.isnan(np.asarray(layer((first, second)))).all()
