"""Feeds one process: `tf.data` pipelines of its part of each global batch; it decides no order of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcbench.datasets._base import Dataset
from dcbench.datasets._order import Order
from dcbench.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

CHUNK_IDS = 2**18  # ids kept in memory at a time: a million steps take no more than a thousand
PREFETCH = 2


def batches(data: Dataset, order: Order, rank: int, size: int, start: int, steps: int) -> tf.data.Dataset:
    """
    Return the batches that one process reads.

    Parameters
    ----------
    data : Dataset
    order : Order
    rank, size : int
        This part, and the number of equal parts that each global batch is cut into.
    start, steps : int
        First step, and how many.

    Returns
    -------
    tf.data.Dataset
        `steps` elements (x, y) of shape (global_batch / size, ...).
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        fed = _from_pipeline if data.x is None else _from_arrays
        dataset = fed(data, order, rank, size, start, steps)
        options = tf.data.Options()
        options.deterministic = True
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        if data.x is not None:
            options.autotune.enabled = False  # nothing to tune, and its thread would take time from a step
        return dataset.prefetch(PREFETCH).with_options(options)


def _from_arrays(
    data: Dataset, order: Order, rank: int, size: int, start: int, steps: int
) -> tf.data.Dataset:
    import tensorflow as tf

    x, y = data.tensors
    width = order.global_batch // size

    def gather(ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
        ids = tf.ensure_shape(ids, (width,))
        return tf.gather(x, ids), tf.gather(y, ids)

    return _ids(order, rank, size, start, steps).map(gather)


def _ids(order: Order, rank: int, size: int, start: int, steps: int) -> tf.data.Dataset:
    """Return this part's ids step by step, made in chunks where there are many."""
    import tensorflow as tf

    chunk = max(1, CHUNK_IDS // order.global_batch)
    if steps <= chunk:
        return tf.data.Dataset.from_tensor_slices(order.rows(rank, size, start, steps))

    def rows(at: np.int64) -> np.ndarray:
        return order.rows(rank, size, int(at), min(chunk, start + steps - int(at)))

    def chunk_rows(at: Any) -> tf.data.Dataset:
        ids = tf.ensure_shape(tf.numpy_function(rows, [at], tf.int32), (None, order.global_batch // size))
        return tf.data.Dataset.from_tensor_slices(ids)

    return tf.data.Dataset.range(start, start + steps, chunk).flat_map(chunk_rows)


def _from_pipeline(
    data: Dataset, order: Order, rank: int, size: int, start: int, steps: int
) -> tf.data.Dataset:
    """Repeat a person's examples; where every process reads all of them, keep each batch's own rows."""
    if order.global_batch % size:
        raise SpecError(f"a global batch of {order.global_batch} cannot be cut into {size} equal parts")
    assert data.pipeline is not None  # a Dataset has arrays or a pipeline
    dataset = data.pipeline().repeat().batch(order.global_batch // size, drop_remainder=True)
    if size > 1 and not data.sharded:
        dataset = dataset.shard(size, rank)
    return dataset.skip(start).take(steps)
