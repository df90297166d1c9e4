"""Laws of the report, on a run that is put together by hand."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from relple_tf.config import Config, ModelConfig, SplitConfig, TrainingConfig
from relple_tf.config import replace as changed
from relple_tf.evaluation import pictures
from relple_tf.evaluation.calibration import Calibration, score_parts
from relple_tf.evaluation.report import report, spread, texts, verdict
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.fit import Trained
from relple_tf.training.preparation import prepare

NAMES = ("OC_g_kg", "pH", "a<b&c_pct")
NOTE = "column <script>alert(1)</script> & others"


class Page(HTMLParser):
    """The parts of a page that the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.images, self.rows = [], [], [], []
        self.bold = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "tr":
            self.rows.append([])
            self.bold.append(set())
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "strong" and self.rows:
            self.bold[-1].add(len(self.rows[-1]) - 1)

    def handle_data(self, text):
        if self.tags and self.tags[-1] in ("td", "th", "strong", "span") and self.rows:
            self.rows[-1][-1] += text


def calibration(architecture="rs_ple", source="fields <1 & 2>.csv"):
    rng = np.random.default_rng(3)
    nm = np.arange(1300.0, 2400.0, 20.0)
    moisture = rng.uniform(0.5, 1.5, size=(90, 1))
    bands = np.exp(-(((nm - 1914) / 60) ** 2))
    spectra = 0.4 + 0.1 * moisture * bands + rng.normal(0, 0.002, size=(90, len(nm)))
    carbon = 5.0 + 20.0 * moisture[:, 0] ** 3
    targets = dict(zip(NAMES, (carbon, 5 + moisture[:, 0], rng.uniform(1, 30, 90)), strict=True))
    targets["pH"][::7] = np.nan
    library = SpectralLibrary(
        source=source,
        spectra=spectra.astype("float32"),
        wavelengths_nm=nm,
        quantity="absorbance",
        targets=targets,
        ids=np.array([f"soil$<{i}" for i in range(90)]),
    ).checked()
    parts = np.array(["train"] * 50 + ["validation"] * 15 + ["test"] * 25)
    config = changed(
        Config(
            model=ModelConfig(architecture=architecture, expert_kind="cnn", conv_filters=(4,), expert_units=4),
            split=SplitConfig(),
            training=TrainingConfig(max_epochs=3),
        ),
        front_end__step_nm=20.0,
        front_end__derivative_window_nm=60.0,
        front_end__whitened_components=5,
    )
    prepared = prepare(library, parts, config)
    predictions = {name: values + rng.normal(0, 1, 90) for name, values in targets.items()}
    baseline = {name: values + rng.normal(0, 2, 90) for name, values in targets.items()}
    for estimates in (predictions, baseline):
        estimates["pH"] = np.where(np.isnan(targets["pH"]), 6.0, estimates["pH"])
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.9, 0.4, -0.1]})
    history["validation_score"] = [-np.inf, 0.6, 0.5]
    for name in NAMES:
        history[f"validation_r2_{name}"] = [-np.inf, 0.6, 0.5]
        history[f"weight_{name}"] = [1.0, 0.8, 0.7]
    metrics = score_parts(library, parts, predictions)
    metrics["baseline"] = {"plsr": score_parts(library, parts, baseline)["test"]}
    return Calibration(
        config=config,
        library=library,
        library_sha256="0" * 64,
        parts=parts,
        prepared=prepared,
        trained=Trained(model=prepared.network, network=prepared.network, history=history),
        predictions=predictions,
        baseline=baseline,
        components=dict.fromkeys(NAMES, 4),
        metrics=metrics,
        notes=(NOTE,),
    )


@pytest.fixture(scope="module")
def result():
    return calibration()


@pytest.fixture(scope="module")
def text(result):
    return report(result)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_needs_nothing_from_outside(text, page):
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == len(page.images) > 0
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        inner = re.findall(r'href="([^"]*)"', base64.b64decode(encoded).decode())
        assert all(link.startswith(("#", "data:")) for link in inner)
    assert not re.search(r"https?:|url\(|@import", text)


def test_report_is_the_same_when_made_again(result, text):
    assert report(result) == text


def test_only_simulated_soils_have_the_warning(result, text):
    assert "Trained on simulated spectra" not in text
    simulated = replace(result, library=replace(result.library, source="simulated"))
    assert "Trained on simulated spectra" in report(simulated)


def test_names_and_notes_are_text(text):
    assert "<script" not in text
    assert "column &lt;script&gt;alert(1)&lt;/script&gt; &amp; others" in text
    assert "fields &lt;1 &amp; 2&gt;.csv" in text
    assert "a<b" not in text
    assert "a&lt;b&amp;c_pct" in text


def test_table_holds_the_metrics(result, page):
    rows = page.rows[1:]
    assert len(rows) == 2 * len(NAMES)
    plsr = result.metrics["baseline"]["plsr"]
    for i, name in enumerate(NAMES):
        for row, figures in (
            (rows[2 * i], result.metrics["test"][name]),
            (rows[2 * i + 1], plsr[name]),
        ):
            for shown, column in zip(
                [cell.strip() for cell in row[-7:]],
                ("n", "r2", "rmse", "rpiq", "rpd", "bias", "ccc"),
                strict=True,
            ):
                decimals = len(shown.partition(".")[2])
                assert float(shown) == pytest.approx(figures[column], abs=0.501 * 10**-decimals)
    assert [rows[2 * i][0] for i in range(3)] == ["OC_g_kgg/kg", "pHno unit", "a<b&c_pct%"]


def test_better_of_two_models_is_bold(result, page):
    # The hand-made PLSR has twice the error of the network.
    for own, other in zip(page.bold[1::2], page.bold[2::2], strict=True):
        assert own == {3, 4}
        assert other == set()


@pytest.mark.parametrize("name", NAMES)
def test_each_target_has_its_picture(result, page, name):
    alts = [image["alt"] for image in page.images]
    figures = texts(result.metrics["test"][name])
    label = f"network: R² {figures['r2']}, RMSE {figures['rmse']}, RPIQ {figures['rpiq']}"
    shown = {"OC_g_kg": "OC (g/kg)", "pH": "pH", "a<b&c_pct": "a<b&c (%)"}[name]
    count = int(figures["n"])
    start = f"Predicted over measured {shown} of {count} test soils. {label}"
    assert sum(alt.startswith(start) for alt in alts) == 1


def test_best_epoch_is_the_kept_one(page):
    (alt,) = [image["alt"] for image in page.images if "Validation R2" in image["alt"]]
    assert alt.endswith("best epoch 2, score 0.60")


def test_gates_are_pictured_level_by_level(page):
    alts = [image["alt"] for image in page.images]
    assert [sum(alt.startswith(f"Level {i}") for alt in alts) for i in (1, 2, 3)] == [1, 1, 0]


def test_network_without_gates_is_said_to_have_none():
    text = report(calibration(architecture="shared_bottom"))
    assert "shared_bottom has no gates" in text
    assert "Level 1" not in text


def test_thousands_of_points_stay_small():
    measured = np.random.default_rng(0).lognormal(size=20_000)
    image = pictures.one_to_one(measured, {"PLSR": measured, "network": measured}, target="OC", colour="#0072B2")
    assert len(image) < 400_000


@pytest.mark.parametrize(
    ("rpiq", "rpd", "rmse", "expected"),
    [
        (
            2.5,
            2.0,
            1.0,
            "error small against the spread of the test soils; RMSE about equal to PLSR's.",
        ),
        (
            2.49,
            3.0,
            0.8,
            "error moderate against the spread of the test soils; RMSE 20% below PLSR's.",
        ),
        (
            1.49,
            3.0,
            1.5,
            "error large against the spread of the test soils; RMSE 50% above PLSR's.",
        ),
        (
            2.9,
            1.66,
            1.0,
            "error moderate against the spread of the test soils; RMSE about equal to PLSR's.",
        ),
    ],
)
def test_verdict_follows_its_rule(rpiq, rpd, rmse, expected):
    assert verdict({"rpiq": rpiq, "rpd": rpd, "rmse": rmse}, {"rmse": 1.0}) == expected


def test_figures_carry_three_digits_of_the_error():
    figures = {"n": 25, "r2": 0.5, "rpiq": 2.0, "rpd": 1.0, "ccc": 0.7}
    shown = [
        (texts({**figures, "rmse": rmse, "bias": -rmse / 3})[name])
        for rmse in (0.0123, 1.234, 123.4)
        for name in ("rmse", "bias")
    ]
    assert shown == ["0.0123", "-0.0041", "1.23", "-0.41", "123", "-41"]
    assert texts({**figures, "rmse": 1.0, "bias": -0.001})["bias"] == "0.00"


def test_examples_are_spread_over_the_measured_rows():
    values = np.append(np.arange(101.0)[::-1], [np.nan] * 9)
    assert values[spread(values)].tolist() == [5, 25, 50, 75, 95]
    assert len(spread(np.array([3.0, np.nan, 1.0]))) == 2
