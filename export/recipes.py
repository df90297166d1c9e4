"""Recipes: named ways to make a device file, each with tolerances. Imports are light, so names are checked fast."""

from dataclasses import dataclass

from relple_tf.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a device file of the deployed model is made, and its tolerances."""

    name: str
    description: str
    """One sentence for the card."""
    language: str = "tflite"
    """`tflite`: a file for LiteRT or TFLM; `c`: C99 source, generated from the operators of the recipe float32."""
    lstm_form: str = "fused"
    """`fused`: one LSTM operator; `unrolled`: plain operators, for runtimes without the LSTM operator."""
    weights: str = "float32"
    """Type of the network's weights: float32, float16 or int8; in C, int16: matrices with a scale for each row."""
    activations: str = "float32"
    """Type of the network's activations: float32, int8 or int16. The front end, the domain statistics, the kernel
    regression and the inverse target scaling stay float32."""
    compression: tuple[str, ...] = ()
    """Compression steps in order: pruned, clustered, qat (quantisation-aware training)."""
    largest_error: float
    """Tolerance: largest difference from Keras of any test scan, in SDs of the target's test values."""
    largest_r2_loss: float
    """Tolerance: largest loss of R2 on the test part, for every target."""

    @property
    def is_quantised(self) -> bool:
        """Whether activations are integers; the converter then needs representative scans."""
        return self.activations != "float32"


_ALL = (
    Recipe(
        name="float32",
        description="The trained weights without change.",
        largest_error=3e-3,
        largest_r2_loss=1e-3,
    ),
    Recipe(
        name="float32_unrolled",
        description="The trained weights, LSTM unrolled: for CompiledModel and browsers.",
        lstm_form="unrolled",
        largest_error=3e-3,
        largest_r2_loss=1e-3,
    ),
    Recipe(
        name="float16",
        description="Weights in half precision; computes in float32.",
        weights="float16",
        largest_error=0.02,
        largest_r2_loss=2e-3,
    ),
    Recipe(
        name="dynamic_int8",
        description="8-bit weights; activations are quantised during inference. Not for TFLM.",
        weights="int8",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    Recipe(
        name="int8",
        description="8-bit network; front end, kernel regression and target scaling in float32.",
        weights="int8",
        activations="int8",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    Recipe(
        name="int16x8",
        description="8-bit weights, 16-bit activations, LSTM unrolled.",
        lstm_form="unrolled",
        weights="int8",
        activations="int16",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    *(
        Recipe(
            name="_".join(("int8", *steps)),
            description=f"As int8, from weights that {treatment}.",
            weights="int8",
            activations="int8",
            compression=steps,
            largest_error=1.0,
            largest_r2_loss=0.03,
        )
        for steps, treatment in (
            (("pruned",), "are pruned"),
            (("clustered",), "are clustered"),
            (("qat",), "were trained further with 8-bit rounding"),
            (("pruned", "clustered"), "are pruned and clustered"),
        )
    ),
    Recipe(
        name="c99",
        description="C99 source, float tables: needs a C compiler and no runtime.",
        language="c",
        largest_error=3e-3,
        largest_r2_loss=1e-3,
    ),
    Recipe(
        name="c99_int16",
        description="As c99, with tables in 16 bits: for microcontrollers.",
        language="c",
        weights="int16",
        largest_error=0.05,
        largest_r2_loss=5e-3,
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""Name -> recipe."""

DEFAULT = ("float32", "int8", "c99", "c99_int16")
"""Recipes that are made if the command names none."""


def parse_recipes(names: str) -> tuple[Recipe, ...]:
    """Recipes that the command names, in the given order.

    Args:
        names: Names separated by commas; empty is DEFAULT, `all` is every recipe.

    Raises:
        InputError: a name is unknown or repeated, or no recipe makes a .tflite, which soil_scan.py runs.
    """
    requested = [name.strip() for name in names.split(",") if name.strip()] or list(DEFAULT)
    if requested == ["all"]:
        return _ALL
    for name in requested:
        if name not in RECIPES:
            raise InputError(f"--recipes {name} is unknown; choose from {', '.join(RECIPES)}, or all")
        if requested.count(name) > 1:
            raise InputError(f"--recipes names {name} more than once; name it once")
    if all(RECIPES[name].language == "c" for name in requested):
        raise InputError(f"--recipes {names}: expected a .tflite too, received C recipes only; add float32")
    return tuple(RECIPES[name] for name in requested)
