"""The presets: functions that return a Config. Imports no Keras."""

from collections.abc import Callable

from relple_tf.config import Config, replace


def rs_ple_base() -> Config:
    """The default, for LiteRT devices: two levels, one expert per target and one shared expert, three views."""
    return Config(preset="rs_ple_base")


def rs_ple_small() -> Config:
    """For a microcontroller with 212 KiB of flash and 68 KiB of memory free: one level, one view, fewer landmarks."""
    return replace(
        Config(preset="rs_ple_small"),
        front_end__channels=("snv_d1",),
        front_end__views=(),
        front_end__robust_views=("d2_snv",),
        front_end__whitened_components=30,
        model__levels=1,
        model__basis_units=96,
        model__landmarks=256,
    )


def rs_ple_nano() -> Config:
    """For half the flash of `rs_ple_small`: one level of small convolution experts, one view without random basis."""
    return replace(
        Config(preset="rs_ple_nano"),
        front_end__channels=("snv_d1",),
        front_end__views=(),
        front_end__robust_views=("d2_snv",),
        front_end__whitened_components=20,
        model__levels=1,
        model__expert_kind="cnn",
        model__conv_filters=(8, 16),
        model__conv_kernel=5,
        model__lstm_units=8,
        model__expert_units=16,
        model__tower_units=8,
        model__basis_units=0,
        model__landmarks=96,
    )


def rs_ple_large() -> Config:
    """For a phone or a server: a 4 nm grid, more and wider experts, a fourth view, a stem per expert."""
    return replace(
        Config(preset="rs_ple_large"),
        front_end__step_nm=4.0,
        front_end__channels=("absorbance", "snv_d1", "d1", "snv_d2", "snv"),
        front_end__views=("absorbance+snv_d1", "d1", "snv_d2", "snv"),
        model__task_experts=2,
        model__shared_experts=2,
        model__stem="per_expert",
        model__conv_filters=(16, 32, 48, 48),
        model__lstm_units=24,
        model__expert_units=64,
        model__tower_units=32,
        model__basis_units=512,
        model__landmarks=1536,
    )


def _base(architecture: str) -> Config:
    return replace(Config(preset=f"{architecture}_base"), model__architecture=architecture)


def single_task_base() -> Config:
    """One CNN-LSTM-attention network per target, the comparison of the RS-PLE paper; sizes of `rs_ple_base`."""
    return _base("single_task")


def shared_bottom_base() -> Config:
    """One expert for all targets; sizes of `rs_ple_base`."""
    return _base("shared_bottom")


def mmoe_base() -> Config:
    """Multi-gate mixture of experts, with as many experts as a level of `rs_ple_base`."""
    return _base("mmoe")


def cgc_base() -> Config:
    """`ple_base` with a single level, the ablation of the PLE paper."""
    return _base("cgc")


def ple_base() -> Config:
    """`rs_ple_base` without relevance sharing."""
    return _base("ple")


PRESETS: dict[str, Callable[[], Config]] = {
    preset.__name__: preset
    for preset in (
        rs_ple_nano,
        rs_ple_small,
        rs_ple_base,
        rs_ple_large,
        single_task_base,
        shared_bottom_base,
        mmoe_base,
        cgc_base,
        ple_base,
    )
}
"""Name on the command line -> function."""


def presets() -> dict[str, str]:
    """Name of every preset -> the first line of its description."""
    return {name: (preset.__doc__ or name).splitlines()[0] for name, preset in PRESETS.items()}
