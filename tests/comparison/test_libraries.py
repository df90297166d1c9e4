"""The benchmark over libraries: its parts, its outer test parts, resuming, and pooled scores; on synthetic tables."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from benchmarks import libraries
from benchmarks.libraries import CELLS, QUICK, cell_resamples, learning_rows, pooled, summary_text
from relple_tf.config import SimulatedConfig
from relple_tf.evaluation.metrics import scores
from relple_tf.runs.folder import write_json
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.spectra.splitting.grouping import divided, group_labels

COLUMNS = {
    "nirsoil": {"N_g_kg": "N_g_kg", "OC_pct": "OC_g_kg", "CEC_cmolc_kg": "CEC_cmolc_kg"},
    "datsoilspc": {"TC_pct": "OC_g_kg", "clay_pct": "CEC_cmolc_kg"},
    "tavares_brazil": {"OC_pct": "OC_g_kg", "CEC_cmolc_kg": "CEC_cmolc_kg", "pH": "pH", "clay_g_kg": "CaCO3_g_kg"},
    "uganda_benchtop": {"TC_g_kg": "OC_g_kg", "N_g_kg": "N_g_kg"},
}
ROWS = {"nirsoil": 420, "datsoilspc": 200, "tavares_brazil": 100, "uganda_benchtop": 204}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Simulated tables with the names and columns of the public sets; some soils of NIRsoil have two scans."""
    folder = tmp_path_factory.mktemp("data")
    for file, columns in COLUMNS.items():
        soils = simulate(SimulatedConfig(soils=ROWS[file], start_nm=1400, step_nm=25.0, seed=len(file)))
        numbers = np.arange(ROWS[file])
        soil = np.where(numbers < 60, numbers // 2, numbers) if file == "nirsoil" else numbers
        names = pd.DataFrame({"id": [f"s{number}" for number in soil]})
        if file != "nirsoil":
            names["group"] = [f"g{number // 6}" for number in soil]
        laboratory = pd.DataFrame({name: soils.targets[source][soil] for name, source in columns.items()})
        # OC from g/kg to percent, CEC to a range that clay in percent has.
        laboratory = (laboratory * [0.1 if name in ("OC_pct", "TC_pct", "clay_pct") else 1 for name in columns]).round(
            4
        )
        bands = pd.DataFrame(soils.spectra, columns=[f"{band:g}" for band in soils.wavelengths_nm])
        pd.concat([names, laboratory, bands], axis=1).to_csv(folder / f"{file}.csv.gz", index=False)
    return folder


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_no_soil_and_no_group_is_on_both_sides_of_a_split(cell, quick, data):
    library = cell.read(data)
    if quick:
        library = library.rows(learning_rows(library))
    groups = group_labels(library, keep_groups=True)
    resamples = cell_resamples(cell, library, 5)
    assert len(resamples) == 5
    for resample in resamples:
        assert divided(groups, resample.parts).size == 0
        assert set(resample.parts) - {""} == {"train", "validation", "test"}
        if cell.soils:
            assert np.isin(resample.parts, ("train", "validation")).sum() == cell.soils
    if len(library) < 150 and not cell.protocol:
        assert (np.sum([resample.parts == "test" for resample in resamples], axis=0) == 1).all()


def test_the_synthetic_tables_have_double_scans_and_groups(data):
    """Otherwise the test above proves nothing."""
    assert len(np.unique(CELLS["nirsoil"].read(data).sample_labels)) == 390
    assert len(np.unique(CELLS["uganda"].read(data).groups)) == 34
    assert CELLS["datsoilspc"].read(data).groups is None


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["libraries", *map(str, arguments)])
    libraries.main()


@pytest.fixture
def recorded(monkeypatch):
    """Jobs of the benchmark: (cell folder, model, seed, fold, ids of the library, parts); nothing is fitted."""
    jobs = []

    def run_job(shared, job):
        jobs.append((shared.jobs.name, job.model, job.resample.seed, job.resample.fold, shared.library, job.resample))
        test = job.resample.parts == "test"
        rows = [
            {"seed": job.resample.seed, "fold": job.resample.fold, "soils": job.resample.soils, "model": job.model}
            | {"target": target, **scores(values[test], values[test] + len(job.model))}
            | {"coverage": None, "flagged": None, "fit_s": 0.0, "settings": ""}
            for target, values in shared.library.targets.items()
        ]
        write_json(shared.jobs / job.file, rows)

    monkeypatch.setattr(libraries, "run_job", run_job)
    return jobs


def test_quick_never_reads_its_outer_test_parts(data, tmp_path, monkeypatch, recorded):
    call(monkeypatch, data, "--quick", "--models", "plsr,svr", "--out", tmp_path, "--workers", 1)
    assert {folder for folder, *_ in recorded} == {f"{name}_quick" for name in QUICK}
    assert len(recorded) == 3 * 3 * 2
    for folder, *_, library, resample in recorded:
        whole = CELLS[folder.removesuffix("_quick")].read(data)
        outer = ~learning_rows(whole)
        assert 0.15 < outer.mean() < 0.25
        assert not np.isin(library.sample_labels, whole.sample_labels[outer]).any()
        assert whole.groups is None or not np.isin(library.groups, whole.groups[outer]).any()
        assert len(resample.parts) == len(library) == (~outer).sum()


def test_all_models_have_the_same_parts_and_a_repeated_command_runs_missing_jobs_only(
    data, tmp_path, monkeypatch, recorded, capsys
):
    command = [data, "--cells", "tavares,datsoilspc", "--models", "plsr,svr,extra_trees", "--out", tmp_path]
    call(monkeypatch, *command, "--workers", 1)
    parts = {}
    for folder, model, seed, fold, _, resample in recorded:
        parts.setdefault((folder, seed, fold), {})[model] = resample.parts
    assert len(parts) == 5 + 5
    for by_model in parts.values():
        assert len(by_model) == 3
        for other in by_model.values():
            np.testing.assert_array_equal(other, by_model["plsr"])
    first, table = capsys.readouterr().out, (tmp_path / "compare.csv").read_bytes()
    recorded.clear()
    (deleted,) = (tmp_path / "jobs" / "tavares").glob("*fold2*-svr.json")
    deleted.unlink()
    call(monkeypatch, *command, "--workers", 1)
    assert [(folder, model, fold) for folder, model, _, fold, *_ in recorded] == [("tavares", "svr", 2)]
    assert capsys.readouterr().out == first
    assert (tmp_path / "compare.csv").read_bytes() == table


def test_pooled_scores_equal_those_of_all_predictions(data):
    cell = CELLS["tavares"]
    library = cell.read(data)
    rng = np.random.default_rng(0)
    predictions = {name: values + rng.normal(size=len(values)) for name, values in library.targets.items()}
    rows = [
        {"cell": "tavares", "seed": each.seed, "fold": each.fold, "model": "m", "target": name}
        | scores(values[each.parts == "test"], predictions[name][each.parts == "test"])
        | {"coverage": 0.9, "flagged": 0.0}
        for each in cell_resamples(cell, library, 5)
        for name, values in library.targets.items()
    ]
    table = pooled(pd.DataFrame(rows), library).set_index("target")
    for name, values in library.targets.items():
        assert table.loc[name, "r2"] == pytest.approx(r2_score(values, predictions[name]))
        expected = scores(values, predictions[name])
        for score in ("n", "rmse", "rpiq"):
            assert table.loc[name, score] == pytest.approx(expected[score])
        assert table.loc[name, "coverage"] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="expected 100 predictions"):
        pooled(pd.DataFrame(rows[:-4]), library)


def test_the_summary_equals_values_calculated_by_hand():
    """Ranks of net: 1 and 3; ratios 2/3 and 3/2; worst difference .5 - .8 on b."""
    rows = {
        ("a", "pH", "net"): (0.9, 2.0, 0.88),
        ("a", "pH", "plsr"): (0.7, 4.0, np.nan),
        ("a", "pH", "svr"): (0.8, 3.0, np.nan),
        ("b", "OC", "net"): (0.5, 6.0, 0.92),
        ("b", "OC", "plsr"): (0.6, 5.0, np.nan),
        ("b", "OC", "svr"): (0.8, 4.0, np.nan),
    }
    medians = pd.DataFrame.from_dict(rows, orient="index", columns=["r2", "rmse", "coverage"])
    medians.index = pd.MultiIndex.from_tuples(rows, names=["cell", "target", "model"])
    text = summary_text(medians.assign(flagged=medians["coverage"] - 0.8))
    line = next(line for line in text.splitlines() if line.startswith("net"))
    assert line.split() == ["net", "2.0", "1.083", "b", "OC", "-0.3"]
    assert "0.88" in text
    assert "0.92" in text
