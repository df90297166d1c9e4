"""Laws of the command inspect: it shows what the readers found, and changes nothing."""

import base64
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from soil_tables import NM, ROWS, changed_cell, columns, write

from relple_tf import inspect, train
from relple_tf.command_line import Parser, add_data_and_config, config_from, run
from relple_tf.config import Config, DataConfig, SimulatedConfig
from relple_tf.errors import InputError
from relple_tf.evaluation.formatting import digits
from relple_tf.inspection.distances import FEWEST_SCANS, score_distances
from relple_tf.inspection.facts import Inspection
from relple_tf.inspection.page import inspection_page
from relple_tf.inspection.plots import QUANTILES, band_quantiles
from relple_tf.spectra.checks import laboratory
from relple_tf.spectra.checks.scans import CHECKS
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.sources.simulated import simulate

SMALL = ["--set", "data.minimum_values=10"]
DATA = DataConfig(minimum_values=10)


def call(*arguments):
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(inspect.main, [str(argument) for argument in arguments])
    return exit_.value.code


class Page(HTMLParser):
    """Tags, facts, tables and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self.attributes, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_data(self, text):
        self.texts.append(text)
        if self.tags and self.tags[-1] in ("td", "th") and text.strip():
            self.tables[-1][-1].append(text)

    def after(self, text):
        """The next text that is not blank."""
        return next(t for t in self.texts[self.texts.index(text) + 1 :] if t.strip())

    def table(self, heading):
        return next(table for table in self.tables if table[0][0] == heading)


@pytest.fixture
def soils(tmp_path):
    """A table with a replicate, groups, a copied scan and a dropped scan."""
    table = columns(field=[f"F{row // 6}" for row in range(ROWS)])
    table["id"][7] = table["id"][6]
    for nm in NM:
        table[f"{nm:g}"][11] = table[f"{nm:g}"][10]
        table[f"{nm:g}"][20] = "0"
    return write(tmp_path / "soils.csv", table)


@pytest.fixture
def page(soils, tmp_path):
    assert call(soils, *SMALL, "--out", tmp_path / "page.html") == 0
    return Page((tmp_path / "page.html").read_text())


def test_the_numbers_of_the_targets_are_those_of_the_library(soils, page, capsys):
    library = read_table(soils, DATA)
    rows = page.table("target")[1:]
    assert [row[0] for row in rows] == list(library.targets)
    call(soils, *SMALL)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for name, _, *cells in rows:
        values = pd.Series(library.targets[name])
        expected = [
            *(str(values.count()), str(values.isna().sum())),
            *(digits(value, 4) for value in (values.min(), values.median(), values.max())),
        ]
        assert cells == expected
        assert [line[2:] for line in lines if line[:1] == [name] and len(line) == 7] == [expected]


def test_the_correlations_are_those_of_the_pairs_with_both_values(soils):
    library = read_table(soils, DATA)
    both = np.isfinite(library.targets["OC_g_kg"]) & np.isfinite(library.targets["pH"])
    expected = np.corrcoef(library.targets["OC_g_kg"][both], library.targets["pH"][both])[0, 1]
    shown = Inspection(library=library, command="").correlations.loc["OC_g_kg", "pH"]
    assert shown == pytest.approx(expected)


def test_the_facts_are_those_of_the_library(soils, page):
    library = read_table(soils, DATA)
    assert page.after("Scans") == f"{len(library)}" == f"{ROWS - 1}"
    assert page.after("Samples").startswith(f"{len(set(library.ids))}; 1 with 2 scans")
    assert page.after("Groups") == "4 groups of 5 to 6 rows"
    assert page.after("Equal scans") == "row 12 (s12) equals row 11 (s11)"
    assert page.after("Wavelengths") == f"{NM[0]:g} to {NM[-1]:g} nm, {len(NM)} bands, step 10 nm"
    assert page.after("Quantity").startswith("reflectance (0 to 1), because 96% of the scans")  # the dropped one is 0
    assert page.after("Dropped").startswith("1 rows")


def test_dropped_scans_are_named_and_counted_by_check(soils, page, capsys):
    library = read_table(soils, DATA)
    results = dict(page.table("check")[1:])
    names = list(results)
    assert names[names.index(next(iter(CHECKS))) :][: len(CHECKS)] == list(CHECKS)
    assert names[-len(laboratory.CHECKS) :] == list(laboratory.CHECKS)
    assert {name for name, result in results.items() if result != "passed"} == {"runs of exact zeros"}
    assert results["runs of exact zeros"] == "1 dropped"
    call(soils, *SMALL)
    printed = capsys.readouterr().out
    assert library.doubts
    for doubt in library.doubts:
        text = doubt.removeprefix(f"{soils}: ")
        assert text in page.texts
        assert text in printed
    assert any("row 21 (s21)" in text for text in page.texts)


def test_notes_of_the_reader_are_listed(soils, page):
    assert set(read_table(soils, DATA).notes) <= set(page.texts)


def test_a_name_that_is_html_is_shown_as_written():
    soils = simulate(SimulatedConfig(soils=20, step_nm=50.0))
    library = replace(soils, ids=np.array([f"<script>{name}</script>" for name in soils.ids]), notes=("a <b> & c",))
    page = Page(inspection_page(Inspection(library=library, command="a <b>")))
    assert re.fullmatch(r"row \d+ \(<script>sim\d+</script>\)", page.table("farthest scans")[1][0])
    assert {"a <b> & c", "a <b>"} <= set(page.texts)
    assert not {"script", "b"} & set(page.tags)


def test_the_page_has_no_external_resources_and_no_script(page, tmp_path):
    text = (tmp_path / "page.html").read_text()
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    images = [value for name, value in page.attributes if name == "src"]
    assert len(images) == 1 + 2 + 1  # spectra, two histograms, correlations
    for image in images:
        kind, _, encoded = image.partition(",")
        assert kind == "data:image/svg+xml;base64"
        inner = re.findall(r'href="([^"]*)"', base64.b64decode(encoded).decode())
        assert all(link.startswith(("#", "data:")) for link in inner)
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_same_source_gives_the_same_bytes(soils, tmp_path, capsys):
    call(soils, *SMALL, "--out", tmp_path / "a.html")
    first = capsys.readouterr().out
    call(soils, *SMALL, "--out", tmp_path / "b.html")
    assert capsys.readouterr().out == first
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


REFUSED = {
    "a laboratory value that is text": changed_cell("pH", 3, "acid"),
    "an impossible value": changed_cell("pH", 3, "15"),
    "no bands": {f"{nm:g}": None for nm in NM},
}


@pytest.mark.parametrize("changed", REFUSED.values(), ids=REFUSED)
def test_a_refusal_has_the_message_of_the_reader_and_writes_nothing(changed, tmp_path, capsys):
    path = write(tmp_path / "soils.csv", columns(**changed))
    with pytest.raises(InputError) as refused:
        read_table(path, DATA)
    assert call(path, *SMALL, "--out", tmp_path / "page.html") == 2
    printed = capsys.readouterr()
    assert printed.err == f"error: {refused.value}\n"
    assert printed.out == ""
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("targets", [{}, {"OC": ["1.5"] * ROWS}], ids=["none", "no unit"])
def test_scans_without_laboratory_values_are_shown_alone(targets, tmp_path, capsys):
    path = write(tmp_path / "scans.csv", columns(OC_g_kg=None, pH=None, field=["A", "B"] * (ROWS // 2), **targets))
    with pytest.raises(InputError) as refused:
        read_table(path, DATA)
    assert call(path, *SMALL, "--out", tmp_path / "page.html") == 0
    page, printed = Page((tmp_path / "page.html").read_text()), capsys.readouterr().out
    reason = str(refused.value).removeprefix(f"{path}: ")
    assert reason in printed
    assert any(reason in text for text in page.texts)
    assert page.after("Scans") == f"{ROWS}"
    assert page.after("Groups") == "2 groups of 12 rows"
    assert "relple_tf.train" not in printed
    assert "pre" not in page.tags


def test_a_target_that_train_refuses_is_refused_also_if_the_table_has_no_known_target(tmp_path, capsys):
    path = write(tmp_path / "scans.csv", columns(OC_g_kg=None, pH=None))
    assert call(path, "--targets", "pH") == 2
    assert "no column for target 'pH'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--targets", "pH", "--preset", "rs_ple_nano", "--seed", "3"),
        ("--set", "data.targets=OC_g_kg", "--set", "front_end.channels=snv,d1", "--set", "front_end.views="),
        ("--set", "data.replicates=average"),
    ],
    ids=["none", "targets", "set", "average"],
)
def test_the_command_trains_on_the_library_that_was_inspected(flags, soils, tmp_path, capsys, monkeypatch):
    path = soils.rename(tmp_path / "soils of 'A' field.csv")
    assert call(path, *SMALL, *flags) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:3] == ["python", "-m", "relple_tf.train"]
    parser = Parser()
    add_data_and_config(parser, positional=True)
    inspected = load(config_from(parser.parse_args([str(path), *SMALL, *flags])))
    seen = []

    def stop(*arguments, **named):
        seen.append(arguments)
        raise InputError("stopped")

    monkeypatch.setattr("relple_tf.training_run.train_run", stop)
    with pytest.raises(InputError, match="stopped"):
        train.main([*command[3:], "--out", str(tmp_path / "run")])
    library, config, *_ = seen[0]
    assert list(library.targets) == list(inspected.targets)
    np.testing.assert_equal(library.targets, inspected.targets)
    np.testing.assert_array_equal(library.spectra, inspected.spectra)
    assert config.preset == ("rs_ple_nano" if "--preset" in flags else Config().preset)
    assert config.training.seed == (3 if "--seed" in flags else Config().training.seed)


def test_the_command_reads_columns_of_one_property_as_the_inspection_did(tmp_path, capsys):
    carbon = columns()["OC_g_kg"]
    table = columns(SOC_g_kg=["", *["2.5"] * (ROWS - 1)], OC_pct=["0.3"] * ROWS)
    path = write(tmp_path / "soils.csv", table)
    call(path, *SMALL)
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    parser = Parser()
    add_data_and_config(parser)
    library = load(config_from(parser.parse_args(command[3:])))
    assert "OC_g_kg" in command[command.index("--targets") + 1].split(",")
    np.testing.assert_equal(library.targets, read_table(path, DATA).targets)
    assert np.isfinite(library.targets["OC_g_kg"]).sum() == ROWS
    assert library.targets["OC_g_kg"][0] == float(carbon[0])


def test_a_page_is_replaced_and_another_file_is_not(soils, tmp_path, capsys):
    (tmp_path / "page.html").write_text("<html>of another program</html>")
    assert call(soils, *SMALL, "--out", tmp_path / "page.html") == 2
    assert "did not write" in capsys.readouterr().err
    assert call(soils, *SMALL, "--out", tmp_path / "own.html") == 0
    size = (tmp_path / "own.html").stat().st_size
    assert call(soils, *SMALL, "--targets", "pH", "--out", tmp_path / "own.html") == 0
    assert (tmp_path / "own.html").stat().st_size < size
    assert call(soils, *SMALL, "--out", soils) == 2


def test_a_source_without_checks_states_that_none_ran(tmp_path):
    assert call("simulated", "--set", "simulated.soils=30", "--out", tmp_path / "page.html") == 0
    page = Page((tmp_path / "page.html").read_text())
    assert page.after("Checks").startswith("The checks of scans run on tables")
    assert page.after("Scans") == "30"


def test_no_keras_is_imported(soils):
    code = (
        "import sys; from relple_tf import inspect; inspect.main(sys.argv[1:]);"
        "assert not {'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, soils, *SMALL, "--out", "/dev/null"], check=True, capture_output=True)


def simulated(quantity="reflectance"):
    soils = simulate(SimulatedConfig(soils=80, step_nm=10.0))
    if quantity == "reflectance":
        return soils
    return replace(soils, spectra=-np.log10(soils.spectra), quantity="absorbance")


def test_an_unusual_scan_is_the_farthest():
    library = simulated("absorbance")
    for row in (0, 41, 79):
        spectra = library.spectra.copy()
        spectra[row] += np.linspace(0, 1, spectra.shape[1], dtype=np.float32)
        distances = score_distances(replace(library, spectra=spectra))
        assert distances.farthest(1) == [row]
        assert distances.values[row] > 3 * np.median(distances.values)


def test_distances_depend_on_the_differences_of_the_scans_only():
    library = simulated("absorbance")
    expected = score_distances(library).values
    shifted = replace(library, spectra=library.spectra + np.sin(library.wavelengths_nm / 100).astype("float32"))
    np.testing.assert_allclose(score_distances(shifted).values, expected, rtol=1e-4)
    order = np.random.default_rng(0).permutation(len(library))
    np.testing.assert_allclose(score_distances(library.rows(order)).values, expected[order], rtol=1e-6)


def test_distances_of_reflectance_are_those_of_absorbance():
    # Bands are averaged before the logarithm, which matters little where neighbours are similar.
    np.testing.assert_allclose(
        score_distances(simulated()).values, score_distances(simulated("absorbance")).values, rtol=1e-2
    )


@pytest.mark.parametrize("case", ["few", "equal"])
def test_without_distances_no_scan_is_called_far(case):
    library = simulated()
    if case == "few":
        library = library.rows(np.arange(FEWEST_SCANS - 1))
    else:
        library = replace(library, spectra=np.repeat(library.spectra[:1], len(library), axis=0))
    inspection = Inspection(library=library, command="")
    assert inspection.farthest == {}
    assert "too few different scans" in inspection_page(inspection)


def test_quantiles_are_those_of_all_scans():
    spectra = simulated().spectra
    np.testing.assert_array_equal(band_quantiles(spectra), np.quantile(spectra, QUANTILES, axis=0))


def test_copies_are_pairs_of_exactly_equal_scans():
    library = simulated()
    spectra = library.spectra.copy()
    spectra[[5, 9]] = spectra[2]
    spectra[20] = np.nextafter(spectra[21], np.float32(2))
    assert Inspection(library=replace(library, spectra=spectra), command="").copies == [(5, 2), (9, 2)]


@pytest.mark.parametrize(
    ("nm", "spacing"),
    [
        (np.arange(1100.0, 1200.0, 2.0), "step 2 nm"),
        (np.sort(1e7 / np.arange(4000.0, 7400.0, 16.0)), "step 16 cm-1"),
        (np.array([*np.arange(1100.0, 1150.0, 1.0), *np.arange(1150.0, 1200.0, 4.0)]), "uneven steps of 1 to 4 nm"),
    ],
)
def test_spacing_is_named_in_the_unit_in_which_it_is_even(nm, spacing):
    depth = np.linspace(0.1, 0.3, 5)[:, None]
    library = SpectralLibrary.from_arrays(
        0.5 - depth * np.linspace(0, 1, len(nm)), {}, wavelengths_nm=nm, check_spectra=False
    )
    assert f"{len(nm)} bands, {spacing}" in Inspection(library=library, command="").facts["Wavelengths"]
