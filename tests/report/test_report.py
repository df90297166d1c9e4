"""The report, for a run constructed by hand."""

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from relple_tf.baselines.plsr import CrossValidated
from relple_tf.baselines.plsr_baseline import PlsrBaseline
from relple_tf.config import Config, ModelConfig, SplitConfig, TrainingConfig
from relple_tf.config import replace as changed
from relple_tf.evaluation.formatting import COLUMNS, digits, percent, texts
from relple_tf.evaluation.metrics import scores
from relple_tf.evaluation.need_curve import scans_of_test
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import FittedModel
from relple_tf.report.interpretation import USES, interpretation, interval_sentence
from relple_tf.report.keep_or_send import sentence
from relple_tf.report.page import report
from relple_tf.report.plots.parity import one_to_one
from relple_tf.report.sections import quantile_rows
from relple_tf.runs.card import card
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.cross_fitting import CrossFit
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.reliability import fit_reliability
from relple_tf.training.stacking import StackingWeights
from relple_tf.training_run import RunResult, development_outliers, score_parts

NAMES = ("OC_g_kg", "pH", "a<b&c_pct")
NOTE = "column <script>alert(1)</script> & others"


class Page(HTMLParser):
    """Tags, plots and tables of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.images, self.rows = [], [], [], []
        self.bold, self.tables, self.in_row = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.rows.append([])
            self.tables[-1].append(self.rows[-1])
            self.bold.append(set())
            self.in_row = True
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "strong" and self.in_row:
            self.bold[-1].add(len(self.rows[-1]) - 1)

    def handle_endtag(self, tag):
        self.in_row = self.in_row and tag != "tr"

    def handle_data(self, text):
        if self.in_row and self.tags[-1] in ("td", "th", "strong", "span"):
            self.rows[-1][-1] += text


def result_of(architecture="rs_ple", source="fields <1 & 2>.csv", cv_folds=4):
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
    parts = np.array(["train"] * 50 + ["train" if cv_folds else "validation"] * 15 + ["test"] * 25)
    config = changed(
        Config(
            model=ModelConfig(architecture=architecture, expert_kind="cnn", conv_filters=(4,), expert_units=4),
            split=SplitConfig(),
            training=TrainingConfig(max_epochs=3, cv_folds=cv_folds),
        ),
        front_end__step_nm=20.0,
        front_end__derivative_window_nm=60.0,
        front_end__whitened_components=5,
    )
    prepared = prepare(library, parts, config)
    predictions = {name: values + rng.normal(0, 1, 90) for name, values in targets.items()}
    baseline = {name: values + rng.normal(0, 2, 90) for name, values in targets.items()}
    for values in (predictions, baseline):
        values["pH"] = np.where(np.isnan(targets["pH"]), 6.0, values["pH"])
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.9, 0.4, -0.1]})
    history["validation_score"] = [-np.inf, 0.6, 0.5]
    for name in NAMES:
        history[f"validation_r2_{name}"] = [-np.inf, 0.6, 0.5]
        history[f"weight_{name}"] = [1.0, 0.8, 0.7]
    shares = ((0.25, 0.5, 0.25), (0.5, 0.3, 0.2), (0.0, 1.0, 0.0))
    weights = {name: StackingWeights(*each) for name, each in zip(NAMES, shares, strict=True)}
    metrics = score_parts(library, parts, predictions)
    cross_fit = None
    if cv_folds:
        out_of_fold = {name: np.where(parts == "train", values + 0.5, np.nan) for name, values in predictions.items()}
        out_of_fold["OC_g_kg"][4] += 400
        cross_fit = CrossFit(weights=weights, predictions=out_of_fold, history=history)
        history = history.assign(**dict.fromkeys([name for name in history if "validation" in name], np.nan))
        metrics["validation"] = {
            name: scores(np.where(parts == "train", targets[name], np.nan), out_of_fold[name]) for name in NAMES
        }
    metrics["baseline"] = {"plsr": score_parts(library, parts, baseline)["test"]}
    reliability = fit_reliability(library, parts, prepared, cross_fit, config)
    network = initial_network(prepared, config)
    fitted = FittedModel(
        config=config,
        parts=parts,
        prepared=prepared,
        network=network,
        weights=weights,
        model=network,
        history=history,
        cross_fit=cross_fit,
        reliability=reliability,
    )
    limits = reliability.limits
    t2 = np.where(np.isnan(reliability.t2), 0.1 * limits.t2, reliability.t2)
    q = np.where(np.isnan(reliability.q), 0.1 * limits.q, reliability.q)
    t2[-3:] = 1.5 * limits.t2
    return RunResult(
        config=config,
        library=library,
        library_sha256="0" * 64,
        fitted=fitted,
        t2=t2,
        q=q,
        predictions=predictions,
        plsr=PlsrBaseline(
            predictions=baseline,
            components=dict.fromkeys(NAMES, 4),
            left_out=dict.fromkeys(NAMES, plsr_of(0.5, 1.25)),
            new_groups={},
            curve={"OC_g_kg": {16: 3.0, 33: 2.5, 49: 2.1, 65: 2.0}, "pH": {10: 0.4, 20: 0.4, 30: 0.4, 40: 0.4}},
        ),
        importance=pd.DataFrame(
            {"start_nm": [1300.0, 1900.0], "stop_nm": [1880.0, 2380.0]} | dict.fromkeys(NAMES, 0.2)
        ),
        outliers=development_outliers(library, fitted),
        metrics=metrics,
        notes=(NOTE,),
    )


def plsr_of(r2, rmse):
    scale = TargetScale(name="a", root=False, mean=0.0, sd=1.0, low=-9.0, high=9.0, non_negative=False)
    return CrossValidated(scale=scale, components=4, n=65, rmse=rmse, r2=r2)


@pytest.fixture(scope="module")
def result():
    return result_of()


@pytest.fixture(scope="module")
def text(result):
    return report(result)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_has_no_external_resources(text, page):
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == len(page.images) > 0
    for source in sources:
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/svg+xml;base64"
        inner = re.findall(r'href="([^"]*)"', base64.b64decode(encoded).decode())
        assert all(link.startswith(("#", "data:")) for link in inner)
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_report_is_reproducible(result, text):
    assert report(result) == text


def test_only_a_simulated_source_has_the_warning(result, text):
    assert "Trained on simulated spectra" not in text
    simulated = replace(result, library=replace(result.library, source="simulated"))
    assert "Trained on simulated spectra" in report(simulated)


def test_names_and_notes_are_escaped(text):
    assert "<script" not in text
    assert "column &lt;script&gt;alert(1)&lt;/script&gt; &amp; others" in text
    assert "fields &lt;1 &amp; 2&gt;.csv" in text
    assert "a<b" not in text
    assert "a&lt;b&amp;c_pct" in text


def paragraphs(text):
    """Target -> its interpretation as plain text."""
    matches = re.findall('<p class="interpretation"><strong>(.*?)</strong>: (.*?)</p>', text)
    return {html.unescape(name): html.unescape(words).replace("\xa0", " ") for name, words in matches}


def test_the_table_contains_the_metrics(result, page):
    rows = page.tables[0][1:]
    assert len(rows) == 4 * len(NAMES)
    for i, name in enumerate(NAMES):
        kinds = ("deployed model", "PLSR (4)", "deployed model, CV", "PLSR, CV")
        plsr_cv = {"n": 65, "r2": 0.5, "rmse": 1.25}
        by_model = result.metrics["test"], result.metrics["baseline"]["plsr"], result.metrics["validation"]
        for row, kind, figures in zip(
            rows[4 * i : 4 * i + 4], kinds, (*(metrics[name] for metrics in by_model), plsr_cv), strict=True
        ):
            assert row[-8] == kind
            for shown, column in zip([cell.strip() for cell in row[-7:]], COLUMNS, strict=True):
                if column in figures:
                    decimals = len(shown.partition(".")[2])
                    assert float(shown) == pytest.approx(figures[column], abs=0.501 * 10**-decimals)
                else:
                    assert shown == ""
    assert [rows[4 * i][0] for i in range(3)] == ["OC_g_kgg/kg", "pHno unit", "a<b&c_pct%"]


def test_without_folds_the_table_and_the_text_name_no_cross_validation_of_the_network():
    text = report(result_of(cv_folds=0))
    assert "deployed model, validation" in text
    assert "deployed model, CV" not in text
    assert "no prediction intervals" in paragraphs(text)["pH"]


def test_the_better_of_two_models_is_bold(page):
    # PLSR has twice the error of the network here; cross-validated rows are not compared.
    for first in range(1, 4 * len(NAMES), 4):
        assert page.bold[first : first + 4] == [{3, 4}, set(), set(), set()]


@pytest.mark.parametrize("name", NAMES)
def test_each_target_has_a_parity_plot_and_an_importance_plot(result, page, name):
    alts = [image["alt"] for image in page.images]
    figures = texts(result.metrics["test"][name])
    label = f"deployed model: R² {figures['r2']}, RMSE {figures['rmse']}, RPIQ {figures['rpiq']}"
    shown = {"OC_g_kg": "OC (g/kg)", "pH": "pH", "a<b&c_pct": "a<b&c (%)"}[name]
    count = int(figures["n"])
    start = f"Predicted against measured {shown} of {count} test soils. {label}"
    assert sum(alt.startswith(start) for alt in alts) == 1
    start = (
        f"Increase of the RMSE of {name} if a block of wavelengths is replaced by that of other soils; most at 1300 to"
    )
    assert sum(alt.startswith(start) and "1300 to 1880 nm (20 %)" in alt for alt in alts) == 1


def by_hand(result, name):
    """Half of the median width, coverage and number of the prediction intervals on the test set, by definition."""
    interval, limits = result.fitted.reliability.intervals[name], result.fitted.reliability.limits
    rows = (result.parts == "test") & ~np.isnan(result.library.targets[name])
    reach = interval.half_width * (1 + interval.growth * np.sqrt(result.t2[rows] / limits.t2))
    predictions, measured = result.predictions[name][rows], result.library.targets[name][rows]
    if interval.root:
        lower, upper = np.maximum(np.sqrt(predictions) - reach, 0) ** 2, (np.sqrt(predictions) + reach) ** 2
    else:
        lower, upper = predictions - reach, predictions + reach
    lower = np.maximum(lower, 0)  # all three targets are amounts
    return np.median(upper - lower) / 2, np.mean((lower <= measured) & (measured <= upper)), rows.sum()


@pytest.mark.parametrize("name", NAMES)
def test_width_and_coverage_equal_those_calculated_by_hand(result, text, page, name):
    half_width, coverage, count = by_hand(result, name)
    unit = {"OC_g_kg": " g/kg", "pH": "", "a<b&c_pct": " percentage points"}[name]
    width = f"The 90 % prediction interval is typically ±{digits(half_width, 2)}{unit}"
    assert (
        f"{width} and contains {percent(coverage)} of {count} laboratory values of the test set"
        in paragraphs(text)[name]
    )
    row = page.tables[1][1 + NAMES.index(name)]
    fitted_on = (~np.isnan(result.library.targets[name][:65])).sum()
    expected = ["90 %", str(fitted_on), f"±{digits(half_width, 2)}", percent(coverage), str(count)]
    assert [cell.strip() for cell in row[1:]] == expected
    facts = card(result)["targets"][name]["interval"]["test"]
    assert (facts["typical_half_width"], facts["coverage"]) == pytest.approx((half_width, coverage))


def test_the_learning_curve_is_relative_to_the_rmse_with_all_soils(page):
    (alt,) = [image["alt"] for image in page.images if "divided by the RMSE with all soils" in image["alt"]]
    carbon = "OC_g_kg 16 soils 1.50, 33 soils 1.25, 49 soils 1.05, 65 soils 1.00"
    assert alt.endswith(f": {carbon}; pH 10 soils 1.00, 20 soils 1.00, 30 soils 1.00, 40 soils 1.00")


def test_the_percentage_outside_the_domain_is_reported(result, text, page):
    """3 of the 25 test soils are beyond the limit of T2."""
    assert all("12 % of the test scans are outside the domain" in words for words in paragraphs(text).values())
    assert [row[0] for row in page.tables[2]] == ["beyond", "T²", "Q", "either"]
    assert [row[-1].strip() for row in page.tables[2][1:]] == ["12 %", "0 %", "12 %"]
    assert card(result)["domain"]["test_share_outside"] == pytest.approx(3 / 25)
    (alt,) = [image["alt"] for image in page.images if image["alt"].startswith("Residual Q against leverage T2")]
    assert alt.endswith("training, CV: 65, test, inside: 22, test, outside: 3")


def test_a_soil_whose_laboratory_value_does_not_fit_is_listed(page):
    reasons = {row[0]: row[-1] for row in page.tables[3][1:]}
    assert "laboratory value of OC_g_kg does not fit its spectrum" in reasons["soil$<4"]


def test_the_page_shows_at_most_12_outliers(result):
    many = pd.concat([result.outliers] * 30, ignore_index=True)
    page = Page(text := report(replace(result, outliers=many)))
    assert len(page.tables[3]) == 1 + 12
    assert f"The 12 most extreme of {len(many)}" in text
    assert "There are no outliers" in report(replace(result, outliers=many[:0]))


def test_stacking_weights_are_reported(text):
    shown = "weights: OC_g_kg 25 % / 50 % / 25 %, pH 50 % / 30 % / 20 %, a&lt;b&amp;c_pct 0 % / 100 % / 0 %"
    assert shown in text


def alt_of_scores(page):
    (alt,) = [image["alt"] for image in page.images if "on soils not trained on" in image["alt"]]
    return alt


def test_without_folds_the_plot_marks_the_best_epoch():
    assert alt_of_scores(Page(report(result_of(cv_folds=0)))).endswith("best epoch 2, score 0.60")


def test_with_folds_the_plot_states_the_score_of_the_last_epoch(page):
    alt = alt_of_scores(page)
    assert alt.startswith("Cross-validation")
    assert alt.endswith("score 0.50 at the end")


def test_gate_weights_are_shown_for_each_level(page):
    alts = [image["alt"] for image in page.images]
    assert [sum(alt.startswith(f"Level {i}") for alt in alts) for i in (1, 2, 3)] == [1, 1, 0]


def test_the_report_states_that_a_network_has_no_gates():
    text = report(result_of(architecture="shared_bottom"))
    assert "shared_bottom has no gates" in text
    assert "Level 1" not in text


def test_a_plot_of_many_points_is_small():
    measured = np.random.default_rng(0).lognormal(size=20_000)
    image = one_to_one(measured, {"PLSR": measured, "network": measured}, target="OC", colour="#0072B2")
    assert len(image) < 400_000


def interpretation_with(result, test_metrics, plsr_rmse=1.0, unit="g/kg"):
    """The interpretation of a target with these test metrics."""
    metrics = {part: dict(figures) for part, figures in result.metrics.items()}
    metrics["test"]["OC_g_kg"] = metrics["test"]["OC_g_kg"] | test_metrics
    metrics["baseline"] = {"plsr": {"OC_g_kg": {"rmse": plsr_rmse}}}
    return interpretation(replace(result, metrics=metrics), "OC_g_kg", {"unit": unit, "interval": None})


@pytest.mark.parametrize(
    ("rpiq", "rpd", "rmse", "use", "compared"),
    [
        (2.5, 2.0, 1.0, "suitable for quantitative use: RPIQ 2.50 and RPD 2.00", "about equal to PLSR's"),
        (2.49, 3.0, 0.8, "suitable for screening: RPIQ 2.49 and RPD 3.00", "20 % below PLSR's"),
        (2.9, 1.66, 1.04, "suitable for screening: RPIQ 2.90 and RPD 1.66", "about equal to PLSR's"),
        (1.5, 1.4, 0.94, "suitable for screening: RPIQ 1.50 and RPD 1.40", "6 % below PLSR's"),
        (1.49, 3.0, 1.5, "not suitable for prediction: RPIQ 1.49 and RPD 3.00", "50 % above PLSR's"),
        (3.0, 1.39, 1.0, "not suitable for prediction: RPIQ 3.00 and RPD 1.39", "about equal to PLSR's"),
    ],
)
def test_the_interpretation_follows_the_rule_of_the_page(result, rpiq, rpd, rmse, use, compared):
    words = interpretation_with(result, {"rpiq": rpiq, "rpd": rpd, "rmse": rmse, "n": 25})
    assert words.startswith(f"{use} on 25 test soils. RMSE {digits(rmse)} g/kg, {compared}. ")


def test_the_page_states_the_rule_of_its_interpretations(text):
    for use, minimum in USES.items():
        assert f"{use} if RPIQ ≥ {minimum['rpiq']:g} and RPD ≥ {minimum['rpd']:g}" in text


def test_plsr_is_recommended_if_its_cross_validated_rmse_is_lower(result):
    name, rmse = "pH", result.metrics["validation"]["pH"]["rmse"]
    for ratio, recommended in ((0.97, True), (0.99, False), (1.5, False)):
        plsr = replace(result.plsr, left_out=result.plsr.left_out | {name: plsr_of(0.5, ratio * rmse)})
        words = interpretation(replace(result, plsr=plsr), name, {"unit": "", "interval": None})
        assert ("PLSR is more accurate" in words) is recommended


def test_a_split_that_divides_fields_has_a_warning(result, text):
    assert "Not for new fields" not in text
    assert not any("new field" in words for words in paragraphs(text).values())
    warned = report(replace(result, plsr=replace(result.plsr, new_groups={"pH": plsr_of(-0.6, 3.0)})))
    assert "Not for new fields" in warned
    by_target = paragraphs(warned)
    assert "in the fields of the calibration set: RPIQ" in by_target["pH"]
    assert "PLSR is -0.60 with whole fields left out, 0.50 with fields divided as in this split" in by_target["pH"]
    assert "new field" not in by_target["OC_g_kg"]


@pytest.mark.parametrize(
    ("n", "reason"), [(5, "5 soils are too few to compute them"), (None, "training.cv_folds is 0")]
)
def test_the_reason_of_missing_intervals_is_stated(n, reason):
    interval = None if n is None else {"half_width": None, "n": n}
    assert reason in interval_sentence(interval, "")


def test_metrics_have_three_digits_of_the_rmse():
    figures = {"n": 25, "r2": 0.5, "rpiq": 2.0, "rpd": 1.0, "ccc": 0.7}
    shown = [
        (texts({**figures, "rmse": rmse, "bias": -rmse / 3})[name])
        for rmse in (0.0123, 1.234, 123.4)
        for name in ("rmse", "bias")
    ]
    assert shown == ["0.0123", "-0.0041", "1.23", "-0.41", "123", "-41"]
    assert texts({**figures, "rmse": 1.0, "bias": -0.001})["bias"] == "0.00"


def test_example_rows_are_the_quantiles_of_the_measured_values():
    values = np.append(np.arange(101.0)[::-1], [np.nan] * 9)
    assert values[quantile_rows(values)].tolist() == [5, 25, 50, 75, 95]
    assert len(quantile_rows(np.array([3.0, np.nan, 1.0]))) == 2


@pytest.mark.parametrize(
    ("value", "count", "shown"),
    [(8.0, 2, "8.0"), (0.5449, 3, "0.545"), (110.4, 2, "110"), (0.0, 2, "0"), (np.inf, 3, "inf"), (1234.0, 3, "1234")],
)
def test_numbers_have_the_given_digits_but_whole_numbers_are_not_rounded(value, count, shown):
    assert digits(value, count) == shown


@pytest.mark.parametrize(("fraction", "shown"), [(0.0, "0 %"), (0.004, "0.4 %"), (0.04, "4 %"), (1.0, "100 %")])
def test_a_fraction_below_one_percent_is_not_rounded_to_zero(fraction, shown):
    assert percent(fraction) == shown


def needs_text(text):
    """Target -> sentence of the section Keep or send as plain text."""
    matches = re.findall('<p class="need"><strong>(.*?)</strong>: (.*?)</p>', text)
    return {html.unescape(name): html.unescape(words).replace("\xa0", " ") for name, words in matches}


def kept_by_hand(result, name, need):
    """Test scans that are kept, and their absolute errors, by definition."""
    kept, errors = 0, []
    for row in np.flatnonzero(result.parts == "test"):
        low, high = (bound[row] for bound in result.bounds(name))
        estimate, measured = result.predictions[name][row], result.library.targets[name][row]
        if result.status[row] == "ok" and max(estimate - low, high - estimate) <= need * (1 + 1e-6):
            kept += 1
            errors += [] if np.isnan(measured) else [abs(estimate - measured)]
    return kept, np.array(errors)


def with_growth(result, growth):
    """The result with intervals that widen with the distance from the training mean."""
    reliability = result.fitted.reliability
    intervals = {name: replace(interval, growth=growth) for name, interval in reliability.intervals.items()}
    fitted = replace(result.fitted, reliability=replace(reliability, intervals=intervals))
    return replace(result, fitted=fitted, t2=result.t2 * np.linspace(0.2, 1.5, len(result.t2)))


@pytest.mark.parametrize("growth", [0.0, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_kept_soils_of_text_and_card_equal_those_counted_by_hand(result, name, growth):
    changed_result = with_growth(result, growth)
    words = needs_text(report(changed_result))[name]
    unit = {"OC_g_kg": " g/kg", "pH": "", "a<b&c_pct": " percentage points"}[name]
    need = float(re.match(rf"With a need of ±([\d.]+){unit}, ", words)[1])
    kept, errors = kept_by_hand(changed_result, name, need)
    assert kept > 0
    within = percent(np.mean(errors <= need * (1 + 1e-6)))
    assert words.startswith(
        f"With a need of ±{digits(need, 2)}{unit}, {percent(kept / 25)} of the 25 test scans are kept; {within} of the "
        f"{len(errors)} laboratory values of these are within ±{digits(need, 2)}{unit} of the prediction (nominal: at "
        f"least 90 %), and their RMSE is {digits(np.sqrt(np.mean(errors**2)))}{unit}."
    )
    points = card(changed_result)["targets"][name]["need_curve"]
    for point in points:
        kept, errors = kept_by_hand(changed_result, name, point["need"])
        assert (point["kept"], point["n"]) == (kept / 25, len(errors))
        if len(errors):
            assert point["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
            assert point["beyond"] == np.mean(errors > point["need"] * (1 + 1e-6))
    is_step = not growth and not changed_result.fitted.reliability.intervals[name].root
    assert ("All intervals inside the domain have the same half width" in words) is is_step
    assert len(points) == 1 if is_step else len(points) > 1
    assert points[-1]["kept"] == np.mean(changed_result.status[changed_result.parts == "test"] == "ok")


def test_each_target_has_a_curve_of_its_needs(page):
    alts = [image["alt"] for image in page.images]
    for name in NAMES:
        assert sum(alt.startswith(f"Test scans kept against the need of {name}: need ") for alt in alts) == 1


def test_without_intervals_or_scans_in_the_domain_there_is_no_curve(result):
    alone = result_of(cv_folds=0)
    assert set(needs_text(report(alone)).values()) == {"There is no curve, because there are no prediction intervals."}
    assert [entry["need_curve"] for entry in card(alone)["targets"].values()] == [None] * 3
    far = replace(result, t2=np.full(90, 9 * result.fitted.reliability.limits.t2))
    assert set(needs_text(report(far)).values()) == {
        "No test scan is inside the domain, so none is kept, whatever the need."
    }
    assert [entry["need_curve"] for entry in card(far)["targets"].values()] == [[]] * 3


def test_kept_scans_without_laboratory_values_are_stated(result):
    values = result.library.targets | {"pH": np.where(result.parts == "test", np.nan, result.library.targets["pH"])}
    unmeasured = replace(result, library=replace(result.library, targets=values))
    words = sentence(scans_of_test(unmeasured, "pH"), "", 0.9)
    assert "88 % of the 25 test scans are kept; none of these has a laboratory value." in words
