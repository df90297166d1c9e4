"""Experts, stem and towers: functions from tensor and name to tensor.

The Keras module is an argument, so that the same code builds the legacy twin. Su, Tian, Chen (2025) name CNN, LSTM and
attention; sizes and order are our interpretation.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.network_spec import Keras, Tensor


def stem(features: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """Shorten the spectrum by one strided convolution block per entry of `conv_filters`.

    Args:
        features: (batch, bands, channels).

    Returns:
        (batch, about bands / 2**blocks, last of conv_filters).
    """
    x = features
    for block, filters in enumerate(config.conv_filters):
        x = keras.layers.Conv1D(
            filters,
            config.conv_kernel,
            strides=2,
            padding="same",
            activation="relu",
            name=f"{name}.conv{block}",
        )(x)
    return x


def attention_pool(sequence: Tensor, keras: Keras, *, name: str) -> Tensor:
    """Weigh the steps of a sequence by a softmax score and sum them.

    Additive attention with a learned query (Bahdanau et al. 2015; Yang et al. 2016, Eq. 5-7). The sum is a mean times
    the length: a sum by `Dot` becomes int8 BATCH_MATMUL, which is wrong on some runtimes (CONTRIBUTING.md).

    Args:
        sequence: (batch, steps, n).

    Returns:
        (batch, n).
    """
    layers = keras.layers
    steps = sequence.shape[1]
    hidden = layers.Dense(sequence.shape[2], activation="tanh", name=f"{name}.key")(sequence)
    scores = layers.Dense(1, use_bias=False, name=f"{name}.query")(hidden)
    weights = layers.Softmax(axis=1, name=f"{name}.weights")(scores)
    weighted = layers.Multiply(name=f"{name}.weighted")([sequence, weights])
    mean = layers.GlobalAveragePooling1D(name=f"{name}.mean")(weighted)
    return layers.Rescaling(float(steps), name=f"{name}.sum")(mean)


def spectral_expert(local: Tensor, whitened: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """Build an expert of level 1, which reads the convolved spectrum and the whitened scores.

    Args:
        local: (batch, steps, n), the stem's output.
        whitened: (batch, components).
        config: `expert_kind` decides how `local` is reduced: `cnn` averages it, `lstm` takes the last state of an LSTM,
            `attention` pools it, `cnn_lstm_attention` pools the states of an LSTM.

    Returns:
        (batch, expert_units).
    """
    layers = keras.layers
    kind = config.expert_kind
    x = local
    if "lstm" in kind:
        pooled = "attention" in kind
        x = layers.LSTM(
            config.lstm_units,
            return_sequences=pooled,
            unroll=config.lstm_form == "unrolled",
            name=f"{name}.lstm",
        )(x)
    if "attention" in kind:
        x = attention_pool(x, keras, name=f"{name}.attention")
    elif kind == "cnn":
        x = layers.GlobalAveragePooling1D(name=f"{name}.mean")(x)
    elif kind != "lstm":
        raise ValueError(f"expert kind {kind!r} has no branch")
    joined = layers.Concatenate(name=f"{name}.joined")([x, whitened])
    return dense_expert(joined, config, keras, name=name)


def dense_expert(stream: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """Build an expert of a deeper level.

    Args:
        stream: (batch, n).

    Returns:
        (batch, expert_units).
    """
    x = keras.layers.Dense(config.expert_units, activation="relu", name=name)(stream)
    return keras.layers.Dropout(config.dropout, name=f"{name}.dropout")(x)


def tower(stream: Tensor, skip: Tensor, config: ModelConfig, keras: Keras, *, target: str) -> Tensor:
    """Build the head of one target, with a skip connection past the experts.

    The head starts at 0 and learns the whole target; the kernel regression on the same scores is stacked afterwards
    (`training.stacking`). A head initialised from the kernel regression would learn from its residuals on the rows that
    it was fitted on, which are noise.

    Args:
        stream: (batch, n).
        skip: (batch, m), the views' scores and their bases.

    Returns:
        (batch, 1), the target in standard deviations; the last layer is named like the target.
    """
    layers = keras.layers
    hidden = layers.Dense(config.tower_units, activation="relu", name=f"head.{target}.tower")(stream)
    joined = layers.Concatenate(name=f"head.{target}.joined")([hidden, skip])
    return layers.Dense(1, kernel_initializer="zeros", name=target)(joined)
