"""Shared fixtures of the bundle tests: a small run and its bundle, made once per test process."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from export.budget import Budget
from export.bundling import assembly
from export.bundling.stored_run import load
from export.c.model import model_source
from export.convert.conversion import recipe_file
from export.recipes import RECIPES
from export.verify import cortex_m
from export.verify.runtimes import RUNTIMES
from export.verify.verification import verify
from relple_tf.command_line import run
from relple_tf.train import main as train

# Deprecations that the dependencies of the converter report.
IGNORE_WARNINGS = (
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
)

SMALL = [
    f"--set={field}"
    for field in (
        "simulated.soils=60",
        "simulated.step_nm=20",
        "data.id_column=lab",
        "training.cv_folds=2",
        "training.workers=1",
        "training.max_epochs=2",
        "training.batch_size=16",
        "front_end.step_nm=40",
        "front_end.derivative_window_nm=120",
        "front_end.whitened_components=5",
        "model.architecture=shared_bottom",
        "model.conv_filters=4",
        "model.conv_kernel=3",
    )
]
# After two epochs, a network has large errors in any format; the tolerances are tested in test_bundle_assembly.py.
FLOAT32, INT8 = (replace(RECIPES[name], largest_error=50.0, largest_r2_loss=50.0) for name in ("float32", "int8"))
C99, C99_INT16 = (replace(RECIPES[name], largest_error=50.0, largest_r2_loss=50.0) for name in ("c99", "c99_int16"))
LITERT = tuple(runtime for runtime in RUNTIMES if runtime.name == "LiteRT")

_made = {}
"""`run` -> the loaded run; `bundle` -> the folder of its bundle."""
_converted = {}
"""Name of a recipe -> its file without a card."""


def exit_code(main, *arguments):
    """Run a command with arguments and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(main, [str(argument) for argument in arguments])
    return exit_.value.code


def assembled(trained, out, recipes=(FLOAT32, INT8), budget=Budget(), shown=None):  # noqa: B008
    show = (lambda card: None) if shown is None else shown.append
    return assembly.assemble(trained.folder, recipes, budget, out, notify=lambda message: None, show=show)


def names_in(folder):
    """Paths of all files in a folder, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# Fixture functions are named differently from the fixtures, so that a test's argument does not hide an imported name.
@pytest.fixture(scope="module", name="trained")
def fixture_trained(tmp_path_factory):
    """A run of two targets on simulated soils; do not write into its folder."""
    if "run" not in _made:
        out = tmp_path_factory.mktemp("runs") / "run"
        arguments = ["--preset", "rs_ple_nano", "--data", "simulated", "--targets", "OC_g_kg,pH", *SMALL, "--out", out]
        assert exit_code(train, *arguments) == 0
        _made["run"] = load(out)
    return _made["run"]


@pytest.fixture(scope="module", name="conversions")
def fixture_conversions(trained):
    """Exports convert in this process, which has imported TensorFlow, and verify with LiteRT only.

    Child processes and other runtimes have tests in test_convert.py and test_verify.py. Returns the cache of converted
    files: recipe -> its file without a card.
    """

    def convert(run, recipe, out, limit_s):
        if recipe.name not in _converted:
            _converted[recipe.name] = recipe_file(trained, recipe)
        out.write_bytes(_converted[recipe.name])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "load", lambda folder: trained)
        patch.setattr(assembly, "convert", convert)
        patch.setattr(assembly, "verify", partial(verify, runtimes=LITERT))
        # test_cortex_m.py measures; it takes seconds.
        patch.setattr(cortex_m, "missing_tools", lambda: "not measured in this test")
        yield _converted


@pytest.fixture(scope="module", name="folder")
def fixture_folder(trained, conversions, tmp_path_factory):
    """The bundle of the run, with the variants float32 and int8; do not write into it."""
    if "bundle" not in _made:
        out = tmp_path_factory.mktemp("bundles") / "bundle"
        assembled(trained, out)
        _made["bundle"] = out
    return _made["bundle"]


@pytest.fixture(scope="module", name="c_bundle")
def fixture_c_bundle(trained, conversions, tmp_path_factory):
    """A bundle with C sources of both recipes; do not write into it."""
    if "c_bundle" not in _made:
        out = tmp_path_factory.mktemp("c_bundles") / "bundle"
        assembled(trained, out, (FLOAT32, C99, C99_INT16))
        _made["c_bundle"] = out
    return _made["c_bundle"]


@pytest.fixture(scope="module", name="card")
def fixture_card(folder):
    return json.loads((folder / "card.json").read_text())


@pytest.fixture(scope="module", name="plain")
def fixture_plain(conversions, folder):
    """Variant -> its file without a card."""
    return dict(conversions)


@pytest.fixture(scope="module", name="golden")
def fixture_golden(folder):
    """golden.json, and the arrays of golden.npz."""
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        return json.loads((folder / "golden.json").read_text()), dict(arrays)


@pytest.fixture(scope="module", name="as_c")
def fixture_as_c(card, plain, tmp_path_factory):
    """Variant -> folder of its model.h and model.cc; the bundle itself holds these files of one variant only."""
    folders = {}
    for variant, facts in card["variants"].items():
        folders[variant] = tmp_path_factory.mktemp(variant)
        files = model_source(
            plain[variant],
            targets=tuple(card["targets"]),
            arena_bytes=facts["arena_bytes"],
            wavelengths_nm=card["input"]["wavelengths_nm"],
        )
        for name, text in files.items():
            (folders[variant] / name).write_text(text)
    return folders
