"""Imports point one way, and slow or legacy packages are imported only where they are needed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("relple_tf", "tuning", "export", "benchmarks")
LAYERS = (
    *("artefacts", "spectra", "models", "training", "pipeline", "baselines", "evaluation", "runs"),
    *("prediction", "report", "inspection", "selection", "comparison", "training_run", "adaptation"),
)
"""From bottom to top: each layer may import the layers before it."""
COMMANDS = (
    *("relple_tf/train", "relple_tf/inspect", "relple_tf/predict", "relple_tf/select", "relple_tf/compare"),
    "relple_tf/adapt",
    *("tuning/search", "export/bundle"),
)
SLOW = {"keras", "tensorflow", "tf_keras", "keras_tuner", "sklearn", "matplotlib"}
LEGACY = {"tf_keras", "tensorflow_model_optimization", "ai_edge_litert"}
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]


def imported(tree, *, anywhere=True):
    """Names of imported modules; `from a import b` counts as a.b, because b may be a module."""
    names = set()
    nodes = ast.walk(tree) if anywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def names_in(path, **options):
    return imported(ast.parse(path.read_text(encoding="utf-8")), **options)


def top(names):
    return {name.partition(".")[0] for name in names}


def folder(path):
    """The layer of a module, such as `models`; empty for other modules directly in the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "relple_tf" and (len(parts) > 2 or parts[1] in LAYERS) else ""


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_layer_imports_only_layers_below_it(path):
    if folder(path) not in LAYERS:
        return
    commands = {name.rpartition("/")[2] for name in COMMANDS}
    above = {*LAYERS[LAYERS.index(folder(path)) + 1 :], *commands, "zoo", "command_line", "estimator"}
    names = {n.split(".")[1] for n in names_in(path) if n.startswith("relple_tf.")}
    assert not names & above
    assert not top(names_in(path)) & {"tuning", "export", "benchmarks"}


@pytest.mark.parametrize(
    "name", ["config", "config_text", "zoo", "errors", "command_line", "parent_process", "processes"]
)
def test_the_modules_that_help_needs_import_nothing_slow(name):
    path = ROOT / "relple_tf" / f"{name}.py"
    slow = {*SLOW, "numpy", "pandas", "scipy"}
    assert not top(names_in(path, anywhere=False)) & slow
    # The commands import Keras through `import_tensorflow`.
    assert top(names_in(path)) & slow <= ({"keras"} if name == "processes" else set())
    below = {n for n in names_in(path) if n.startswith("relple_tf.")}
    assert all(n.split(".")[1] in ("config", "config_text", "zoo", "errors", "parent_process") for n in below)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_import_nothing_slow_before_the_arguments_are_parsed(name):
    names = names_in(ROOT / f"{name}.py", anywhere=False)
    assert not top(names) & {*SLOW, "numpy", "pandas", "scipy"}
    assert not {n for n in names if n.split(".")[1:2] and n.split(".")[1] in LAYERS}


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "spectra"], ids=lambda p: p.stem)
def test_spectra_imports_no_keras(path):
    assert not top(names_in(path)) & {"keras", "tensorflow", "tf_keras", "keras_tuner"}


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "models"], ids=lambda p: p.stem)
def test_models_do_not_depend_on_a_keras_backend(path):
    assert "tensorflow" not in top(names_in(path))


@pytest.mark.parametrize(
    "name",
    ["routing", "relevance", "catalogue", "experts", "gating", "ple", "rs_ple", "mmoe", "shared_bottom", "single_task"],
)
def test_builders_receive_the_keras_module_as_an_argument(name):
    assert "keras" not in top(names_in(ROOT / f"relple_tf/models/{name}.py"))


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_export_imports_legacy_keras_and_the_runtimes(path):
    if path.relative_to(ROOT).parts[0] != "export":
        # `predict` also runs bundles.
        allowed = {"ai_edge_litert"} if path == ROOT / "relple_tf/prediction/litert.py" else set()
        assert not top(names_in(path)) & (LEGACY - allowed)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_tuning_and_export_do_not_import_each_other(path):
    other = {"tuning": "export", "export": "tuning"}.get(path.relative_to(ROOT).parts[0])
    assert other not in top(names_in(path))


def test_imports_have_no_cycle():
    """Imports inside functions are left out, because they run later."""
    graph = {}
    for path in MODULES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = names_in(path, anywhere=False)
    edges = {
        name: {n if n in graph else n.rpartition(".")[0] for n in names} & set(graph) for name, names in graph.items()
    }
    while free := {name for name, below in edges.items() if not below - {name}}:
        edges = {name: below - free for name, below in edges.items() if name not in free}
    assert not edges
