"""The short rest of the last epoch, as one optimizer step of fewer examples, which no clock counts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dcbench.backends._base import Backend
from dcbench.datasets import Dataset
from dcbench.spec import RunSpec
from dcbench.training.steps import Stepper


def train_tail(ids: np.ndarray, data: Dataset, spec: RunSpec, backend: Backend, stepper: Stepper) -> None:
    """
    Train on some examples, each micro-batch weighted by its true count.

    Parameters
    ----------
    ids : numpy.ndarray of int
        Examples of all ranks, fewer than a global batch.
    data : Dataset
        Of arrays.
    spec : RunSpec
    backend : Backend
    stepper : Stepper
    """
    of_ranks = np.array_split(ids, spec.devices)
    micro = [np.array_split(of_ranks[r], spec.accumulation) for r in backend.ranks]

    def rows(array: np.ndarray, part: np.ndarray) -> tf.Tensor:
        return tf.convert_to_tensor(array[part if len(part) else ids[:1]])  # a row that weighs nothing

    xs, ys, weights = (
        [backend.hand_out(list(values)) for values in zip(*by_rank, strict=True)]
        for by_rank in (
            [[rows(data.x, p) for p in parts] for parts in micro],
            [[rows(data.y, p) for p in parts] for parts in micro],
            [[tf.constant(len(p) * spec.devices / len(ids), tf.float32) for p in parts] for parts in micro],
        )
    )
    stepper.tail(xs, ys, weights)
