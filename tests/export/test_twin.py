"""The tf_keras twin, and the stored run that export reads."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import TINY, features_of, outputs_of, set_fixed_weights, spec_of
from export_fixtures import TARGETS, TINY_RUN, fixture_run, fixture_trained  # noqa: F401

from export.bundling.stored_run import load
from export.convert.twin import after_views, check_equal, copy_weights, twin
from relple_tf.config import ARCHITECTURES
from relple_tf.errors import InputError
from relple_tf.models.catalogue import build
from relple_tf.models.deployed import T2, Q, with_views
from relple_tf.runs.folder import FILES, write_manifest
from relple_tf.spectra.sources import named as sources
from relple_tf.spectra.sources.named import load as load_library


@pytest.fixture(scope="module")
def network():
    return set_fixed_weights(build(replace(TINY, architecture="rs_ple"), spec_of(), keras))


QUICK = ("rs_ple", "shared_bottom")


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in ARCHITECTURES]
)
def test_twin_and_network_have_equal_outputs(architecture):
    config, spec = replace(TINY, architecture=architecture), spec_of()
    original = set_fixed_weights(build(config, spec, keras))
    copy = twin(original, config, spec, lstm_form="fused")
    assert type(copy).__module__.startswith("tf_keras")
    features = features_of(spec)
    expected, outputs = outputs_of(original, features), outputs_of(copy, features)
    assert set(expected) == set(outputs) == set(spec.targets)
    for target, values in expected.items():
        np.testing.assert_allclose(outputs[target], values, rtol=0, atol=2e-6)


def test_unrolled_and_fused_lstm_have_equal_outputs(network):
    unrolled = twin(network, TINY, spec_of(), lstm_form="unrolled")
    features = features_of(spec_of())
    for target, values in outputs_of(network, features).items():
        np.testing.assert_allclose(outputs_of(unrolled, features)[target], values, rtol=0, atol=2e-6)


def test_the_network_after_its_views_reads_their_scores(network):
    copy = twin(network, TINY, spec_of(), lstm_form="fused")
    features = features_of(spec_of())
    modelled, _, scores = with_views(copy)(features)
    halved = [0.5 * np.asarray(score) for score in scores]
    core = after_views(copy)
    for target, values in core([features, *scores]).items():
        np.testing.assert_array_equal(values, modelled[target])
        assert np.abs(np.asarray(core([features, *halved])[target]) - values).max() > 1e-3
    assert not {layer.name for layer in core.layers if layer.weights} & {"view1.scores", "view2.scores"}


def test_a_single_changed_weight_is_detected(network):
    import tf_keras

    made = build(TINY, spec_of(), tf_keras)
    copy_weights(network, made)
    layer = next(layer for layer in made.layers if layer.name == "view1.scores")
    kernel, bias = layer.get_weights()
    kernel[3, 2] += 0.01
    layer.set_weights([kernel, bias])
    with pytest.raises(ValueError, match="the twin differs from the network by"):
        check_equal(network, made, spec_of())


def test_networks_with_different_layers_are_detected(network):
    import tf_keras

    other = build(replace(TINY, levels=1), spec_of(), tf_keras)
    with pytest.raises(ValueError, match="only one of the two networks has the layer"):
        copy_weights(network, other)


def test_a_stored_run_holds_the_scans_and_values_of_the_library(trained, run):
    library = load_library(TINY_RUN)
    card = json.loads((run / "card.json").read_text())
    assert trained.targets == tuple(card["targets"]) == TARGETS
    assert len(trained.train_scans) == card["soils"]["train"]
    assert len(trained.test_scans) == card["soils"]["test"]
    assert not set(trained.train_ids) & set(trained.test_ids)
    row = {name: position for position, name in enumerate(library.ids)}
    test = [row[name] for name in trained.test_ids]
    np.testing.assert_array_equal(trained.test_scans, library.spectra[test])
    for target, values in trained.test_values.items():
        np.testing.assert_array_equal(values, library.targets[target][test])


def test_the_parts_of_a_stored_run_compute_the_outputs_of_its_model(trained):
    """Network, kernel regression and robust part, then target scaling; and the domain statistics."""
    features = trained.features(trained.test_scans)
    bands, scores = trained.projections(features)
    t2, q = trained.domain_statistics((bands, scores[0]))
    modelled = trained.network(features)
    learned = np.concatenate([modelled[target] for target in TARGETS], axis=1)
    stacked, q = trained.kernels(learned, scores, trained.absorbance_stage(trained.test_scans), q)
    for target, predictions in zip(TARGETS, np.asarray(trained.target_scaling(stacked)).T, strict=True):
        np.testing.assert_allclose(predictions, trained.test_outputs[target], rtol=5e-5)
    for name, statistic in {T2: t2, Q: q}.items():
        np.testing.assert_allclose(np.asarray(statistic)[:, 0], trained.test_outputs[name], rtol=1e-3)


def test_a_run_can_be_moved_and_read_without_its_source(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load", None)
    shutil.copytree(run, tmp_path / "elsewhere")
    moved = load(tmp_path / "elsewhere")
    np.testing.assert_array_equal(moved.train_scans, trained.train_scans)
    np.testing.assert_array_equal(moved.test_ids, trained.test_ids)


def test_a_run_without_stored_data_is_refused_with_the_config_key_that_stores_them(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "data.npz").unlink()
    write_manifest(copy, FILES)
    with pytest.raises(InputError, match=r"run\.keep_data was false"):
        load(copy)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json.*not a run folder"):
        load(tmp_path)
