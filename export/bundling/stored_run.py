"""A finished run, read for export: the model, and the soils that it was trained and tested on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.artefacts.reading import LARGEST_JSON_BYTES, read_bytes, readable
from relple_tf.config import Config
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, KernelPart, LocalPart, Q
from relple_tf.models.domain import DomainStatistics, Limits
from relple_tf.models.instrument import without_transfers
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.robust_views import usable_views
from relple_tf.models.target_scaling import InverseTargetScaling, TargetScale
from relple_tf.prediction.runs import estimates
from relple_tf.runs.card_schema import CARD, run_card
from relple_tf.runs.folder import CONFIG, REMEDY, RunFolder, read_config
from relple_tf.runs.model_loading import load_model
from relple_tf.runs.stored_data import DATA, load_data

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRun:
    """Input of an export. Scans are (n, bands), in the quantity and on the bands that the model reads."""

    folder: Path
    card: dict[str, Any]
    """card.json of the run."""
    config: Config
    model: keras.Model
    """The deployed model: raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, T2, Q: (batch, 1)}."""
    train_scans: Floats
    """(n_train, bands); quantisation ranges and compression use only these scans."""
    train_ids: npt.NDArray[np.str_]
    """(n_train,)."""
    train_values: dict[str, npt.NDArray[np.float64]]
    """Target -> (n_train,) laboratory values, NaN where not measured."""
    test_scans: Floats
    """(n_test, bands)."""
    test_ids: npt.NDArray[np.str_]
    """(n_test,)."""
    test_values: dict[str, npt.NDArray[np.float64]]
    """Target -> (n_test,) laboratory values, NaN where not measured."""
    test_outputs: dict[str, Floats]
    """Output of the Keras model for `test_scans`: every target, T2, Q -> (n_test,)."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets with units, in the order of the outputs."""
        return tuple(self.card["targets"])

    @property
    def absorbance_stage(self) -> keras.Model:
        """(batch, bands) scan -> (batch, grid) absorbance."""
        return self.model.get_layer("absorbance_stage")

    @property
    def channel_stage(self) -> keras.Model:
        """(batch, grid) absorbance -> (batch, bands, channels) features."""
        return self.model.get_layer("channel_stage")

    @cached_property
    def network(self) -> keras.Model:
        """Features -> {target: (batch, 1)} in standard deviations; shares its layers with `model`."""
        full = self._network_with_projections
        return keras.Model(full.input, full.output[0], name=full.name)

    @cached_property
    def projections(self) -> keras.Model:
        """Features -> bands (batch, n) of the first view, and a list of scores (batch, components) of each view."""
        full = self._network_with_projections
        _, bands, scores = full.output
        return keras.Model(full.input, (bands, list(scores)), name="near")

    @cached_property
    def kernels(self) -> KernelPart:
        """The kernel regressions, which are added to the output of the network."""
        return KernelPart.of(self.model)

    @cached_property
    def local(self) -> tuple[LocalPart, ...]:
        """The adaptations to local soils, in the order in which they act."""
        return LocalPart.all_of(self.model)

    @property
    def _network_with_projections(self) -> keras.Model:
        return self.model.get_layer(self.config.model.architecture)

    @property
    def domain_statistics(self) -> DomainStatistics:
        """Bands and scores of the first view -> T2 and Q."""
        layer: DomainStatistics = self.model.get_layer("domain_statistics")
        return layer

    @property
    def target_scaling(self) -> InverseTargetScaling:
        """(batch, targets) standard deviations -> laboratory units."""
        layer: InverseTargetScaling = self.model.get_layer("target_scaling")
        return layer

    @property
    def scales(self) -> dict[str, TargetScale]:
        """Target -> the scale on which it is modelled."""
        return {scale.name: scale for scale in self.target_scaling.scales}

    @property
    def spec(self) -> NetworkSpec:
        """Specification of the network: with the config, it determines the architecture."""
        _, bands, channels = self.channel_stage.output.shape
        return NetworkSpec(
            bands=bands,
            channels=channels,
            components=self.card["front_end"]["whitened_components"],
            views=self.config.front_end.viewed_channels(),
            targets=self.targets,
            correlation=np.array(self.card["relevance"]["correlation"]),
        )

    @property
    def limits(self) -> Limits:
        """The limits of T2 and Q; a scan above a limit is `outside`."""
        domain = self.card["domain"]
        return Limits(t2=domain["limits"][T2], q=domain["limits"][Q], share=domain["share_within"])

    def features(self, scans: Floats) -> Floats:
        """Features of scans, the input of the network: (n, bands) -> (n, bands, channels)."""
        return front_end.apply(self.channel_stage, front_end.apply(self.absorbance_stage, scans))

    def library_features(self, scans: Floats) -> Floats:
        """Features of scans (n, bands) of the training part, whose instrument needs no transfer, likewise."""
        stage = without_transfers(self.absorbance_stage)
        return front_end.apply(self.channel_stage, front_end.apply(stage, scans))

    def outputs(self, scans: Floats) -> dict[str, Floats]:
        """Output of the Keras model for scans (n, bands): every target in laboratory units, T2, Q -> (n,)."""
        return estimates(self.model, scans)


def load(run_folder: Path) -> StoredRun:
    """Read a finished run and its stored data.

    Raises:
        InputError: the folder is not a finished run, was changed, or does not hold its data.
    """
    folder = RunFolder(path=run_folder)
    folder.verify()
    card = run_card(read_bytes(run_folder / CARD, REMEDY, LARGEST_JSON_BYTES), run_folder / CARD)
    config = read_config(run_folder / CONFIG)
    library, parts = load_data(run_folder / DATA)
    train, test = parts == "train", parts == "test"
    model = load_model(run_folder / "model.keras", card)
    trained = StoredRun(
        folder=run_folder,
        card=card,
        config=config,
        model=model,
        train_scans=library.spectra[train],
        train_ids=library.ids[train],
        train_values={name: values[train] for name, values in library.targets.items()},
        test_scans=library.spectra[test],
        test_ids=library.ids[test],
        test_values={name: values[test] for name, values in library.targets.items()},
        test_outputs=estimates(model, library.spectra[test]),
    )
    check_parts(trained)
    return trained


def check_parts(trained: StoredRun) -> None:
    """Compare the model of a run with its config and card, layer by layer.

    Raises:
        InputError: a layer is missing, or differs from config or card.
    """
    path, config, card = trained.folder / "model.keras", trained.config, trained.card
    with readable(path, REMEDY):
        spec, (_, scores) = trained.spec, trained.projections.output
        grid = trained.absorbance_stage.output.shape[1]
        scan_bands, quantity = len(card["input"]["wavelengths_nm"]), card["input"]["quantity"]
        robust = usable_views(scan_bands, grid, quantity, config.front_end)
        compared = {
            "architecture": (config.model.architecture, card["model"]["architecture"]),
            "channels": (config.front_end.channels, tuple(card["front_end"]["channels"])),
            "number of channels": (spec.channels, len(config.front_end.channels)),
            "grid": (grid, len(card["front_end"]["grid_nm"])),
            "components of the views": ([score.shape[1] for score in scores], [spec.components] * len(spec.views)),
            "outputs of the network": (set(trained.network.output), set(trained.targets)),
            "targets in laboratory units": (tuple(trained.scales), trained.targets),
            "targets of the kernel regression": (trained.kernels.regression.targets, trained.targets),
            "robust views": (trained.kernels.count_robust_views(), len(robust)),
            "layer of the domain statistics": (type(trained.domain_statistics), DomainStatistics),
        }
        for what, (received, expected) in compared.items():
            if received != expected:
                raise ValueError(f"{what}: expected {expected}, received {received}")
