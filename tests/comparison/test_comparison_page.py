"""The page of a comparison, for a result constructed by hand."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from relple_tf.comparison import plots
from relple_tf.comparison.report import comparison_report
from relple_tf.comparison.result import ComparisonResult
from relple_tf.config import Config
from relple_tf.config import replace as changed
from relple_tf.spectra.library import SpectralLibrary

NAMES = ("OC_g_kg", "a<b&c_pct")
MODELS = ("rs_ple_base", "svr", "plsr")
NOTE = "column <script>alert(1)</script> & others"


class Page(HTMLParser):
    """Table cells and plots of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.alts, self.rows = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "img":
            self.alts.append(dict(attributes)["alt"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, text):
        if self.tags and self.tags[-1] in ("td", "th", "strong", "span", "br") and self.rows:
            self.rows[-1][-1] += text.strip()


def result(models=MODELS, sizes=(), repeats=8, source="fields <1 & 2>.csv", scheme="repeated"):
    """R2 of rs_ple_base is .1 above plsr, and .02 above svr in all repeats but the first, plus .001 times the seed."""
    config = changed(
        Config(), comparison__sizes=sizes, comparison__scheme=scheme, data__source=source, training__seed=3
    )
    rows = []
    for seed in range(3, 3 + repeats):
        for size in sizes or (100 + seed % 2,):
            for model in models:
                for number, target in enumerate(NAMES):
                    r2 = 0.5002 + 0.01 * seed + 0.1 * number
                    r2 -= {"rs_ple_base": 0.0, "plsr": 0.1002, "svr": 0.0203 if seed > 3 else -0.06}[model]
                    r2 -= 0.001 * seed if model != "rs_ple_base" else 0.0
                    r2 -= 0.3 if size == 40 and model == "rs_ple_base" else 0.0
                    coverage = 0.796 + 0.01 * seed if model == "rs_ple_base" else None
                    figures = {"coverage": coverage, "n": 30, "r2": r2, "rmse": 2 * (1 - r2), "rpiq": 1 / (1 - r2)}
                    key = {"seed": seed, "fold": 0, "soils": size, "model": model, "target": target}
                    rows.append({**key, **figures, "settings": "C <3>" if model == "svr" else ""})
    rng = np.random.default_rng(0)
    library = SpectralLibrary(
        source=source,
        spectra=rng.uniform(0.2, 0.6, (140, 12)).astype("float32"),
        wavelengths_nm=np.arange(1100.0, 1220.0, 10.0),
        quantity="absorbance",
        targets={name: rng.uniform(1, 9, 140) for name in NAMES},
        ids=np.arange(140).astype(str),
    )
    return ComparisonResult(
        config=config,
        models=models,
        library=library,
        library_sha256="0" * 64,
        table=pd.DataFrame(rows),
        notes=(NOTE,),
        repeats=repeats,
    )


@pytest.fixture(scope="module")
def text():
    return comparison_report(result())


@pytest.fixture(scope="module")
def curves():
    return comparison_report(result(sizes=(40, 80)))


def test_the_page_has_no_external_resources(text):
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == len(page.alts) == 2 * len(NAMES)
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', base64.b64decode(encoded).decode()))
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_page_is_reproducible(text):
    assert comparison_report(result()) == text


def test_names_and_notes_are_escaped(text):
    assert "<script" not in text
    assert "column &lt;script&gt;alert(1)&lt;/script&gt; &amp; others" in text
    assert "fields &lt;1 &amp; 2&gt;" in text
    assert "a<b" not in text
    assert "C &lt;3&gt; (8 of 8)" in text


def test_only_a_simulated_source_has_the_warning(text):
    assert "Simulated spectra" not in text
    assert "Simulated spectra" in comparison_report(result(source="simulated"))


def test_the_table_contains_medians_and_paired_comparisons(text):
    """The median seed is 6.5; without comparison.sizes, 100 and 101 soils are a single size."""
    rows = Page(text).rows[1:]
    assert [row[-8] for row in rows] == 2 * list(MODELS)
    assert rows[0] == ["OC_g_kgg/kg100 soils", "rs_ple_base", "0.565", "0.548 to 0.583", "0.870", "2.30", "", "", ""]
    assert rows[1][-3:] == ["7 of 8", "+0.027", "0.20"]
    assert rows[2][-3:] == ["8 of 8", "+0.107", "0.008"]


def test_the_best_metrics_are_bold(text):
    assert re.findall("<strong>([0-9.]+)</strong>", text) == ["0.565", "0.870", "0.665", "0.670"]


def test_the_conclusions_state_which_model_is_better(text):
    assert "rs_ple_base is better than plsr in 8 of 8 repeats, median difference of R² 0.107, p 0.008" in text
    assert "rs_ple_base and svr: no clear difference (rs_ple_base is better in 7 of 8 repeats" in text
    assert "too few repeats for a test" in comparison_report(result(repeats=5))


def test_the_conclusions_state_the_best_model_of_each_size(text, curves):
    assert "with 40 soils svr has the highest median R²: svr 0.55; rs_ple_base 0.2" in curves
    assert "with 80 soils rs_ple_base has the highest median R²: rs_ple_base 0.57" in curves
    assert "with 80 soils, rs_ple_base is better than plsr" in curves
    assert "Learning curves" not in text
    curve_texts = [alt for alt in Page(curves).alts if "with 40, 80 soils" in alt]
    assert [alt.partition(" with")[0] for alt in curve_texts] == [
        f"{name}, {figure}"
        for name, unit in (("OC (g/kg)", "g/kg"), ("a<b&c (%)", "%"))
        for figure in ("R²", f"RMSE ({unit})")
    ]
    assert "rs_ple_base 0.265, 0.565; svr" in curve_texts[0]


def test_the_coverage_of_intervals_is_stated_for_models_with_intervals(text):
    assert (
        "the 90% prediction intervals of rs_ple_base contain 86% of the laboratory values of the test soils (median)"
        in text
    )
    assert "intervals of svr" not in text


def test_with_cross_validation_the_conclusions_count_folds():
    text = comparison_report(result(scheme="cross_validation"))
    assert "8 of 8 folds" in text
    assert "8 of 5 folds each, seeds 3 to 10" in text


def test_the_page_of_a_single_model_has_no_paired_comparison():
    text = comparison_report(result(models=("svr",)))
    assert "svr: median R² 0.55, quartiles 0.53 to 0.56" in text
    assert "compared with the other models" not in text


def test_an_extreme_repeat_does_not_extend_the_axis():
    points = np.array([0.5, 0.52, 0.54, 0.56, 0.58])
    low, high = plots._limits([points, np.append(points, -40.0)])
    assert 0.3 < low < 0.5
    assert 0.58 < high < 0.7


def test_without_sizes_all_resamples_count_as_a_single_size():
    all_soils = result()
    assert all_soils.sizes == [100]
    assert set(all_soils.table["soils"]) == {100, 101}
    assert replace(all_soils, config=result(sizes=(40, 80)).config).sizes == [100, 101]
