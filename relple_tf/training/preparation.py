"""Preparation: everything that is fitted before the first gradient step, on the training rows only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.models import front_end
from relple_tf.models.catalogue import build
from relple_tf.models.domain import NEIGHBOURS, DomainStatistics
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.relevance import pearson, unrelated_for_lack_of_rows
from relple_tf.models.robust_views import robust_bands, robust_reference, usable_views
from relple_tf.models.target_scaling import TargetScale
from relple_tf.models.views import set_bounds, view_name
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import group_k_fold
from relple_tf.spectra.splitting.grouping import group_labels, whole_groups
from relple_tf.training.kernel_regression import COSTS, MIDDLE_COST, fit_kernel_regression
from relple_tf.training.scale_selection import choose_scale
from relple_tf.training.seeds import seed_everything

Floats = npt.NDArray[np.float64]
Projection = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Kernel (bands of the view, components) and bias (components,)."""

ROUNDING = 1e-5
"""Means of standardised bands (SD 1) below this are rounding errors of float32."""
DIFFERENCE_FOLDS = 5
"""Folds in which the differences of the kernel regressions are computed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Input of training: fitted front end, kernel regression and scales, and the arrays of rows."""

    absorbance_stage: keras.Model
    """Scan (batch, library bands) -> absorbance (batch, grid)."""
    channel_stage: keras.Model
    """Absorbance (batch, grid) -> features (batch, bands, channels)."""
    projections: tuple[Projection, ...]
    """Of each view, from `whitening`."""
    score_sd: tuple[npt.NDArray[np.float32], ...]
    """For each view, (components,): SD of its scores over the training rows."""
    kernel_regression: KernelRegression
    """Scores of all views -> predictions (batch, K) in standard deviations."""
    reference: keras.Model | None
    """Absorbance (batch, grid) -> predictions of the robust views (batch, K) in standard deviations; None without."""
    domain_statistics: DomainStatistics
    """Bands and scores of the first view -> T2 and Q."""
    scales: tuple[TargetScale, ...]
    """Scale on which each target is modelled."""
    spec: NetworkSpec
    """Sizes of the network that the data determine."""
    grid_nm: npt.NDArray[np.float64]
    """(grid,) wavelengths of the model, in nm."""
    train_absorbance: npt.NDArray[np.float32]
    """(n_train, grid)."""
    train_features: npt.NDArray[np.float32]
    """(n_train, bands, channels)."""
    train_values: npt.NDArray[np.float32]
    """(n_train, K), in standard deviations, NaN where not measured."""
    validation_absorbance: npt.NDArray[np.float32]
    """(n_validation, grid)."""
    validation_features: npt.NDArray[np.float32]
    """(n_validation, bands, channels)."""
    validation_values: npt.NDArray[np.float32]
    """(n_validation, K), likewise."""
    validation_measured: dict[str, npt.NDArray[np.float64]]
    """Target -> (n_validation,) in laboratory units, NaN where not measured."""
    notes: tuple[str, ...]
    """Decisions that were made for lack of data, for the log and the report."""


def prepare(library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config) -> Prepared:
    """Fit front end, scales, projections, kernel regression and domain statistics on the training rows.

    Test rows are not read. The result depends only on the arguments, and training does not change it.

    Raises:
        InputError: a schedule of the joint loss does not have a number for each target.
    """
    # The order of BLAS sums depends on the number of threads, and training amplifies the last digit of a projection to
    # hundredths of R2. With a single thread, a config has a single result.
    with threadpool_limits(limits=1, user_api="blas"):
        return _prepare(library, parts, config)


def _prepare(library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config) -> Prepared:
    for name in ("schedule_start", "schedule_decay"):
        if (count := len(getattr(config.training, name))) not in (0, len(library.targets)):
            raise InputError(
                f"training.{name}: expected a number for each of {', '.join(library.targets)} or none, received {count}"
            )
    train, validation = parts == "train", parts == "validation"
    groups = whole_groups(library, parts, config.split.block_km)
    targets = tuple(library.targets)
    stage = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config.front_end)
    train_absorbance = front_end.apply(stage, library.spectra[train])
    channels = front_end.channel_stage(train_absorbance.shape[1], config.front_end)
    front_end.fit_channel_stage(channels, train_absorbance)
    features = front_end.apply(channels, train_absorbance)

    views = config.front_end.viewed_channels()
    projections = [whitening(view_features(features, view), config) for view in views]
    scores = projected(features, views, projections)
    scales = tuple(
        choose_scale(name, values[train], scores[0].astype("float64"), groups[train], config.training.seed)
        for name, values in library.targets.items()
    )
    modelled = np.stack([scale.to_model(library.targets[scale.name]) for scale in scales], axis=1)
    spec = NetworkSpec(
        bands=features.shape[1],
        channels=features.shape[2],
        components=projections[0][1].size,
        views=views,
        targets=targets,
        correlation=pearson(modelled[train]),
    )
    samples = group_labels(library, keep_groups=False)[train]
    domain_statistics = DomainStatistics(min(NEIGHBOURS, config.model.landmarks), name="domain_statistics")
    first_features = view_features(features, views[0])
    domain_statistics.build((first_features.shape, (None, spec.components)))
    domain_statistics.fit(first_features, projections[0][0], samples)
    values = dict(zip(targets, modelled[train].T, strict=True))
    kernel_regression = fit_kernel_regression(
        scores,
        [kernel for kernel, _ in projections],
        values,
        groups[train],
        config.model.landmarks,
        config.training.seed,
        samples=samples,
    )
    scan_bands, grid_bands = len(library.wavelengths_nm), train_absorbance.shape[1]
    robust = usable_views(scan_bands, grid_bands, library.quantity, config.front_end)
    validation_absorbance = front_end.apply(stage, library.spectra[validation])
    return Prepared(
        absorbance_stage=stage,
        channel_stage=channels,
        projections=tuple(projections),
        score_sd=tuple(score.std(axis=0) for score in scores),
        kernel_regression=kernel_regression,
        reference=fit_reference(train_absorbance, values, groups[train], samples, config) if robust else None,
        domain_statistics=domain_statistics,
        scales=scales,
        spec=spec,
        grid_nm=front_end.grid_nm(library.wavelengths_nm, config.front_end),
        train_absorbance=train_absorbance,
        train_features=features,
        train_values=modelled[train].astype("float32"),
        validation_absorbance=validation_absorbance,
        validation_features=front_end.apply(channels, validation_absorbance),
        validation_values=modelled[validation].astype("float32"),
        validation_measured={name: values[validation] for name, values in library.targets.items()},
        notes=tuple(
            f"{first} and {second}: both measured in only {common} training rows, so treated as unrelated"
            for first, second, common in unrelated_for_lack_of_rows(modelled[train], targets)
        ),
    )


def fit_reference(
    absorbance: npt.NDArray[np.float32],
    values: Mapping[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    samples: npt.NDArray[np.intp] | None,
    config: Config,
    costs: Sequence[float] = COSTS,
) -> keras.Model:
    """Fit projections and kernel regression of the robust views on the training rows.

    Args:
        absorbance: (n, grid).
        values: Target -> (n,) in standard deviations, NaN where not measured.
        groups: (n,) numbers of the groups that no fold divides.
        samples: (n,) numbers of the samples; None: each row is a sample.
        config: Config of the run.
        costs: See `fit_kernel_regression`.

    Returns:
        Absorbance -> (batch, K) in standard deviations.
    """
    stage = robust_bands(absorbance.shape[1], config.front_end)
    projections, kernels, scores = [], [], []
    for bands in front_end.apply_all(stage, absorbance):
        # Bands are standardised before the projection; its kernel includes that.
        mean, sd = bands.mean(axis=0, dtype="float64"), bands.std(axis=0, dtype="float64")
        inverse_sd = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)
        kernel, bias = whitening(((bands - mean) * inverse_sd).astype("float32"), config)
        of_bands = inverse_sd[:, None] * kernel
        projections.append((of_bands, bias - mean @ of_bands))
        kernels.append(kernel)
        scores.append((bands @ of_bands + projections[-1][1]).astype("float32"))
    regression = fit_kernel_regression(
        scores,
        kernels,
        values,
        groups,
        config.model.landmarks,
        config.training.seed,
        samples=samples,
        costs=costs,
        name="robust_regression",
    )
    return robust_reference(stage, projections, regression)


def cross_validated_differences(prepared: Prepared, samples: npt.NDArray[np.intp], config: Config) -> Floats:
    """Predict each training row with both kernel regressions, fitted without its sample, and subtract.

    The folds divide groups, but no sample, as those for T2 and Q do: differences in held-out fields are larger, and a
    limit from them would flag few distorted scans. C of the SVR is MIDDLE_COST: six candidates in five folds would take
    longer than the preparation itself.

    Args:
        prepared: Preparation on the training rows.
        samples: (n,) numbers of the samples of the training rows.
        config: Config of the run.

    Returns:
        (n, K) in standard deviations: kernel regression of the network's views less that of the robust views. NaN in a
        fold without rows to learn a target from, and everywhere without robust views.
    """
    views, features, seed = prepared.spec.views, prepared.train_features, config.training.seed
    differences = np.full(prepared.train_values.shape, np.nan)
    if prepared.reference is None:
        return differences
    for fitted, held in group_k_fold(samples, DIFFERENCE_FOLDS, seed):
        values = dict(zip(prepared.spec.targets, prepared.train_values[fitted].T.astype("float64"), strict=True))
        if any(np.isnan(column).all() for column in values.values()):
            continue
        projections = [whitening(view_features(features[fitted], view), config) for view in views]
        regression = fit_kernel_regression(
            projected(features[fitted], views, projections),
            [kernel for kernel, _ in projections],
            values,
            samples[fitted],
            config.model.landmarks,
            seed,
            samples=samples[fitted],
            costs=(MIDDLE_COST,),
        )
        reference = fit_reference(
            prepared.train_absorbance[fitted], values, samples[fitted], samples[fitted], config, (MIDDLE_COST,)
        )
        received = regression(projected(features[held], views, projections))
        differences[held] = keras.ops.convert_to_numpy(received) - front_end.apply(
            reference, prepared.train_absorbance[held]
        )
    return differences


def initial_network(prepared: Prepared, config: Config) -> keras.Model:
    """Build the network with initial weights from the seed and projections from the training rows.

    Seeds all random generators first, so every call returns the same network.

    Returns:
        (batch, bands, channels) features -> {target: (batch, 1)} in standard deviations.
    """
    seed_everything(config.training.seed)
    network = build(config.model, prepared.spec, keras)
    for view, (projection, sd) in enumerate(zip(prepared.projections, prepared.score_sd, strict=True)):
        network.get_layer(view_name(view)).set_weights(projection)
        set_bounds(network, view, sd)
    return network


def first_view(prepared: Prepared) -> npt.NDArray[np.float32]:
    """Return the features of the training rows from which T2 and Q are computed: (n_train, bands of the first view)."""
    return view_features(prepared.train_features, prepared.spec.views[0])


def projected(
    features: npt.NDArray[np.float32], views: Sequence[tuple[int, ...]], projections: Sequence[Projection]
) -> list[npt.NDArray[np.float32]]:
    """Scores (n, components) of each view: (n, bands, channels) features times its projection."""
    return [
        view_features(features, view) @ kernel + bias for view, (kernel, bias) in zip(views, projections, strict=True)
    ]


def view_features(features: npt.NDArray[np.float32], view: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Concatenate the channels of a view for its projection: (n, bands, channels) -> (n, view channels * bands)."""
    return features[:, :, list(view)].transpose(0, 2, 1).reshape(len(features), -1)


def whitening(flat: npt.NDArray[np.float32], config: Config) -> Projection:
    """Fit the projection of a view on the principal components of its training rows.

    Bands are almost collinear, so gradient descent is slow on them but not on scores divided by a power of their SD.
    With exponent 1 all scores have variance 1; with a smaller exponent, later components have less weight. The mean
    variance is always 1.

    Args:
        flat: (n, bands of the view) of the training rows.
        config: Config of the run.

    Returns:
        Kernel (bands of the view, components) and bias (components,): scores = flat @ kernel + bias.
    """
    components = min(config.front_end.whitened_components, len(flat) - 1, flat.shape[1])
    pca = PCA(components, random_state=config.training.seed).fit(flat)
    sd = np.sqrt(pca.explained_variance_)
    # A scale of 0 for components without variance (duplicated spectra, fewer soils than components), whose rounding
    # errors would be amplified.
    scale = np.where(sd > 1e-6 * sd[0], sd, np.inf) ** -config.front_end.whitening_exponent
    scale /= np.sqrt(np.mean((sd * scale) ** 2))
    kernel = pca.components_.T * scale
    # Bands are standardised on the same rows, so their means differ from 0 by rounding only. Means of exactly 0 save an
    # operator in the device file.
    mean = np.where(np.abs(pca.mean_) < ROUNDING, 0.0, pca.mean_)
    return kernel.astype("float32"), (-mean @ kernel + 0.0).astype("float32")
