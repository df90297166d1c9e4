"""From a split library to arrays: everything that is fitted before the first gradient step, on training rows only."""

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
from relple_tf.models.target_scaling import TargetScale
from relple_tf.models.views import set_bounds, view_name
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import group_labels, whole_groups
from relple_tf.training.kernel_regression import fit_kernel_regression
from relple_tf.training.scale_selection import choose_scale
from relple_tf.training.seeds import seed_everything

ROUNDING = 1e-5
"""Standard deviations of a band by which the mean of standardised float32 values may miss 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What training starts from."""

    absorbance_stage: keras.Model
    """Scan to absorbance on the model's grid."""
    channel_stage: keras.Model
    """Absorbance to features."""
    projections: tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], ...]
    """Kernel and bias of each view, from `whitening`."""
    score_sd: tuple[npt.NDArray[np.float32], ...]
    """(components,) of each view: SD of its scores over the training rows."""
    kernel_regression: KernelRegression
    """From the scores of all views to what kernel machines say of the targets; the network's heads begin at 0."""
    domain_statistics: DomainStatistics
    """From the bands and scores of the first view to T2 and Q."""
    scales: tuple[TargetScale, ...]
    """How each target is modelled."""
    spec: NetworkSpec
    """What the data decided about the network."""
    grid_nm: npt.NDArray[np.float64]
    """The model's own wavelengths."""
    train_absorbance: npt.NDArray[np.float32]
    """(n_train, grid)."""
    train_features: npt.NDArray[np.float32]
    """(n_train, bands, channels)."""
    train_values: npt.NDArray[np.float32]
    """(n_train, K), in standard deviations, NaN where not measured."""
    validation_features: npt.NDArray[np.float32]
    """(n_validation, bands, channels)."""
    validation_values: npt.NDArray[np.float32]
    """(n_validation, K), likewise."""
    validation_measured: dict[str, npt.NDArray[np.float64]]
    """Target -> (n_validation,) in laboratory units, NaN where not measured."""
    notes: tuple[str, ...]
    """What was decided for lack of data."""


def prepare(library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config) -> Prepared:
    """Fit front end, target scales, correlation and projection on the training rows; test rows are not read.

    The result depends on the arguments alone, and nothing that is made of it changes it.

    Raises:
        InputError: the schedule of the joint loss is not one number per target.
    """
    # BLAS adds up in an order that depends on its threads, and training makes hundredths of R2 of the last digit of a
    # projection: with one thread a config has one result.
    with threadpool_limits(limits=1, user_api="blas"):
        return _prepare(library, parts, config)


def _prepare(library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config) -> Prepared:
    for name in ("schedule_start", "schedule_decay"):
        if (count := len(getattr(config.training, name))) not in (0, len(library.targets)):
            raise InputError(
                f"training.{name} has {count} numbers; give one for each of {', '.join(library.targets)}, or none"
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
    projections = [whitening(viewed(features, view), config) for view in views]
    scores = [viewed(features, view) @ kernel + bias for view, (kernel, bias) in zip(views, projections, strict=True)]
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
    domain_statistics = DomainStatistics(min(NEIGHBOURS, config.model.landmarks), name="domain_statistics")
    first = viewed(features, views[0])
    domain_statistics.build((first.shape, (None, spec.components)))
    domain_statistics.fit(first, projections[0][0], group_labels(library, keep_groups=False)[train])
    kernel_regression = fit_kernel_regression(
        scores,
        [kernel for kernel, _ in projections],
        dict(zip(targets, modelled[train].T, strict=True)),
        groups[train],
        config.model.landmarks,
        config.training.seed,
    )
    return Prepared(
        absorbance_stage=stage,
        channel_stage=channels,
        projections=tuple(projections),
        score_sd=tuple(score.std(axis=0) for score in scores),
        kernel_regression=kernel_regression,
        domain_statistics=domain_statistics,
        scales=scales,
        spec=spec,
        grid_nm=front_end.grid_nm(library.wavelengths_nm, config.front_end),
        train_absorbance=train_absorbance,
        train_features=features,
        train_values=modelled[train].astype("float32"),
        validation_features=front_end.apply(channels, front_end.apply(stage, library.spectra[validation])),
        validation_values=modelled[validation].astype("float32"),
        validation_measured={name: values[validation] for name, values in library.targets.items()},
        notes=tuple(
            f"{one} and {other} have {common} training rows in common: counted as unrelated"
            for one, other, common in unrelated_for_lack_of_rows(modelled[train], targets)
        ),
    )


def initial_network(prepared: Prepared, config: Config) -> keras.Model:
    """The network before its training, the same at every call: weights from the seed, views from the training rows.

    Seeds everything on the way.

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
    """What the distances of the training rows are taken in: (n_train, bands of the first view)."""
    return viewed(prepared.train_features, prepared.spec.views[0])


def viewed(features: npt.NDArray[np.float32], view: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The channels of a view side by side, as its projection reads them: (n, bands, channels) -> (n, view * bands)."""
    return features[:, :, list(view)].transpose(0, 2, 1).reshape(len(features), -1)


def whitening(flat: npt.NDArray[np.float32], config: Config) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The projection of a view on principal components of its training rows.

    Bands are almost collinear, so gradient descent on them crawls along a few directions; scores
    divided by a power of their SD are not. With exponent 1 all scores have variance 1; below it,
    later components count for less. The mean variance is 1 in any case.

    Args:
        flat: (n, bands of the view) of the training rows.

    Returns:
        Kernel (bands of the view, components) and bias (components,): scores = flat @ kernel + bias.
    """
    components = min(config.front_end.whitened_components, len(flat) - 1, flat.shape[1])
    pca = PCA(components, random_state=config.training.seed).fit(flat)
    sd = np.sqrt(pca.explained_variance_)
    # Components without variance (duplicated spectra, fewer soils than components) must not be
    # blown up.
    scale = np.where(sd > 1e-6 * sd[0], sd, np.inf) ** -config.front_end.whitening_exponent
    scale /= np.sqrt(np.mean((sd * scale) ** 2))
    kernel = pca.components_.T * scale
    # Bands are standardised on these very rows: what their means differ from 0 is rounding, and a device file without
    # it is an operator shorter.
    mean = np.where(np.abs(pca.mean_) < ROUNDING, 0.0, pca.mean_)
    return kernel.astype("float32"), (-mean @ kernel + 0.0).astype("float32")
