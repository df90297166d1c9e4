"""Config: the frozen settings of a run. Imports no Keras and no NumPy, because `--help` imports it."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relple_tf.errors import InputError

ARCHITECTURES = ("single_task", "shared_bottom", "mmoe", "cgc", "ple", "rs_ple")
EXPERT_KINDS = ("cnn", "lstm", "attention", "cnn_lstm_attention")
BALANCINGS = (
    "equal",
    "uncertainty",
    "revised_uncertainty",
    "ple_schedule",
    "dwa",
    "rlw",
    "geometric",
    "imtl_l",
    "famo",
    "gradnorm",
)
BASELINE_NAMES = ("plsr", "svr", "gaussian_process", "extra_trees", "cubist", "tabpfn", "tabicl")
CHANNELS = ("absorbance", "d1", "d2", "snv", "snv_d1", "snv_d2")
ROBUST_VIEWS = ("d2_snv", "detrended", "detrended_d1")
REPLICATES = ("keep", "average")
SAMPLES = ("auto", "id")
BAD_SCANS = ("drop", "refuse")
BELOW_DETECTION = ("drop", "half")
SCHEMES = ("repeated", "cross_validation")
SPLITS = ("auto", "given", "random", "group", "kennard_stone", "spxy")


def _one_of(section: str, name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{section}.{name}: expected one of {', '.join(choices)}; received {value!r}")


def _within(section: str, name: str, value: float, low: float, high: float = float("inf")) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        bound = f"at least {low:g}" if high == float("inf") else f"a value between {low:g} and {high:g}"
        raise InputError(f"{section}.{name}: expected {bound}; received {value:g}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Spectra and targets of a run."""

    source: str = "limesoda"
    """`limesoda`, `simulated`, or the path of a table, an instrument file or a folder of scans."""
    lab: str = ""
    """Table of laboratory values, joined to the scans by the name of the sample; empty: the source contains them."""
    targets: tuple[str, ...] = ()
    """Names with units (`OC_g_kg`); empty selects every known target that the source contains."""
    quantity: str = "auto"
    """`reflectance` (0..1), `absorbance` (log10(1/R)), or `auto`: detected from the water band, and logged."""
    scale: float = 0.0
    """Divisor of the numbers of the source: 100 for reflectance in percent, 10000 for 0..10000; 0 detects 1 and 100."""
    bad_scans: str = "drop"
    """A scan that cannot be a soil: `drop` it by name, up to 5 % of the rows, or `refuse` the source."""
    id_column: str = ""
    """Column of sample ids; empty searches for a known name, else numbers the rows."""
    group_column: str = ""
    """Column of groups (fields, profiles or sites) that no split divides; empty searches for a known name."""
    minimum_values: int = 20
    """Smallest number of measured values with which a target is modelled."""
    replicates: str = "keep"
    """Scans of one id: `keep` each as a row, all in the same part of a split, or `average` them to one row."""
    samples: str = "auto"
    """Rows that are scans of one sample: `auto` links equal ids, names with a scan number (`S1_1`, `S1_2`), and rows
    with equal laboratory values and nearly equal spectra; `id` links equal ids only."""
    below_detection: str = "drop"
    """A value such as `< 0.5`: `drop` counts it as not measured, `half` takes half of the limit of detection. Negative
    contents near zero are such values too; `half` takes 0 for them."""
    sensor: str = ""
    """Sensor whose grid, resolution and quantity the model reads: name of a profile or path of a TOML file; empty keeps
    those of the library."""

    def __post_init__(self) -> None:
        _one_of("data", "quantity", self.quantity, ("auto", "reflectance", "absorbance"))
        _within("data", "minimum_values", self.minimum_values, 10)
        if self.scale:
            _within("data", "scale", self.scale, 1e-6, 1e6)
        _one_of("data", "bad_scans", self.bad_scans, BAD_SCANS)
        _one_of("data", "replicates", self.replicates, REPLICATES)
        _one_of("data", "samples", self.samples, SAMPLES)
        _one_of("data", "below_detection", self.below_detection, BELOW_DETECTION)
        if self.sensor != self.sensor.strip():
            raise InputError(f"data.sensor: expected a name without blanks around it, received {self.sensor!r}")


@dataclass(frozen=True, kw_only=True)
class SimulatedConfig:
    """Spectra of the source `simulated`; ignored for other sources."""

    soils: int = 1500
    """Number of soils."""
    start_nm: float = 1100.0
    """First wavelength, in nm."""
    stop_nm: float = 2498.0
    """Last wavelength, in nm."""
    step_nm: float = 2.0
    """Distance between bands, in nm."""
    missing: float = 0.0
    """Fraction of laboratory values removed at random, 0..0.9."""
    seed: int = 0
    """Seed of the soils; the seed of the run does not change them."""

    def __post_init__(self) -> None:
        _within("simulated", "soils", self.soils, 1, 1_000_000)
        _within("simulated", "seed", self.seed, 0)
        _within("simulated", "start_nm", self.start_nm, 350, 2500)
        _within("simulated", "stop_nm", self.stop_nm, 350, 2500)
        _within("simulated", "step_nm", self.step_nm, 0.1, 50)
        _within("simulated", "missing", self.missing, 0, 0.9)
        if self.stop_nm - self.start_nm < 10 * self.step_nm:
            raise InputError(f"simulated.stop_nm: expected at least 10 bands above start_nm, received {self.stop_nm:g}")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Division of the rows into training, validation and test part."""

    method: str = "auto"
    """`given` (declared by the data), `random`, `group` (as `random`, refused without groups), `kennard_stone`, `spxy`;
    `auto` is `given` where the data declare a split, else `random`. No method divides groups or replicate scans."""
    test: float = 0.2
    """Fraction of the rows in the test part."""
    validation: float = 0.15
    """Fraction of the rows in the validation part, which early stopping monitors."""
    file: str = ""
    """A table with an id column and a `split`, `part` or `train` column, used instead of a column of the data."""
    within_groups: bool = False
    """Divide groups between the parts: scores are then valid for more soils of the same fields, not for a new field."""
    block_km: float = 0.0
    """Edge of the spatial blocks that no split divides, in km; 0 makes no blocks. Needs coordinates."""

    def __post_init__(self) -> None:
        _one_of("split", "method", self.method, SPLITS)
        _within("split", "test", self.test, 0.02, 0.6)
        _within("split", "validation", self.validation, 0.02, 0.5)
        if self.block_km:
            _within("split", "block_km", self.block_km, 0.001, 10_000)
        if self.test + self.validation > 0.8:
            raise InputError(
                "split.test + split.validation: expected at most 0.8, to leave 0.2 to train; "
                f"received {self.test + self.validation:g}"
            )


@dataclass(frozen=True, kw_only=True)
class FrontEndConfig:
    """Preprocessing from a scan to the features of the network."""

    start_nm: float = 0.0
    """First wavelength of the model's grid, in nm; 0 is that of the library."""
    stop_nm: float = 0.0
    """Last wavelength of the model's grid, in nm; 0 is that of the library."""
    step_nm: float = 8.0
    """Distance between bands of the model's grid, in nm."""
    channels: tuple[str, ...] = ("absorbance", "snv_d1", "d1", "snv_d2")
    """Any of absorbance, d1, d2, snv, snv_d1, snv_d2 (d: Savitzky-Golay derivative of that order, per nm)."""
    views: tuple[str, ...] = ("absorbance+snv_d1", "d1", "snv_d2")
    """Each view is the channels, joined by +, that are projected on principal components together; empty is one view of
    all channels."""
    robust_views: tuple[str, ...] = ROBUST_VIEWS
    """Views that a tilt, curvature or gain of a scan hardly changes; only kernel regressions read them. d2_snv: SNV of
    a wide second derivative; detrended: SNV of the spectrum without its local trend; detrended_d1: its derivative. A
    scan is outside the domain if the kernel regressions of `views` and of these disagree. Empty: no such check."""
    derivative_window_nm: float = 28.0
    """Width of the Savitzky-Golay window, in nm."""
    derivative_polynomial: int = 2
    """Order of the Savitzky-Golay polynomial."""
    whitened_components: int = 60
    """Largest number of principal components of each view; limited by the number of training rows."""
    whitening_exponent: float = 0.5
    """Scores that experts and gates read are divided by their SD to this power: 1 whitens fully, 0 only rotates."""

    def viewed_channels(self) -> tuple[tuple[int, ...], ...]:
        """Return the views as indices of `channels`."""
        views = self.views or ("+".join(self.channels),)
        return tuple(tuple(self.channels.index(channel) for channel in view.split("+")) for view in views)

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError(f"front_end.channels: expected any of {', '.join(CHANNELS)}; received an empty list")
        for channel in self.channels:
            _one_of("front_end", "channels", channel, CHANNELS)
        if len(set(self.channels)) != len(self.channels):
            raise InputError(f"front_end.channels: expected each channel once; received {', '.join(self.channels)}")
        for view in self.views:
            for channel in view.split("+"):
                if channel not in self.channels:
                    raise InputError(
                        f"front_end.views: expected channels of front_end.channels ({', '.join(self.channels)}), "
                        f"received {channel!r} in {view!r}; change both, or make one view of all with "
                        "--set front_end.views="
                    )
        for view in self.robust_views:
            _one_of("front_end", "robust_views", view, ROBUST_VIEWS)
        if len(set(self.robust_views)) != len(self.robust_views):
            raise InputError(
                f"front_end.robust_views: expected each view once; received {', '.join(self.robust_views)}"
            )
        _within("front_end", "start_nm", self.start_nm, 0)
        _within("front_end", "stop_nm", self.stop_nm, 0)
        _within("front_end", "step_nm", self.step_nm, 0.1, 50)
        _within("front_end", "derivative_polynomial", self.derivative_polynomial, 2, 5)
        _within("front_end", "derivative_window_nm", self.derivative_window_nm, 1, 300)
        _within("front_end", "whitened_components", self.whitened_components, 1, 400)
        _within("front_end", "whitening_exponent", self.whitening_exponent, 0, 1)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network between front end and target scaling."""

    architecture: str = "rs_ple"
    """One of ARCHITECTURES."""
    levels: int = 2
    """Extraction levels below the towers, for ple and rs_ple; 1 is CGC."""
    task_experts: int = 1
    """Task-specific experts per target and level; mmoe adds as many shared experts instead."""
    shared_experts: int = 1
    """Shared experts per level."""
    expert_kind: str = "cnn_lstm_attention"
    """Kind of the experts of level 1, one of EXPERT_KINDS; experts of deeper levels are dense."""
    expert_units: int = 32
    """Width of an expert's output."""
    stem: str = "shared"
    """`shared`: one convolution stem for all level-1 experts; `per_expert`: a stem for each."""
    conv_filters: tuple[int, ...] = (16, 32, 32, 32)
    """Filters of the convolution blocks, one per block; each block halves the sequence."""
    conv_kernel: int = 7
    """Width of a convolution kernel, in steps of the sequence that it reads."""
    lstm_units: int = 16
    """Units of the LSTM of each expert."""
    lstm_form: str = "fused"
    """`fused`: one recurrent operator; `unrolled`: basic operators, for runtimes without it. Same weights."""
    tower_units: int = 16
    """Hidden units of a target's tower."""
    basis_units: int = 256
    """Random tanh features of each view's scores that the heads read in addition; 0 is none."""
    landmarks: int = 768
    """Largest number of training soils with which the kernel regression compares a scan."""
    dropout: float = 0.1
    """Fraction of expert outputs dropped in training."""
    relevance: str = "hard"
    """rs_ple: `hard` reads experts of targets with |r| >= tau; `soft` reads all and adds beta*log|r| to the logits."""
    relevance_tau: float = 0.6
    """Threshold on |Pearson r| of two targets; above 1 is PLE, 0 reads the experts of every target."""
    relevance_beta: float = 1.0
    """Weight of log|r| in the soft form."""

    def __post_init__(self) -> None:
        _one_of("model", "architecture", self.architecture, ARCHITECTURES)
        _one_of("model", "expert_kind", self.expert_kind, EXPERT_KINDS)
        _one_of("model", "stem", self.stem, ("shared", "per_expert"))
        _one_of("model", "lstm_form", self.lstm_form, ("fused", "unrolled"))
        _one_of("model", "relevance", self.relevance, ("hard", "soft"))
        for name in ("levels", "expert_units", "conv_kernel", "lstm_units", "tower_units"):
            _within("model", name, getattr(self, name), 1, 4096)
        _within("model", "task_experts", self.task_experts, 0, 64)
        _within("model", "shared_experts", self.shared_experts, 0, 64)
        _within("model", "basis_units", self.basis_units, 0, 16384)
        _within("model", "landmarks", self.landmarks, 1, 16384)
        if self.task_experts + self.shared_experts == 0:
            raise InputError("model.task_experts, model.shared_experts: expected at least one above 0; received both 0")
        if not self.conv_filters or min(self.conv_filters) < 1:
            raise InputError(f"model.conv_filters: expected positive numbers; received {list(self.conv_filters)}")
        _within("model", "dropout", self.dropout, 0, 0.9)
        _within("model", "relevance_tau", self.relevance_tau, 0, 2)
        _within("model", "relevance_beta", self.relevance_beta, 0, 100)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Optimisation and joint loss."""

    seed: int = 0
    """Seed of split, initialisation, batches, dropout and augmentation."""
    cv_folds: int = 4
    """Cross-validation folds of the development set; each fold trains a network. The out-of-fold predictions determine
    stacking weights and intervals, and the final network also learns from the validation rows. 0 trains a single
    network, stopped by the validation rows."""
    workers: int = 0
    """Parallel processes for the networks of the folds; 0 is one per core."""
    max_epochs: int = 60
    """Largest number of passes over the training rows."""
    max_steps: int = 6000
    """Largest number of optimiser steps; large libraries reach it before max_epochs."""
    patience: int = 40
    """Epochs without a better validation score after which training stops; only with cv_folds 0."""
    batch_size: int = 64
    """Rows per optimiser step."""
    learning_rate: float = 0.003
    """Peak of the schedule: linear warm-up over 5 % of the steps, then cosine decay to 1 % of the peak."""
    weight_decay: float = 0.01
    """Decoupled weight decay (AdamW)."""
    huber_delta: float = 0.0
    """Errors above this many standard deviations count linearly; 0 is the squared error."""
    balancing: str = "uncertainty"
    """Strategy that weighs the targets in the joint loss, one of BALANCINGS."""
    callbacks: tuple[str, ...] = ()
    """Functions `package.module:function` without arguments, each of which returns a Keras callback for the training of
    the final network. They run code: name only modules that you trust."""
    tensorboard: bool = False
    """Also write TensorBoard logs to the run folder; needs the extra `tensorboard`."""
    schedule_start: tuple[float, ...] = ()
    """ple_schedule: first weight of each target; empty is 1."""
    schedule_decay: tuple[float, ...] = ()
    """ple_schedule: factor per epoch of each target; empty is 0.99."""
    dwa_temperature: float = 2.0
    """dwa: above 1 makes the weights more equal (Liu 2019)."""
    gradnorm_alpha: float = 1.5
    """gradnorm: strength of the pull towards equal training rates (Chen 2018)."""
    famo_learning_rate: float = 0.025
    """famo: step of the logits (Liu 2023)."""
    famo_weight_decay: float = 0.01
    """famo: decay of the logits (Liu 2023)."""

    def __post_init__(self) -> None:
        _one_of("training", "balancing", self.balancing, BALANCINGS)
        if self.cv_folds != 0:
            _within("training", "cv_folds", self.cv_folds, 2, 50)
        _within("training", "workers", self.workers, 0, 1024)
        for name in ("max_epochs", "max_steps", "patience", "batch_size"):
            _within("training", name, getattr(self, name), 1)
        _within("training", "seed", self.seed, 0, 2**31 - 1)
        _within("training", "learning_rate", self.learning_rate, 1e-7, 1)
        _within("training", "weight_decay", self.weight_decay, 0, 10)
        _within("training", "huber_delta", self.huber_delta, 0, 100)
        _within("training", "dwa_temperature", self.dwa_temperature, 0.01)
        _within("training", "gradnorm_alpha", self.gradnorm_alpha, 0)
        _within("training", "famo_learning_rate", self.famo_learning_rate, 0)
        _within("training", "famo_weight_decay", self.famo_weight_decay, 0)
        for value in (*self.schedule_start, *self.schedule_decay):
            _within("training", "schedule_start/schedule_decay", value, 0)


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random distortions of the training spectra, in absorbance, new for every batch; 0 switches a distortion off.

    All are off by default: on more soils of the same instrument they reduce accuracy (docs/ablation.md). The values in
    brackets are those measured there, a start for scans that vary more than the library.
    """

    noise: float = 0.0
    """SD of white noise per band, in absorbance (0.0002)."""
    offset: float = 0.0
    """SD of a constant added to a spectrum: gloss, distance to the soil (0.02)."""
    slope: float = 0.0
    """SD of a tilt, from one end of the range to the other (0.02)."""
    scatter: float = 0.0
    """SD of the logarithm of a factor on a spectrum: path length (0.03)."""
    shift_nm: float = 0.0
    """SD of a shift of the wavelength axis, in nm (0.5)."""

    def __post_init__(self) -> None:
        for name in ("noise", "offset", "slope", "scatter"):
            _within("augmentation", name, getattr(self, name), 0, 1)
        _within("augmentation", "shift_nm", self.shift_nm, 0, 20)


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """Repeats of `relple_tf.compare`; ignored by other commands."""

    scheme: str = "repeated"
    """`repeated`: a random test part in each repeat; `cross_validation`: each repeat tests every row once, in folds."""
    folds: int = 5
    """Folds of a repeat of cross_validation; no fold divides a sample, nor a group unless split.within_groups."""
    sizes: tuple[int, ...] = ()
    """Sizes of the development set, selected by seed from rows that are not test; empty uses all rows, several sizes
    make a learning curve."""
    workers: int = 0
    """Parallel processes; 0 is one per core."""

    def __post_init__(self) -> None:
        _one_of("comparison", "scheme", self.scheme, SCHEMES)
        _within("comparison", "folds", self.folds, 2, 100)
        _within("comparison", "workers", self.workers, 0, 1024)
        for size in self.sizes:
            _within("comparison", "sizes", size, 10)
        if len(set(self.sizes)) != len(self.sizes):
            raise InputError(f"comparison.sizes: expected each size once; received {', '.join(map(str, self.sizes))}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Content of the run folder."""

    keep_data: bool = True
    """Whether spectra, laboratory values, ids and groups are stored in the folder. Export needs them; use `false` where
    data must not leave the computer."""


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """Largest input that is read; larger input is refused before it fills the memory."""

    table_gb: float = 16.0
    """Size of a table after unpacking, in GB (10^9 bytes); LUCAS (19,036 x 4,200) as CSV has less than 1."""
    table_unpacking: float = 50.0
    """Ratio of unpacked to packed size of a gzip or Parquet table that unpacks to more than 0.1 GB; tables of spectra
    have 2 to 7, a gzip bomb 1000."""
    table_rows: int = 2_000_000
    """Rows of a table; in a CSV the lines, including blank lines. The ids of all rows are kept in memory."""
    table_columns: int = 50_000
    """Columns of a table; LUCAS has about 4,200."""
    table_row_characters: int = 4_000_000
    """Characters of a row of a CSV, including the header; 50,000 columns of 20 characters are 1,000,000."""

    def __post_init__(self) -> None:
        _within("limits", "table_gb", self.table_gb, 1e-6)
        _within("limits", "table_unpacking", self.table_unpacking, 1)
        for name in ("table_rows", "table_columns", "table_row_characters"):
            _within("limits", name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a run, in sections."""

    preset: str = "rs_ple_base"
    """Name of the preset that the config was derived from, for the record."""
    data: DataConfig = field(default_factory=DataConfig)
    simulated: SimulatedConfig = field(default_factory=SimulatedConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    front_end: FrontEndConfig = field(default_factory=FrontEndConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    run: RunConfig = field(default_factory=RunConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        if self.model.architecture == "single_task" and self.training.balancing == "gradnorm":
            raise InputError("training.balancing: gradnorm needs a layer that targets share; single_task has none")


def sections() -> dict[str, Any]:
    """Return {section name: dataclass of the section}."""
    hints = typing.get_type_hints(Config)
    return {name: hint for name, hint in hints.items() if name != "preset"}


def replace(config: Config, **changes: object) -> Config:
    """Return `config` with fields changed, addressed as `section__field`: `replace(config, model__levels=1)`."""
    nested: dict[str, dict[str, object]] = {}
    for path, value in changes.items():
        section, _, name = path.partition("__")
        nested.setdefault(section, {})[name] = value
    return changed(config, nested)


def changed(config: Config, changes: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return `config` with fields changed; each section, and then the whole config, is checked once."""
    parts = {section: dataclasses.replace(getattr(config, section), **fields) for section, fields in changes.items()}
    return dataclasses.replace(config, **parts)
