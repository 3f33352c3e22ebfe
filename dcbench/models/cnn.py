"""Small convolutional network: 3×3 convolutions with ReLU and pooling, then one hidden dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcbench.errors import SpecError
from dcbench.models._arguments import check_dropout

if TYPE_CHECKING:
    import keras

INPUT_DIMENSIONS = (3,)


def build(
    input_shape: tuple[int, ...],
    outputs: int,
    filters: Sequence[int] = (32, 64),
    dense: int = 128,
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> keras.Model:
    """
    Build the model; its output is logits or values.

    Parameters
    ----------
    input_shape : tuple of int
        (height, width, channels).
    outputs : int
    filters : sequence of int
        Filters of each convolution; each is followed by 2×2 pooling while the image is larger than one pixel.
    dense : int
        Units of the hidden dense layer.
    dropout : float
        Fraction dropped before the last layer.
    batch_norm : bool
        Whether to normalise the batch after each convolution.

    Raises
    ------
    SpecError
        If the examples are no images, or the fraction is out of range.
    """
    import keras

    check_dropout("cnn", dropout)
    if len(input_shape) != 3:
        raise SpecError(
            f"model 'cnn' takes images (height, width, channels), the dataset gives "
            f"{tuple(input_shape)}; use model 'mlp'"
        )
    layers = keras.layers
    x = images = keras.Input(input_shape)
    for count in filters:
        x = layers.Conv2D(count, 3, padding="same", use_bias=not batch_norm)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x) if batch_norm else x)
        x = layers.MaxPooling2D(2)(x) if min(x.shape[1:3]) > 1 else x
    x = layers.Dense(dense, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(images, layers.Dense(outputs, name="logits")(x), name="cnn")
