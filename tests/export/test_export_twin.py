"""Laws of the twin and of what a run gives to export."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import TINY, features_of, outputs_of, set_fixed_weights, spec_of
from export_fixtures import TARGETS, TINY_RUN, fixture_run, fixture_trained  # noqa: F401

from export.bundling.stored_run import load
from export.convert.twin import behind_views, check_equal, copy_weights, twin
from relple_tf.config import ARCHITECTURES
from relple_tf.errors import InputError
from relple_tf.models.catalogue import build
from relple_tf.models.deployed import T2, Q, with_views
from relple_tf.runs.folder import FILES, write_manifest
from relple_tf.spectra.sources.named import load as load_library
from relple_tf.spectra.sources.named import named as sources


@pytest.fixture(scope="module")
def network():
    return set_fixed_weights(build(replace(TINY, architecture="rs_ple"), spec_of(), keras))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_twin_says_what_the_network_says(architecture):
    config, spec = replace(TINY, architecture=architecture), spec_of()
    original = set_fixed_weights(build(config, spec, keras))
    made = twin(original, config, spec, lstm_form="fused")
    assert type(made).__module__.startswith("tf_keras")
    features = features_of(spec)
    own, others = outputs_of(original, features), outputs_of(made, features)
    assert set(own) == set(others) == set(spec.targets)
    for target, values in own.items():
        np.testing.assert_allclose(others[target], values, rtol=0, atol=2e-6)


def test_both_forms_of_the_recurrence_are_one_function(network):
    made = twin(network, TINY, spec_of(), lstm_form="unrolled")
    features = features_of(spec_of())
    for target, values in outputs_of(network, features).items():
        np.testing.assert_allclose(outputs_of(made, features)[target], values, rtol=0, atol=2e-6)


def test_what_stands_behind_the_views_reads_their_scores(network):
    made = twin(network, TINY, spec_of(), lstm_form="fused")
    features = features_of(spec_of())
    modelled, _, scores = with_views(made)(features)
    halved = [0.5 * np.asarray(score) for score in scores]
    behind = behind_views(made)
    for target, values in behind([features, *scores]).items():
        np.testing.assert_array_equal(values, modelled[target])
        assert np.abs(np.asarray(behind([features, *halved])[target]) - values).max() > 1e-3
    assert not {layer.name for layer in behind.layers if layer.weights} & {"view1.scores", "view2.scores"}


def test_a_single_changed_weight_is_no_twin(network):
    import tf_keras

    made = copy_weights_of(network, build(TINY, spec_of(), tf_keras))
    layer = next(layer for layer in made.layers if layer.name == "view1.scores")
    kernel, bias = layer.get_weights()
    kernel[3, 2] += 0.01
    layer.set_weights([kernel, bias])
    with pytest.raises(ValueError, match="the twin differs from the network by"):
        check_equal(network, made, spec_of())


def test_networks_of_other_layers_are_no_twins(network):
    import tf_keras

    other = build(replace(TINY, levels=1), spec_of(), tf_keras)
    with pytest.raises(ValueError, match="is in one of the two networks only"):
        copy_weights(network, other)


def copy_weights_of(source, target):
    copy_weights(source, target)
    return target


def test_a_run_gives_back_the_soils_it_was_made_from(trained, run):
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


def test_parts_of_a_run_joined_by_hand_say_what_the_whole_says(trained):
    """Network, kernel machines, unit conversion and distances are those of the saved graph, in its order."""
    features = trained.features(trained.test_scans)
    bands, scores = trained.near(features)
    similar, modelled = trained.kernel_regression(scores), trained.network(features)
    together = np.concatenate([modelled[target] for target in TARGETS], axis=1) + similar
    for target, found in zip(TARGETS, np.asarray(trained.target_scaling(together)).T, strict=True):
        np.testing.assert_allclose(found, trained.test_outputs[target], rtol=5e-5)
    for name, distance in zip((T2, Q), trained.domain_statistics((bands, scores[0])), strict=True):
        np.testing.assert_allclose(np.asarray(distance)[:, 0], trained.test_outputs[name], rtol=1e-3)


def test_a_run_needs_no_source_and_may_be_moved(run, trained, tmp_path, monkeypatch):
    """As where the table that it was trained on is gone."""
    monkeypatch.setattr(sources, "load", None)
    shutil.copytree(run, tmp_path / "elsewhere")
    moved = load(tmp_path / "elsewhere")
    np.testing.assert_array_equal(moved.train_scans, trained.train_scans)
    np.testing.assert_array_equal(moved.test_ids, trained.test_ids)


def test_a_run_without_its_data_is_refused_with_the_way_out(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "data.npz").unlink()
    write_manifest(copy, FILES)
    with pytest.raises(InputError, match=r"run\.keep_data was false"):
        load(copy)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        load(tmp_path)
