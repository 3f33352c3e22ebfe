"""Linear classifier or regression: one dense layer on the flattened input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(input_shape: tuple[int, ...], outputs: int) -> keras.Model:
    """Build the model; its output is logits or values."""
    import keras

    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs, name="logits")]
    return keras.Sequential(layers, name="linear")
