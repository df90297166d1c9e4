"""The report of a run: one HTML page for the screen, the phone and paper.

Without scripts or outside resources, and without a date: one seed gives one report, byte for byte.
The text stands in `report.html`; here it gets its figures.
"""

import math
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config_text import to_toml
from relple_tf.evaluation import pictures
from relple_tf.evaluation.gates import owner_weights
from relple_tf.evaluation.result import Calibration, card, source_name

SIMULATED = (
    '<p class="warning"><strong>Trained on simulated spectra.</strong> The soils of this report '
    "are computed, not measured. The scores are no claim about real soils.</p>"
)
GATES = (
    "Gates: softmax weights, added up over the experts of an owner, mean over the training soils; "
    "each row sums to 1, hatched is not read. A large weight says that the gate reads an expert, "
    "not what it learns there."
)
COLUMNS = ("n", "r2", "rmse", "rpiq", "rpd", "bias", "ccc")
SMALL_ERROR = {"rpiq": 2.5, "rpd": 2.0}
"""What an error must reach to be called small: both, for RPIQ flatters two-humped targets."""
MODERATE_ERROR = {"rpiq": 1.5, "rpd": 1.4}
"""Likewise moderate."""
CLOSE = 0.05
"""RMSE that differ by less than this share are called about equal."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the first target's training values: where the example spectra are taken."""


def report(result: Calibration) -> str:
    """The page, complete in itself."""
    facts = card(result)
    units = {target: entry["unit"] for target, entry in facts["targets"].items()}
    config, history, targets = result.config, result.trained.history, list(units)
    own, plsr = result.metrics["test"], result.metrics["baseline"]["plsr"]
    sharing, gates = shared(result)
    template = resources.files("relple_tf.evaluation").joinpath("report.html").read_text("utf-8")
    return Template(template).substitute(
        title=escape(f"Soil calibration: {config.preset} on {source_name(config)}"),
        warning=SIMULATED if result.library.source == "simulated" else "",
        facts=terms(result, facts),
        notes=items(escape(note) for note in result.notes or ("nothing",)),
        rows="\n".join(table_rows(result, target, unit) for target, unit in units.items()),
        verdicts=items(f"<em>{escape(target)}</em>: {verdict(own[target], plsr[target])}" for target in units),
        small="RPIQ {rpiq:g} and RPD {rpd:g}".format(**SMALL_ERROR),
        moderate="RPIQ {rpiq:g} and RPD {rpd:g}".format(**MODERATE_ERROR),
        close=f"{CLOSE:.0%}",
        one_to_one="\n".join(one_to_one(result, target, unit) for target, unit in units.items()),
        training="\n".join(
            (
                pictures.validation_curves(history, targets),
                pictures.loss_curve(history),
                pictures.loss_weights(history, targets),
            )
        ),
        lowest_r2=f"{pictures.LOWEST_R2:g}",
        balancing=escape(config.training.balancing),
        sharing=sharing,
        gates=gates,
        spectra=example_spectra(result, units),
        quantiles=", ".join(f"{share:.0%}" for share in QUANTILES),
        first_target=escape(targets[0]),
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        data_hash=facts["data_sha256"][:16],
        config=escape(to_toml(config)),
    )


def items(entries: Any) -> str:
    """List items of HTML."""
    return "\n".join(f"<li>{entry}</li>" for entry in entries)


def terms(result: Calibration, facts: dict[str, Any]) -> str:
    """Which data and which network, as a list of terms."""
    grid, scanned_nm = result.prepared.grid_nm, result.library.wavelengths_nm
    parts = ", ".join(f"{count} {part}" for part, count in facts["soils"].items())
    rows = {
        "Source": result.library.source,
        "Soils": f"{len(result.library)}: {parts}",
        "Scan": f"{quantity(result)}, {len(scanned_nm)} bands, {_range(scanned_nm)}",
        "Model grid": f"{len(grid)} bands, {_range(grid)}; channels {', '.join(result.config.front_end.channels)}",
        "Network": f"{result.config.preset} ({result.config.model.architecture}), "
        f"{facts['model']['weights']:,} weights",
        "Seed": str(facts["seed"]),
    }
    return "\n".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())


def _range(wavelengths_nm: npt.NDArray[np.float64]) -> str:
    return f"{wavelengths_nm[0]:g} to {wavelengths_nm[-1]:g} nm"


def quantity(result: Calibration) -> str:
    """What was scanned, in words."""
    known = {"absorbance": "absorbance log10(1/R)", "reflectance": "reflectance (0 to 1)"}
    return known[result.library.quantity]


def table_rows(result: Calibration, target: str, unit: str) -> str:
    """A target's test figures: the network's row and below it that of PLSR."""
    own, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    label = f'{escape(target)}<br><span class="unit">{escape(unit or "no unit")}</span>'
    baseline = f"PLSR ({result.components[target]})"
    return (
        f'<tbody>\n<tr><th rowspan="2" scope="rowgroup">{label}</th>'
        f'<td class="model">network</td>{cells(own, plsr)}</tr>\n'
        f'<tr><td class="model">{baseline}</td>{cells(plsr, own)}</tr>\n</tbody>'
    )


def cells(figures: dict[str, float], others: dict[str, float]) -> str:
    """Table cells; R2 and RMSE are bold where they are better than the others' and look so."""
    shown, beside = texts(figures), texts(others)
    better = {"r2": figures["r2"] > others["r2"], "rmse": figures["rmse"] < others["rmse"]}
    return "".join(
        f"<td><strong>{shown[name]}</strong></td>"
        if better.get(name) and shown[name] != beside[name]
        else f"<td>{shown[name]}</td>"
        for name in COLUMNS
    )


def texts(figures: dict[str, float]) -> dict[str, str]:
    """Figures as text: RMSE with three digits, bias with as many decimals, ratios with two."""
    rmse = figures["rmse"]
    sound = rmse > 0 and math.isfinite(rmse)
    decimals = max(0, 2 - math.floor(math.log10(rmse))) if sound else 2
    digits = {"n": 0, "rmse": decimals, "bias": decimals}
    return {name: f"{figures[name]:z.{digits.get(name, 2)}f}" for name in COLUMNS}


def verdict(own: dict[str, float], plsr: dict[str, float]) -> str:
    """A sentence on a target that follows from the figures by the rule that the page states."""
    size = "large"
    for name, least in (("moderate", MODERATE_ERROR), ("small", SMALL_ERROR)):
        if all(own[figure] >= bound for figure, bound in least.items()):
            size = name
    compared = "about equal to PLSR's"
    change = own["rmse"] / plsr["rmse"] - 1 if plsr["rmse"] else 0.0
    if abs(change) >= CLOSE:
        compared = f"{abs(change):.0%} {'above' if change > 0 else 'below'} PLSR's"
    return f"error {size} against the spread of the test soils; RMSE {compared}."


def one_to_one(result: Calibration, target: str, unit: str) -> str:
    """The picture of predicted over measured for a target's test soils."""
    values = result.library.targets[target]
    rows = (result.parts == "test") & ~np.isnan(values)
    own, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    label = "{}: R² {r2}, RMSE {rmse}, RPIQ {rpiq}"
    return pictures.one_to_one(
        values[rows],
        {
            label.format("PLSR", **texts(plsr)): result.baseline[target][rows],
            label.format("network", **texts(own)): result.predictions[target][rows],
        },
        target=with_unit(target, unit),
        colour=pictures.line_styles(list(result.library.targets))[target]["color"],
    )


def with_unit(target: str, unit: str) -> str:
    """A target's name with its unit in brackets instead of in the name."""
    suffix = "_pct" if unit == "%" else f"_{unit.replace('/', '_')}"
    return f"{target.removesuffix(suffix)} ({unit})" if unit else target


def shared(result: Calibration) -> tuple[str, str]:
    """Pictures of the targets' correlation and of the gates, and a text on the latter."""
    problem, model = result.prepared.problem, result.config.model
    names = list(problem.targets)
    correlation = pd.DataFrame(problem.correlation, index=names, columns=names)
    drawn = [pictures.heat_map(correlation, title="Correlation of the targets", signed=True)]
    features = result.prepared.train_features
    levels = owner_weights(model, problem, result.trained.network, features)
    for level, table in enumerate(levels, start=1):
        title = f"Level {level}: weight that a gate (row) gives"
        drawn.append(pictures.heat_map(table, title=title, axis="to the experts of"))
    none = f"{escape(model.architecture)} has no gates, so there are no weights to show."
    return "\n".join(drawn), GATES if levels else none


def example_spectra(result: Calibration, units: dict[str, str]) -> str:
    """A few training spectra as scanned, and below as the network reads them."""
    library, prepared = result.library, result.prepared
    target, unit = next(iter(units.items()))
    train = np.flatnonzero(result.parts == "train")
    chosen = spread(library.targets[target][train])
    rows = train[chosen]
    labels = [
        f"{pictures.shortened(name, 14)}: {value:.3g} {unit}".rstrip()
        for name, value in zip(library.ids[rows], library.targets[target][rows], strict=True)
    ]
    scanned = library.spectra[rows]
    drawn = [pictures.spectra(library.wavelengths_nm, scanned, labels, axis=quantity(result))]
    # The front end drops half a derivative window at both ends of the grid.
    half = (len(prepared.grid_nm) - prepared.problem.bands) // 2
    bands_nm = prepared.grid_nm[half : half + prepared.problem.bands]
    for i, channel in enumerate(result.config.front_end.channels):
        read = prepared.train_features[chosen, :, i]
        drawn.append(pictures.spectra(bands_nm, read, labels, axis=f"channel {channel} (SD)"))
    return "\n".join(drawn)


def spread(values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Rows at QUANTILES of (n,) values; rows without a value (NaN) are left out."""
    ascending = np.argsort(values, kind="stable")[: np.sum(~np.isnan(values))]
    positions = np.round(np.array(QUANTILES) * (len(ascending) - 1)).astype(np.intp)
    rows: npt.NDArray[np.intp] = ascending[np.unique(positions)]
    return rows
