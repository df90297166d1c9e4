"""Named ways to make a device file, each with a promise. No heavy imports: a command checks names before it waits."""

from dataclasses import dataclass

from relple_tf.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one .tflite is made, and what it may cost."""

    name: str
    description: str
    """One sentence for the card."""
    reads: str = "scan"
    """`scan`: the file holds the whole graph, raw scan in, laboratory units, T2 and Q out, all float32.
    `features_int8`: the file holds the network only, int8 features in, int8 standard deviations out."""
    lstm_form: str = "fused"
    """`fused`: one recurrent operator; `unrolled`: plain operators, for runtimes that refuse it."""
    weights: str = "float32"
    """How the network's weights are kept: float32, float16 or int8."""
    activations: str = "float32"
    """How the network computes: float32, int8 or int16; front end, distances and unit conversion stay float32."""
    compression: tuple[str, ...] = ()
    """What is done to the weights first, in this order: pruned, clustered, qat (quantisation-aware training)."""
    largest_error: float
    """Promise: no test scan differs from Keras by more than this many SDs of the target's test values."""
    largest_r2_loss: float
    """Promise: R2 on the test part falls by this much at most, for every target."""

    @property
    def is_quantised(self) -> bool:
        """Whether activations are integers, which needs representative scans."""
        return self.activations != "float32"


_ALL = (
    Recipe(
        name="float32",
        description="The trained weights as they are.",
        largest_error=3e-3,
        largest_r2_loss=1e-3,
    ),
    Recipe(
        name="float32_unrolled",
        description="The trained weights, recurrence unrolled: for CompiledModel and browsers.",
        lstm_form="unrolled",
        largest_error=3e-3,
        largest_r2_loss=1e-3,
    ),
    Recipe(
        name="float16",
        description="Weights in half precision, computed in float32.",
        weights="float16",
        largest_error=0.02,
        largest_r2_loss=2e-3,
    ),
    Recipe(
        name="dynamic_int8",
        description="8-bit weights; activations are quantised while computing. Not for TFLM.",
        weights="int8",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    Recipe(
        name="int8",
        description="An 8-bit network between a float front end and float unit conversion.",
        weights="int8",
        activations="int8",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    Recipe(
        name="int8_core",
        description="The 8-bit network alone, for integer devices that compute the front end themselves.",
        reads="features_int8",
        weights="int8",
        activations="int8",
        largest_error=0.6,
        largest_r2_loss=0.02,
    ),
    Recipe(
        name="int16x8",
        description="8-bit weights, 16-bit activations, recurrence unrolled.",
        lstm_form="unrolled",
        weights="int8",
        activations="int16",
        largest_error=0.5,
        largest_r2_loss=0.01,
    ),
    *(
        Recipe(
            name="_".join(("int8", *steps)),
            description=f"As int8, from weights that {done}.",
            weights="int8",
            activations="int8",
            compression=steps,
            largest_error=1.0,
            largest_r2_loss=0.03,
        )
        for steps, done in (
            (("pruned",), "are pruned"),
            (("clustered",), "are clustered"),
            (("qat",), "were trained further for 8 bits"),
            (("pruned", "clustered"), "are pruned and clustered"),
        )
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by its name."""

DEFAULT = ("float32", "int8")
"""What is made when nobody asks for more."""


def chosen(names: str) -> tuple[Recipe, ...]:
    """The recipes that a command names, in its order.

    Args:
        names: Separated by commas; empty is DEFAULT, `all` is every one.

    Raises:
        InputError: a name is unknown or stands twice.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(DEFAULT)
    if wanted == ["all"]:
        return _ALL
    for name in wanted:
        if name not in RECIPES:
            raise InputError(f"--recipes {name}: unknown; there are {', '.join(RECIPES)}, or all")
        if wanted.count(name) > 1:
            raise InputError(f"--recipes names {name} twice")
    return tuple(RECIPES[name] for name in wanted)
