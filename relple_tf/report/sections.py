"""The plots of the report: selects the data of the run for each plot and calls the plotting functions."""

from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.evaluation.formatting import texts, with_unit
from relple_tf.evaluation.gates import owner_weights
from relple_tf.evaluation.result import RunResult
from relple_tf.report.plots import figures, parity
from relple_tf.report.plots import importance as importance_plots
from relple_tf.report.plots import training as training_plots

GATES = (
    "Gates: softmax weights summed over the experts of each target (or the shared experts), mean over the training "
    "soils. Each row sums to 1; hatched: the gate does not read these experts. A large weight means that the gate uses "
    "an expert; it does not show which information the expert provides."
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the first target's training values at which the example spectra are selected."""


def quantity(result: RunResult) -> str:
    """The measured quantity as text."""
    quantities = {"absorbance": "absorbance log10(1/R)", "reflectance": "reflectance (0 to 1)"}
    return quantities[result.library.quantity]


def one_to_one(result: RunResult, target: str, unit: str) -> str:
    """The plot of predicted against measured values for a target's test soils."""
    values = result.library.targets[target]
    rows = (result.parts == "test") & ~np.isnan(values)
    network, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    label = "{}: R² {r2}, RMSE {rmse}, RPIQ {rpiq}"
    bounds = result.bounds(target)
    return parity.one_to_one(
        values[rows],
        {
            label.format("PLSR", **texts(plsr)): result.plsr.predictions[target][rows],
            label.format("deployed model", **texts(network)): result.predictions[target][rows],
        },
        None if bounds is None else (bounds[0][rows], bounds[1][rows]),
        target=with_unit(target, unit),
        colour=figures.line_styles(list(result.library.targets))[target]["color"],
    )


def domain(result: RunResult) -> str:
    """The plot of leverage T2 and residual Q, with their limits."""
    train, test = result.parts == "train", result.parts == "test"
    return parity.domain(
        np.stack([result.fitted.reliability.t2, result.fitted.reliability.q])[:, train],
        np.stack([result.t2, result.q])[:, test],
        result.status[test],
        np.array([result.fitted.reliability.limits.t2, result.fitted.reliability.limits.q]),
    )


def importance(result: RunResult) -> str:
    """The plots of wavelength importance of each target, below the mean spectrum of the training soils."""
    library, styles = result.library, figures.line_styles(list(result.library.targets))
    mean = library.spectra[result.parts == "train"].mean(axis=0, dtype="float64")
    images = (
        importance_plots.importance(
            library.wavelengths_nm,
            mean,
            result.importance,
            target,
            axis=quantity(result),
            colour=styles[target]["color"],
        )
        for target in library.targets
    )
    return "\n".join(images)


def learning_curves(result: RunResult) -> str:
    """The plot of the RMSE of PLSR by the number of soils."""
    if not result.plsr.curve:
        return "<p>There are too few soils for a learning curve.</p>"
    return parity.learning_curves(result.plsr.curve, list(result.library.targets))


def training(result: RunResult) -> str:
    """The plots of scores, loss and loss weights by epoch; the scores are cross-validated if there are folds."""
    targets, history, cross_fit = list(result.library.targets), result.fitted.history, result.fitted.cross_fit
    score_history = history if cross_fit is None else cross_fit.history
    return "\n".join(
        (
            training_plots.validation_curves(score_history, targets, cross_validated=cross_fit is not None),
            training_plots.loss_curve(history),
            training_plots.loss_weights(history, targets),
        )
    )


def sharing(result: RunResult) -> tuple[str, str]:
    """The plots of the targets' correlation and of the gate weights, and a caption for the gates."""
    spec, model = result.fitted.prepared.spec, result.config.model
    names = list(spec.targets)
    correlation = pd.DataFrame(spec.correlation, index=names, columns=names)
    images = [figures.heat_map(correlation, title="Correlation of the targets", signed=True)]
    features = result.fitted.prepared.train_features
    levels = owner_weights(model, spec, result.fitted.network, features)
    for level, table in enumerate(levels, start=1):
        title = f"Level {level}: weight of each gate (row)"
        images.append(figures.heat_map(table, title=title, axis="for the experts of"))
    no_gates = f"{escape(model.architecture)} has no gates."
    return "\n".join(images), GATES if levels else no_gates


def example_spectra(result: RunResult, units: dict[str, str]) -> str:
    """Plots of a few training spectra: the scans, and each channel of the network's input."""
    library, prepared = result.library, result.fitted.prepared
    target, unit = next(iter(units.items()))
    train = np.flatnonzero(result.parts == "train")
    selected = quantile_rows(library.targets[target][train])
    rows = train[selected]
    labels = [
        f"{figures.shortened(name, 14)}: {value:.3g} {unit}".rstrip()
        for name, value in zip(library.ids[rows], library.targets[target][rows], strict=True)
    ]
    scanned = library.spectra[rows]
    images = [figures.spectra(library.wavelengths_nm, scanned, labels, axis=quantity(result))]
    # The front end removes half a derivative window at both ends of the grid.
    half = (len(prepared.grid_nm) - prepared.spec.bands) // 2
    bands_nm = prepared.grid_nm[half : half + prepared.spec.bands]
    for i, channel in enumerate(result.config.front_end.channels):
        channel_values = prepared.train_features[selected, :, i]
        images.append(figures.spectra(bands_nm, channel_values, labels, axis=f"channel {channel} (SD)"))
    return "\n".join(images)


def quantile_rows(values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Rows at QUANTILES of (n,) values; rows without a value (NaN) are omitted."""
    ascending = np.argsort(values, kind="stable")[: np.sum(~np.isnan(values))]
    positions = np.round(np.array(QUANTILES) * (len(ascending) - 1)).astype(np.intp)
    rows: npt.NDArray[np.intp] = ascending[np.unique(positions)]
    return rows
