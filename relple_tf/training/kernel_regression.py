"""The kernel regression: support vector machines on every view's scores, fitted without gradients."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVR

from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.views import BOUND
from relple_tf.spectra.splitting.folds import group_k_fold

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

WIDTH = 0.3
"""The Gaussian kernel is exp(-WIDTH) at the median squared distance of two training soils."""
COMPONENTS = 30
"""Of each view that are compared, at most; 60 were no better on inner splits of NIRsoil, 20 and 10 worse."""
LINEAR_SHARE = 0.2
"""Weight of the linear kernel beside the Gaussian one, both of mean square length 1."""
SMALLEST_EIGENVALUE = 1e-7
"""Directions of the landmarks' kernel below this share of the largest are rounding."""

COSTS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""C of the support vector machine, tried by cross-validation."""
EPSILON = 0.03
"""Errors below this many standard deviations cost nothing."""
FOLDS = 4
"""Of the choice of C."""
MOST_SVM_ROWS = 3000
"""A support vector machine needs all products of two rows; with more rows the machine is a ridge regression."""
STRENGTHS = np.logspace(-4, 4, 25)
"""Of that ridge, tried by leave-one-out."""


def fit_kernel_regression(
    scores: list[npt.NDArray[np.float32]],
    kernels: list[npt.NDArray[np.float32]],
    values: Mapping[str, Floats],
    groups: Indices,
    landmarks: int,
    seed: int,
) -> KernelRegression:
    """For every target the mean of its views' machines, as a layer.

    Args:
        scores: For each view (n, components) of the training rows.
        kernels: For each view (bands, components) of its projection: orthonormal columns, each times a scale.
        values: Target -> (n,) in standard deviations, NaN where not measured.
        groups: (n,) numbers of what no fold may divide.
        landmarks: Training rows that a scan is compared with, at most; drawn at random where there are more.
        seed: Of that draw and of the folds.
    """
    count = min(landmarks, len(groups))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(groups))[:count])
    components = min(COMPONENTS, scores[0].shape[1])
    layer = KernelRegression(tuple(values), count, components, name="kernel_regression")
    layer.build([view.shape for view in scores])
    fitted = [
        _view_kernel_regression(own[:, :components], kernel[:, :components], values, groups, chosen, seed)
        for own, kernel in zip(scores, kernels, strict=True)
    ]
    levels = np.mean([found.pop("level") for found in fitted], axis=0)
    for name in fitted[0]:
        weights = np.stack([found[name] for found in fitted])
        getattr(layer, name).assign(weights / len(scores) if name in ("slope", "linear") else weights)
    layer.level.assign(levels)
    return layer


def _view_kernel_regression(
    scores: npt.NDArray[np.float32],
    kernel: npt.NDArray[np.float32],
    values: Mapping[str, Floats],
    groups: Indices,
    chosen: Indices,
    seed: int,
) -> dict[str, Floats]:
    """One view's weights of the layer, by their names there; all targets."""
    # Columns of the projection are orthonormal: their length is what the scores were multiplied by, and the kernel
    # reads them without, for components of small variance are mostly noise.
    length = np.linalg.norm(kernel.astype("float64"), axis=0)
    gain = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    plain = scores * gain
    typical = np.median(pdist(plain, "sqeuclidean"))
    gain *= np.sqrt(WIDTH / typical) if typical > 0 else 0.0
    z = scores * gain
    sd = z.std(axis=0)
    inverse_bound = np.divide(1.0, BOUND * sd, out=np.zeros_like(sd), where=sd > 0)

    landmark = z[chosen]
    similarity = np.exp(-cdist(z, landmark, "sqeuclidean"))
    # In these coordinates of the landmarks' span, products of two rows are their kernel (Williams & Seeger 2001, NIPS);
    # exactly where all rows are landmarks.
    eigenvalues, vectors = np.linalg.eigh(similarity[chosen])
    kept = eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[-1]
    root = vectors[:, kept] / np.sqrt(eigenvalues[kept])
    bounded = np.tanh(z * inverse_bound)
    # tanh(z / bound) * bound is z near 0: components count by their SD, and together for LINEAR_SHARE.
    weight = BOUND * sd
    weight *= np.sqrt(LINEAR_SHARE / (np.mean(np.sum((bounded * weight) ** 2, axis=1)) or 1.0))
    features = np.hstack([similarity @ root, bounded * weight])
    slopes, linear, levels = [], [], []
    for y in values.values():
        known = ~np.isnan(y)
        slope, level = fit_svm(features[known], y[known], groups[known], seed)
        slopes.append(root @ slope[: root.shape[1]])
        linear.append(weight * slope[root.shape[1] :])
        levels.append(level)
    return {
        "gain": gain,
        "landmark": landmark,
        "slope": np.stack(slopes, axis=1),
        "inverse_bound": inverse_bound,
        "linear": np.stack(linear, axis=1),
        "level": np.array(levels),
    }


def fit_svm(x: Floats, y: Floats, groups: Indices, seed: int) -> tuple[Floats, float]:
    """A linear support vector machine, its C by cross-validation: y is about x @ slope + level.

    On a random basis it is a kernel machine. Unlike a ridge regression it gives a soil with a wild laboratory value a
    bounded pull (Smola & Schoelkopf 2004, Statistics and Computing 14, 199-222).

    Args:
        x: (n, m).
        y: (n,) in standard deviations.
        groups: (n,) numbers of what no fold may divide.
        seed: Of the folds.

    Returns:
        Slope (m,) and level.
    """
    centre = x.mean(axis=0)
    if len(x) > MOST_SVM_ROWS:
        ridge = RidgeCV(STRENGTHS).fit(x - centre, y)
        return ridge.coef_, float(ridge.intercept_ - centre @ ridge.coef_)
    size = np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))
    scaled = (x - centre) / (size or 1.0)
    gram = scaled @ scaled.T
    search = GridSearchCV(
        SVR(kernel="precomputed", epsilon=EPSILON),
        {"C": COSTS},
        cv=group_k_fold(groups, FOLDS, seed),
        scoring="neg_mean_squared_error",
    )
    best = search.fit(gram, y).best_estimator_
    slope = scaled[best.support_].T @ best.dual_coef_[0] / (size or 1.0)
    return slope, float(best.intercept_[0] - centre @ slope)
