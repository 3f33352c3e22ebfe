"""Small transformer encoder: pre-norm self-attention over a sequence, the rows of an image or tokens; mean pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcbench.errors import SpecError
from dcbench.models._arguments import check_counts, check_dropout
from dcbench.models._sequences import read

if TYPE_CHECKING:
    import keras

INPUT_DIMENSIONS = (2, 3)  # or one, of tokens


def build(
    input_shape: tuple[int, ...],
    outputs: int,
    width: int = 64,
    heads: int = 4,
    depth: int = 2,
    feedforward: int = 128,
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
    width : int
        Features of each position, also of an embedded token.
    heads : int
        Attention heads; they share the width.
    depth : int
        Blocks.
    feedforward : int
        Hidden units of the dense layers in each block.
    dropout : float
        Fraction dropped after attention and after the dense layers of each block.
    vocabulary : int, optional
        Number of different tokens, where the dataset gives tokens.

    Raises
    ------
    SpecError
        If the examples are no sequences, an argument is out of range, or the heads cannot share the width.

    Notes
    -----
    The encoder of Vaswani et al. 2017, normalised before each part as in Xiong et al. 2020 ("pre-LN"). Vectors and
    embedded tokens pass a linear layer whose bias is learned for each position: it is the position's embedding.
    Attention has no biases: softmax cancels that of the keys, which would then follow rounding alone and differ
    between backends.
    """
    import keras

    check_counts("transformer", width=width, heads=heads, depth=depth, feedforward=feedforward)
    check_dropout("transformer", dropout)
    if width % heads:
        raise SpecError(f"model 'transformer' is given width={width} for heads={heads}; make width a multiple of heads")
    layers = keras.layers
    inputs, x = read("transformer", input_shape, vocabulary, width)
    x = layers.EinsumDense(
        "btf,fw->btw", (x.shape[1], width), bias_axes="tw", name="position",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
    )(x)  # fmt: skip
    for _ in range(depth):
        x = _attend(x, width, heads, dropout)
        x = _feed_forward(x, width, feedforward, dropout)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(outputs, name="logits")(x), name="transformer")


def _attend(x: keras.KerasTensor, width: int, heads: int, dropout: float) -> keras.KerasTensor:
    from keras import layers

    normal = layers.LayerNormalization()(x)
    attended = layers.MultiHeadAttention(heads, width // heads, use_bias=False)(normal, normal)
    return layers.Add()([x, layers.Dropout(dropout)(attended) if dropout else attended])


def _feed_forward(x: keras.KerasTensor, width: int, feedforward: int, dropout: float) -> keras.KerasTensor:
    from keras import layers

    hidden = layers.Dense(feedforward, activation="gelu")(layers.LayerNormalization()(x))
    given = layers.Dense(width)(hidden)
    return layers.Add()([x, layers.Dropout(dropout)(given) if dropout else given])
