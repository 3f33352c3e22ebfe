"""Multi-layer perceptron: dense layers with ReLU on the flattened input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcbench.models._arguments import check_dropout

if TYPE_CHECKING:
    import keras


def build(
    input_shape: tuple[int, ...],
    outputs: int,
    hidden: Sequence[int] = (256, 128),
    activation: str = "relu",
    dropout: float = 0.0,
) -> keras.Model:
    """
    Build the model; its output is logits or values.

    Parameters
    ----------
    input_shape : tuple of int
    outputs : int
    hidden : sequence of int
        Units of each hidden layer.
    activation : str
        Keras activation of the hidden layers.
    dropout : float
        Fraction dropped after each hidden layer.

    Raises
    ------
    SpecError
        If the fraction is out of range.
    """
    import keras

    check_dropout("mlp", dropout)
    layers = [keras.Input(input_shape), keras.layers.Flatten()]
    for units in hidden:
        layers.append(keras.layers.Dense(units, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    return keras.Sequential([*layers, keras.layers.Dense(outputs, name="logits")], name="mlp")
