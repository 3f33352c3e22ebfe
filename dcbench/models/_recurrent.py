"""Lets Keras's recurrent layers be traced without their loops, so that what one step computes can be counted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_loops() -> Iterator[list[tuple[int, Any]]]:
    """
    Trace recurrent layers (LSTM, GRU, any `keras.layers.RNN`) as zeros of the right shape while this is open.

    It also keeps them from cuDNN, whose operations hide what they compute.

    Yields
    ------
    list of (int, tf.Graph)
        For each call of such a layer its number of steps and the graph of one step; filled by tracing.
    """
    import keras
    import tensorflow as tf

    found: list[tuple[int, Any]] = []

    def inner_loop(layer: Any, sequences: Any, initial_state: Any, *_: Any, **__: Any) -> tuple[Any, Any, Any]:
        steps, states = sequences.shape[1], list(initial_state)
        first = tf.TensorSpec((sequences.shape[0], *sequences.shape[2:]), sequences.dtype)
        step = tf.function(layer.cell, autograph=False).get_concrete_function(
            first, tf.nest.map_structure(lambda s: tf.TensorSpec(s.shape, s.dtype), states)
        )
        found.append((steps, step.graph))
        output = step.structured_outputs[0]
        zeros = tf.zeros((output.shape[0], steps, *output.shape[1:]), output.dtype)
        return zeros[:, -1], zeros, states

    kinds = (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU)  # those that have a loop of their own
    own = {kind: kind.inner_loop for kind in kinds}
    for kind in kinds:
        kind.inner_loop = inner_loop
    try:
        yield found
    finally:
        for kind, loop in own.items():
            kind.inner_loop = loop
