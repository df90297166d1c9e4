"""Imports point one way, and what is slow or legacy is imported in one place only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("relple_tf", "tuning", "export", "benchmarks")
LAYERS = (
    *("artefacts", "spectra", "models", "training", "pipeline", "baselines", "evaluation", "runs"),
    *("prediction", "report", "comparison", "training_run"),
)
"""From below to above: each may import those before it."""
COMMANDS = ("relple_tf/train", "relple_tf/predict", "relple_tf/compare", "tuning/search", "export/bundle")
SLOW = {"keras", "tensorflow", "tf_keras", "keras_tuner", "sklearn", "matplotlib"}
LEGACY = {"tf_keras", "tensorflow_model_optimization", "ai_edge_litert"}
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]


def imported(tree, *, anywhere=True):
    """Names of imported modules; `from a import b` counts as a.b, for b may be a module."""
    found = set()
    nodes = ast.walk(tree) if anywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def names_in(path, **options):
    return imported(ast.parse(path.read_text(encoding="utf-8")), **options)


def top(names):
    return {name.partition(".")[0] for name in names}


def folder(path):
    """The layer of a module: `models`, or `` for other modules that stand directly in the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "relple_tf" and (len(parts) > 2 or parts[1] in LAYERS) else ""


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_layer_imports_only_those_below_it(path):
    if folder(path) not in LAYERS:
        return
    commands = {name.rpartition("/")[2] for name in COMMANDS}
    above = {*LAYERS[LAYERS.index(folder(path)) + 1 :], *commands, "zoo", "command_line"}
    names = {n.split(".")[1] for n in names_in(path) if n.startswith("relple_tf.")}
    assert not names & above
    assert not top(names_in(path)) & {"tuning", "export", "benchmarks"}


@pytest.mark.parametrize(
    "name", ["config", "config_text", "zoo", "errors", "command_line", "parent_process", "processes"]
)
def test_what_help_needs_is_quick_to_import(name):
    path = ROOT / "relple_tf" / f"{name}.py"
    slow = {*SLOW, "numpy", "pandas", "scipy"}
    assert not top(names_in(path, anywhere=False)) & slow
    # `import_tensorflow` is where the commands take Keras in.
    assert top(names_in(path)) & slow <= ({"keras"} if name == "processes" else set())
    below = {n for n in names_in(path) if n.startswith("relple_tf.")}
    assert all(n.split(".")[1] in ("config", "config_text", "zoo", "errors", "parent_process") for n in below)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_import_nothing_slow_before_they_have_parsed(name):
    names = names_in(ROOT / f"{name}.py", anywhere=False)
    assert not top(names) & {*SLOW, "numpy", "pandas", "scipy"}
    assert not {n for n in names if n.split(".")[1:2] and n.split(".")[1] in LAYERS}


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "spectra"], ids=lambda p: p.stem)
def test_spectra_know_no_network(path):
    assert not top(names_in(path)) & {"keras", "tensorflow", "tf_keras", "keras_tuner"}


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "models"], ids=lambda p: p.stem)
def test_models_leave_the_backend_a_choice(path):
    assert "tensorflow" not in top(names_in(path))


@pytest.mark.parametrize(
    "name",
    ["routing", "relevance", "catalogue", "experts", "gating", "ple", "rs_ple", "mmoe", "shared_bottom", "single_task"],
)
def test_builders_get_their_keras_as_an_argument(name):
    assert "keras" not in top(names_in(ROOT / f"relple_tf/models/{name}.py"))


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_export_imports_legacy_keras_and_the_runtimes(path):
    if path.relative_to(ROOT).parts[0] != "export":
        # `predict` runs bundles too.
        own = {"ai_edge_litert"} if path == ROOT / "relple_tf/prediction/litert.py" else set()
        assert not top(names_in(path)) & (LEGACY - own)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_tuning_and_export_do_not_know_each_other(path):
    other = {"tuning": "export", "export": "tuning"}.get(path.relative_to(ROOT).parts[0])
    assert other not in top(names_in(path))


def test_imports_make_no_circle():
    """Those inside functions left out, for they run later."""
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
