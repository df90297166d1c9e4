"""Properties of the disagreement as a part of Q."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CONFIG

from relple_tf.config import replace as change
from relple_tf.models.agreement import Disagreement, Larger
from relple_tf.models.domain import SHARE_WITHIN, conformal_quantile
from relple_tf.pipeline import disagreement
from relple_tf.spectra.splitting.grouping import group_labels
from relple_tf.training.preparation import cross_validated_differences, prepare
from relple_tf.training.reliability import USUAL_SHARE, Agreement, fit_agreement, fit_reliability


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


@pytest.fixture(scope="module")
def paired(library, parts):
    """A library in which the scans of two neighbouring rows are those of one sample, and its parts."""
    samples = np.array([f"soil{row // 2}" for row in range(len(library))])
    return replace(library, samples=samples), np.repeat(parts[::2], 2)[: len(parts)]


def differences_of(library, parts):
    train = parts == "train"
    samples = group_labels(library, keep_groups=False)[train]
    return cross_validated_differences(prepare(library, parts, CONFIG), samples, CONFIG)


def test_neither_scan_nor_laboratory_value_of_a_sample_determines_its_difference(paired):
    """Those of other samples do. Predictions of a training row are nearer to each other than those of a new scan."""
    library, parts = paired
    expected = differences_of(library, parts)
    train = np.flatnonzero(parts == "train")
    sample = train[:2]
    assert library.samples[sample[0]] == library.samples[sample[1]]
    values = library.targets["OC_g_kg"].copy()
    values[sample] = np.nanmean(values[train])
    # The scale of a target is fitted on all training rows, so a change of a value changes all of them a little.
    received = differences_of(replace(library, targets=library.targets | {"OC_g_kg": values}), parts)
    own, others = (np.abs(received - expected)[rows, 0] for rows in (slice(0, 2), slice(2, None)))
    assert own.max() < 0.2 * others.max()


def test_every_training_row_has_differences_with_and_without_folds_of_networks(paired):
    library, parts = paired
    differences = differences_of(library, parts)
    assert differences.shape == (np.sum(parts == "train"), 2)
    assert np.isfinite(differences).all()
    prepared = prepare(library, parts, CONFIG)
    reliability = fit_reliability(library, parts, prepared, None, CONFIG)
    assert reliability.agreement is not None
    np.testing.assert_allclose(reliability.agreement.usual, np.quantile(np.abs(differences), USUAL_SHARE, axis=0))
    assert (reliability.q[parts == "train"] >= reliability.agreement.q(differences)).all()


def test_without_robust_views_no_difference_is_known(library, parts):
    config = change(CONFIG, front_end__robust_views=())
    prepared = prepare(library, parts, config)
    samples = group_labels(library, keep_groups=False)[parts == "train"]
    assert np.isnan(cross_validated_differences(prepared, samples, config)).all()
    assert fit_reliability(library, parts, prepared, None, config).agreement is None


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
