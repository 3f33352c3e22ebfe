"""Recurrent network: LSTM layers over a sequence, the rows of an image or tokens; the last state is classified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcbench.models._arguments import check_counts, check_dropout
from dcbench.models._sequences import read

if TYPE_CHECKING:
    import keras

INPUT_DIMENSIONS = (2, 3)  # or one, of tokens


def build(
    input_shape: tuple[int, ...],
    outputs: int,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.0,
    vocabulary: int | None = None,
) -> keras.Model:
    """
    Build the model; its output is logits or values.

    Parameters
    ----------
    input_shape : tuple of int
        (time, features); (height, width, channels), read row by row; or (time,) of tokens.
    outputs : int
    units : int
        Units of each LSTM layer (Hochreiter and Schmidhuber 1997), and features of an embedded token.
    layers : int
        LSTM layers, one on top of the other.
    dropout : float
        Fraction dropped after each of them.
    vocabulary : int, optional
        Number of different tokens, where the dataset gives tokens.

    Raises
    ------
    SpecError
        If the examples are no sequences, or an argument is out of range.

    Notes
    -----
    On a GPU, Keras gives an LSTM to cuDNN, which XLA cannot compile: there leave ``jit_compile`` out.
    """
    import keras

    check_counts("rnn", units=units, layers=layers)
    check_dropout("rnn", dropout)
    inputs, x = read("rnn", input_shape, vocabulary, units)
    for number in range(layers):
        x = keras.layers.LSTM(units, return_sequences=number < layers - 1)(x)
        x = keras.layers.Dropout(dropout)(x) if dropout else x
    return keras.Model(inputs, keras.layers.Dense(outputs, name="logits")(x), name="rnn")
