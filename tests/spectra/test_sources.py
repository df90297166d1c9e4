import numpy as np
import pytest
from LimeSoDa import load_dataset

from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.spectra.sources.named import LIMESODA_SETS, load


@pytest.fixture(scope="module")
def limesoda():
    return load(Config())


def test_limesoda_has_seven_fields_on_a_common_grid(limesoda):
    assert limesoda.spectra.shape == (1070, 651)
    np.testing.assert_array_equal(limesoda.wavelengths_nm, np.arange(1100, 2401, 2))
    assert sorted(set(limesoda.groups.tolist())) == sorted(LIMESODA_SETS)
    assert len(set(limesoda.ids.tolist())) == 1070
    assert list(limesoda.targets) == ["OC_g_kg", "pH", "clay_pct"]
    assert limesoda.quantity == "reflectance"


@pytest.mark.parametrize(
    ("name", "organic", "per_percent"),
    [("SSP.460", "SOC_target", 10), ("SL.125", "SOM_target", 10 / 1.724)],
)
def test_limesoda_values_equal_those_of_the_package(limesoda, name, organic, per_percent):
    data = load_dataset(name)
    table = data["Dataset"]
    rows = limesoda.rows(limesoda.groups == name)
    np.testing.assert_allclose(rows.targets["OC_g_kg"], table[organic] * per_percent)
    np.testing.assert_array_equal(rows.targets["pH"], table["pH_target"])
    np.testing.assert_array_equal(rows.targets["clay_pct"], table["Clay_target"])
    assert rows.ids[16] == f"{name}-17"
    shared = [nm for nm in range(1100, 2401, 2) if f"wl_{nm}" in table]
    at = np.searchsorted(rows.wavelengths_nm, shared)
    percent = table[[f"wl_{nm}" for nm in shared]].to_numpy()
    np.testing.assert_allclose(rows.spectra[:, at], percent / 100, rtol=1e-6)


def test_limesoda_parts_are_the_folds_of_the_package(limesoda):
    folds = np.concatenate([load_dataset(name)["Folds"] for name in LIMESODA_SETS])
    for part, expected in [
        ("test", [1, 2]),
        ("validation", [3]),
        ("train", [4, 5, 6, 7, 8, 9, 10]),
    ]:
        assert sorted(set(folds[limesoda.parts == part].tolist())) == expected


@pytest.mark.parametrize("words", ["CC BY-SA 4.0", "van Bemmelen", "folds of LimeSoDa", "percent"])
def test_limesoda_notes_state_licence_units_and_split(limesoda, words):
    assert any(words in note for note in limesoda.notes)


@pytest.mark.parametrize("source", ["limesoda", "simulated"])
def test_named_sources_select_targets(source):
    base = replace(Config(), data__source=source, simulated__soils=40)
    library = load(replace(base, data__targets=("pH", "OC_pct")))
    assert list(library.targets) == ["pH", "OC_g_kg"]
    assert "OC_pct is modelled as OC_g_kg" in library.notes
    with pytest.raises(InputError, match=f"{source}: no target 'P_mg_kg'.*OC_g_kg"):
        load(replace(base, data__targets=("P_mg_kg",)))
    with pytest.raises(InputError, match=r"OC_g_kg has \d+ measured values, fewer than"):
        load(replace(base, data__targets=("OC_g_kg",), data__minimum_values=2000))


def test_a_path_is_read_as_a_table(tmp_path):
    rng = np.random.default_rng(0)
    bands = ",".join(f"{nm}_ref" for nm in range(1100, 1140, 2))
    rows = [f"{row},{row / 10}," + ",".join(map(str, rng.uniform(0.2, 0.4, 20))) for row in range(30)]
    path = tmp_path / "soils.csv"
    path.write_text("\n".join([f"id,N_g_kg,{bands}", *rows]))
    library = load(replace(Config(), data__source=str(path)))
    assert library.source == str(path)
    np.testing.assert_allclose(library.targets["N_g_kg"], np.arange(30) / 10)


def test_the_error_for_an_unknown_source_lists_the_known_sources():
    with pytest.raises(InputError, match=r"'limesado'.*limesoda, simulated"):
        load(replace(Config(), data__source="limesado"))
