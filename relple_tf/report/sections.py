"""What of a run is drawn: picks the soils and words, and leaves the drawing to the pictures."""

from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.evaluation.formatting import texts, with_unit
from relple_tf.evaluation.gates import owner_weights
from relple_tf.evaluation.result import RunResult
from relple_tf.report.plots import figures as pictures
from relple_tf.report.plots import importance as importance_pictures
from relple_tf.report.plots import parity as soil_pictures
from relple_tf.report.plots import training as training_pictures

GATES = (
    "Gates: softmax weights, added up over the experts of an owner, mean over the training soils; "
    "each row sums to 1, hatched is not read. A large weight says that the gate reads an expert, "
    "not what it learns there."
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the first target's training values: where the example spectra are taken."""


def quantity(result: RunResult) -> str:
    """What was scanned, in words."""
    known = {"absorbance": "absorbance log10(1/R)", "reflectance": "reflectance (0 to 1)"}
    return known[result.library.quantity]


def one_to_one(result: RunResult, target: str, unit: str) -> str:
    """The picture of predicted over measured for a target's test soils."""
    values = result.library.targets[target]
    rows = (result.parts == "test") & ~np.isnan(values)
    own, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    label = "{}: R² {r2}, RMSE {rmse}, RPIQ {rpiq}"
    ends = result.bounds(target)
    return soil_pictures.one_to_one(
        values[rows],
        {
            label.format("PLSR", **texts(plsr)): result.plsr.predictions[target][rows],
            label.format("network", **texts(own)): result.predictions[target][rows],
        },
        None if ends is None else (ends[0][rows], ends[1][rows]),
        target=with_unit(target, unit),
        colour=pictures.line_styles(list(result.library.targets))[target]["color"],
    )


def domain(result: RunResult) -> str:
    """The picture of the distances from the training soils."""
    train, test = result.parts == "train", result.parts == "test"
    return soil_pictures.domain(
        np.stack([result.fitted.reliability.t2, result.fitted.reliability.q])[:, train],
        np.stack([result.t2, result.q])[:, test],
        result.status[test],
        np.array([result.fitted.reliability.limits.t2, result.fitted.reliability.limits.q]),
    )


def importance(result: RunResult) -> str:
    """Which wavelengths each target's estimates read, below the mean spectrum of the training soils."""
    library, styles = result.library, pictures.line_styles(list(result.library.targets))
    mean = library.spectra[result.parts == "train"].mean(axis=0, dtype="float64")
    drawn = (
        importance_pictures.importance(
            library.wavelengths_nm,
            mean,
            result.importance,
            target,
            axis=quantity(result),
            colour=styles[target]["color"],
        )
        for target in library.targets
    )
    return "\n".join(drawn)


def learning_curves(result: RunResult) -> str:
    """PLSR's error over the number of soils."""
    if not result.plsr.curve:
        return "<p>There are too few soils to leave most of them out.</p>"
    return soil_pictures.learning_curves(result.plsr.curve, list(result.library.targets))


def training(result: RunResult) -> str:
    """Scores, loss and weights by epoch; the scores are the members' where there are some."""
    targets, history, crossed = list(result.library.targets), result.fitted.history, result.fitted.cross_fit
    scored = history if crossed is None else crossed.history
    return "\n".join(
        (
            training_pictures.validation_curves(scored, targets, crossed=crossed is not None),
            training_pictures.loss_curve(history),
            training_pictures.loss_weights(history, targets),
        )
    )


def shared(result: RunResult) -> tuple[str, str]:
    """Pictures of the targets' correlation and of the gates, and a text on the latter."""
    spec, model = result.fitted.prepared.spec, result.config.model
    names = list(spec.targets)
    correlation = pd.DataFrame(spec.correlation, index=names, columns=names)
    drawn = [pictures.heat_map(correlation, title="Correlation of the targets", signed=True)]
    features = result.fitted.prepared.train_features
    levels = owner_weights(model, spec, result.fitted.network, features)
    for level, table in enumerate(levels, start=1):
        title = f"Level {level}: weight that a gate (row) gives"
        drawn.append(pictures.heat_map(table, title=title, axis="to the experts of"))
    none = f"{escape(model.architecture)} has no gates, so there are no weights to show."
    return "\n".join(drawn), GATES if levels else none


def example_spectra(result: RunResult, units: dict[str, str]) -> str:
    """A few training spectra as scanned, and below as the network reads them."""
    library, prepared = result.library, result.fitted.prepared
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
    half = (len(prepared.grid_nm) - prepared.spec.bands) // 2
    bands_nm = prepared.grid_nm[half : half + prepared.spec.bands]
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
