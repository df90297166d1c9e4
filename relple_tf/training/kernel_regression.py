"""Fitting the kernel regression on the scores of each view, without gradients.

The coefficients are the mean of those of a support vector regression (SVR) and of a Gaussian process, which have the
same form: features that are fixed before the fit, times a slope. The errors of the two differ, so their mean is better
than either on small libraries (decision 21), at no cost to the device. Above MOST_SVM_ROWS rows it is the Gaussian
process alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVR

from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.views import BOUND
from relple_tf.spectra.splitting.folds import group_k_fold

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Weights = dict[str, Floats]
"""Name of a weight of `KernelRegression` -> its values."""

WIDTH = 0.3
"""The Gaussian kernel is exp(-WIDTH) at the median squared distance between two training soils."""
COMPONENTS = 30
"""Largest number of components of a view that the kernel reads. On inner splits of NIRsoil, 60 were no better, 20 and
10 were worse."""
LINEAR_SHARE = 0.2
"""Weight of the linear kernel relative to the Gaussian kernel, if both have a mean of 1 on the diagonal."""
SMALLEST_EIGENVALUE = 1e-7
"""Eigenvalues of the landmarks' kernel below this fraction of the largest are rounding."""

COSTS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Candidates for C of the SVR, compared by cross-validation."""
MIDDLE_COST = 3.0
"""C where a comparison of candidates would cost too much."""
EPSILON = 0.03
"""Errors below this many standard deviations cost 0."""
FOLDS = 4
"""Cross-validation folds in the choice of C."""
MOST_SVM_ROWS = 3000
"""Largest number of rows for an SVR, which needs the kernel of all pairs of rows; more rows get the Gaussian process
alone."""
LARGEST_VALUE = 6.0
"""Laboratory values beyond this many standard deviations are clipped for the Gaussian process, so that the influence of
a single soil is bounded, as in the SVR."""
NOISES = np.logspace(-4, 2, 61)
"""Candidates for the noise variance of the Gaussian process, in units of the mean variance of its prior."""


def fit_kernel_regression(
    scores: list[npt.NDArray[np.float32]],
    kernels: list[npt.NDArray[np.float32]],
    values: Mapping[str, Floats],
    groups: Indices,
    landmarks: int,
    seed: int,
    *,
    samples: Indices | None = None,
    costs: Sequence[float] = COSTS,
    name: str = "kernel_regression",
) -> KernelRegression:
    """Fit each target on each view; the prediction for a target is the mean over the views.

    Args:
        scores: For each view, (n, components) of the training rows.
        kernels: For each view, (bands, components) of its projection: orthonormal columns, each times a scale.
        values: Target -> (n,) in standard deviations, NaN where not measured.
        groups: (n,) numbers of the groups that no fold divides.
        landmarks: Largest number of training rows that a scan is compared with; a random subset if there are more rows.
        seed: Seed of that subset and of the folds.
        samples: (n,) numbers of the samples; the Gaussian process reads the mean scan of a sample. None: each row is a
            sample.
        costs: Candidates for C of the SVR; a single one is taken without cross-validation. Empty: no SVR, the
            coefficients are those of the Gaussian process.
        name: Name of the layer.

    Returns:
        A layer: scores of all views -> (batch, targets) in standard deviations.
    """
    weights = fit_weights(scores, kernels, values, groups, landmarks, seed, samples=samples, costs=costs)
    return layer(tuple(values), weights, name)


def fit_weights(
    scores: Sequence[npt.NDArray[np.float32]],
    kernels: Sequence[npt.NDArray[np.float32]],
    values: Mapping[str, Floats],
    groups: Indices,
    landmarks: int,
    seed: int,
    *,
    samples: Indices | None = None,
    costs: Sequence[float] = COSTS,
) -> Weights:
    """Fit the weights of the layer; arguments as for `fit_kernel_regression`."""
    count = min(landmarks, len(groups))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(groups))[:count])
    components = min(COMPONENTS, *(view.shape[1] for view in scores))
    of_views = [
        _view_kernel_regression(
            view[:, :components], kernel[:, :components], values, groups, samples, chosen, costs, seed
        )
        for view, kernel in zip(scores, kernels, strict=True)
    ]
    weights = {name: np.stack([view[name] for view in of_views]) for name in of_views[0]}
    # The prediction is the mean over the views.
    for name in ("slope", "linear"):
        weights[name] /= len(scores)
    return weights | {"level": weights["level"].mean(axis=0)}


def layer(targets: Sequence[str], weights: Weights, name: str) -> KernelRegression:
    """Build the layer with weights from `fit_weights`."""
    views, landmarks, components = weights["landmark"].shape
    built = KernelRegression(targets, landmarks, components, name=name)
    built.build([(None, components)] * views)
    for weight, values in weights.items():
        getattr(built, weight).assign(values)
    return built


def predict(weights: Weights, scores: Sequence[npt.NDArray[np.float32]]) -> Floats:
    """Predict as the layer does, (n, targets); for the many small fits of a cross-validation."""
    total = weights["level"][None]
    for view, of_view in enumerate(scores):
        gain, landmark = weights["gain"][view], weights["landmark"][view]
        z = of_view[:, : len(gain)] * gain
        total = total + np.exp(-cdist(z, landmark, "sqeuclidean")) @ weights["slope"][view]
        total = total + np.tanh(z * weights["inverse_bound"][view]) @ weights["linear"][view]
    return total


def _view_kernel_regression(
    scores: npt.NDArray[np.float32],
    kernel: npt.NDArray[np.float32],
    values: Mapping[str, Floats],
    groups: Indices,
    samples: Indices | None,
    chosen: Indices,
    costs: Sequence[float],
    seed: int,
) -> dict[str, Floats]:
    """Fit one view for all targets; return the weights of the layer by name."""
    # The length of a column of the projection is the factor on its scores. The kernel reads scores without that factor,
    # because components of small variance are mostly noise.
    length = np.linalg.norm(kernel.astype("float64"), axis=0)
    gain = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    unscaled = scores * gain
    median = np.median(pdist(unscaled, "sqeuclidean"))
    gain *= np.sqrt(WIDTH / median) if median > 0 else 0.0
    z = scores * gain
    sd = z.std(axis=0)
    inverse_bound = np.divide(1.0, BOUND * sd, out=np.zeros_like(sd), where=sd > 0)

    landmark = z[chosen]
    similarity = np.exp(-cdist(z, landmark, "sqeuclidean"))
    # Nystroem features (Williams & Seeger 2001, NIPS): the product of two rows is their kernel, exactly if all rows are
    # landmarks.
    eigenvalues, vectors = np.linalg.eigh(similarity[chosen])
    kept = eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[-1]
    root = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    bounded = np.tanh(z * inverse_bound)
    # tanh(z / bound) * bound is z near 0: components are weighted by their SD, all of them together by LINEAR_SHARE.
    weight = BOUND * sd
    weight *= np.sqrt(LINEAR_SHARE / (np.mean(np.sum((bounded * weight) ** 2, axis=1)) or 1.0))
    features = np.hstack([similarity @ root, bounded * weight])
    slopes, linear, intercepts = [], [], []
    for y in values.values():
        is_measured = ~np.isnan(y)
        of_samples = None if samples is None else samples[is_measured]
        slope, intercept = _fit_mean(
            features[is_measured], y[is_measured], groups[is_measured], of_samples, costs, seed
        )
        slopes.append(root @ slope[: root.shape[1]])
        linear.append(weight * slope[root.shape[1] :])
        intercepts.append(intercept)
    return {
        "gain": gain,
        "landmark": landmark,
        "slope": np.stack(slopes, axis=1),
        "inverse_bound": inverse_bound,
        "linear": np.stack(linear, axis=1),
        "level": np.array(intercepts),
    }


def _fit_mean(
    x: Floats, y: Floats, groups: Indices, samples: Indices | None, costs: Sequence[float], seed: int
) -> tuple[Floats, float]:
    """Mean of SVR and Gaussian process; see `fit_svm` and `fit_kernel_regression` for the arguments."""
    slope, intercept = fit_gaussian_process(*(x, y) if samples is None else sample_means(x, y, samples))
    if not costs or len(x) > MOST_SVM_ROWS:
        return slope, intercept
    of_svm, level = fit_svm(x, y, groups, seed, costs)
    return (slope + of_svm) / 2, (intercept + level) / 2


def sample_means(x: Floats, y: Floats, samples: Indices) -> tuple[Floats, Floats]:
    """Average rows of x (n, m) and y (n,) over the scans of each sample.

    Scans of a sample have one laboratory value, with one error. As separate rows they would seem to repeat it, and the
    marginal likelihood would find almost no noise.
    """
    distinct, first, row, count = np.unique(samples, return_index=True, return_inverse=True, return_counts=True)
    if len(distinct) == len(y):
        return x, y
    means = np.zeros((len(distinct), x.shape[1] + 1))
    np.add.at(means, row, np.column_stack([x, y]))
    means /= count[:, None]
    order = np.argsort(first)
    return means[order, :-1], means[order, -1]


def fit_gaussian_process(x: Floats, y: Floats) -> tuple[Floats, float]:
    """Fit a Gaussian process with the kernel x @ x.T, y = x @ slope + intercept.

    The noise variance is that of NOISES with the largest marginal likelihood; the variance of the prior that belongs to
    it has a closed form (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equations 2.26 and 5.8).
    The mean of the posterior is a ridge regression with that noise as penalty. On Nystroem features it is a Gaussian
    process with their kernel.

    Args:
        x: (n, m).
        y: (n,) in standard deviations.

    Returns:
        Slope (m,) and intercept.
    """
    clipped = np.clip(y, -LARGEST_VALUE, LARGEST_VALUE)
    centre, mean = x.mean(axis=0), float(clipped.mean())
    centred, residual = x - centre, clipped - mean
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred)
    # Of the features before they are centred: the rest of equal rows is rounding.
    kept = eigenvalues > SMALLEST_EIGENVALUE**2 * np.sum(x**2)
    variance, vectors = eigenvalues[kept], vectors[:, kept]
    if not len(variance) or not residual.any():
        return np.zeros(x.shape[1]), mean
    projected = vectors.T @ (centred.T @ residual)
    squares = projected**2 / variance
    rest = max(float(residual @ residual - squares.sum()), 0.0)
    noises = NOISES * variance.sum() / len(y)
    total = variance + noises[:, None]
    prior = (np.sum(squares / total, axis=1) + rest / noises) / len(y)
    # Twice the negative logarithm of the marginal likelihood, up to a constant.
    deviance = len(y) * np.log(prior) + np.log(total).sum(axis=1) + (len(y) - len(variance)) * np.log(noises)
    slope = vectors @ (projected / total[np.argmin(deviance)])
    return slope, mean - float(centre @ slope)


def fit_svm(x: Floats, y: Floats, groups: Indices, seed: int, costs: Sequence[float] = COSTS) -> tuple[Floats, float]:
    """Fit a linear SVR, y = x @ slope + intercept, with C chosen by cross-validation.

    On Nystroem features it is a kernel SVR. Unlike in ridge regression, the influence of an outlying laboratory value
    is bounded (Smola & Schoelkopf 2004, Statistics and Computing 14, 199-222).

    Args:
        x: (n, m).
        y: (n,) in standard deviations.
        groups: (n,) numbers of the groups that no fold divides.
        seed: Seed of the folds.
        costs: See `fit_kernel_regression`.

    Returns:
        Slope (m,) and intercept.
    """
    centre = x.mean(axis=0)
    size = np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))
    scaled = (x - centre) / (size or 1.0)
    gram = scaled @ scaled.T
    if len(costs) == 1:
        best = SVR(kernel="precomputed", epsilon=EPSILON, C=costs[0]).fit(gram, y)
    else:
        search = GridSearchCV(
            SVR(kernel="precomputed", epsilon=EPSILON),
            {"C": list(costs)},
            cv=group_k_fold(groups, FOLDS, seed),
            scoring="neg_mean_squared_error",
        )
        best = search.fit(gram, y).best_estimator_
    slope = scaled[best.support_].T @ best.dual_coef_[0] / (size or 1.0)
    return slope, float(best.intercept_[0] - centre @ slope)
