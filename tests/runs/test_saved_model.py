"""Laws of the file model.keras."""

import zipfile

import keras
import numpy as np
import pytest
from conftest import CONFIG

from relple_tf.config import replace as change
from relple_tf.pipeline import fit_model
from relple_tf.runs.saved_model import save_model

FAST = change(CONFIG, training__max_epochs=1)


@pytest.fixture(scope="module")
def files(library, parts, tmp_path_factory):
    """Folder of a model that was fitted and saved twice, and the outputs of the model."""
    folder = tmp_path_factory.mktemp("models")
    outputs = []
    for name in ("one.keras", "other.keras"):
        keras.backend.clear_session()
        model = fit_model(library, parts, FAST, show=False).model
        save_model(model, folder / name)
        outputs.append(model.predict(library.spectra, verbose=0))
    return folder, outputs[0]


def test_fitting_and_saving_twice_gives_the_same_bytes(files):
    folder, _ = files
    assert (folder / "one.keras").read_bytes() == (folder / "other.keras").read_bytes()


@pytest.mark.slow
def test_the_file_does_not_depend_on_models_built_before(files, library, parts):
    """Keras numbers layers without a name across all models of the process."""
    folder, _ = files
    for relevance in ("hard", "soft"):
        config = change(FAST, model__architecture="rs_ple", model__relevance=relevance)
        for name in ("first.keras", "later.keras"):
            if name == "later.keras":
                keras.backend.clear_session()
            save_model(fit_model(library, parts, config, show=False).model, folder / name)
        assert (folder / "first.keras").read_bytes() == (folder / "later.keras").read_bytes()


def test_a_loaded_model_gives_the_outputs_of_the_saved_model(files, library):
    folder, expected = files
    loaded = keras.saving.load_model(folder / "one.keras", compile=False, safe_mode=True)
    for name, values in loaded.predict(library.spectra, verbose=0).items():
        np.testing.assert_array_equal(values, expected[name])


def test_the_file_differs_from_that_of_keras_in_dates_only(files, tmp_path):
    folder, _ = files
    loaded = keras.saving.load_model(folder / "one.keras", compile=False)
    loaded.save(tmp_path / "plain.keras")
    with zipfile.ZipFile(folder / "one.keras") as saved, zipfile.ZipFile(tmp_path / "plain.keras") as plain:
        assert saved.namelist() == plain.namelist()
        assert saved.read("model.weights.h5") == plain.read("model.weights.h5")
        assert {entry.date_time for entry in saved.infolist()} == {(1980, 1, 1, 0, 0, 0)}
