"""Runs inside worker processes: blocks of dcbench's loop and of a bare loop of the same model, in turn.

Started by `bench.py`, alone or under ``horovodrun``; rank 0 prints one JSON line with the times of each pair of blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Time `pairs` pairs of blocks, A B B A …"""
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="single")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--block-s", type=float, default=0.14)
    parser.add_argument("--step-s", type=float, default=0.0, help="choose the batch for this step time instead")
    args = parser.parse_args()
    rank, size = int(os.environ.get("HOROVOD_RANK", "0")), int(os.environ.get("HOROVOD_SIZE", "1"))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    batch = _batch_for(args, rank, size) if args.step_s else args.batch
    ours, bare, backend, close = _loops(args.model, args.backend, batch, rank, size)
    steps = _steps_of(bare, backend, args.block_s)
    pairs = []
    for pair in range(args.pairs):
        order = (ours, bare) if pair % 2 == 0 else (bare, ours)
        times = {loop: _timed(loop, steps, backend) for loop in order}
        pairs.append((times[ours], times[bare]))
    slowest = np.max(backend.gather(pairs), axis=0)
    direct_s = _direct_cost(backend)
    close()
    if rank == 0:
        found = {"pairs": slowest.tolist(), "steps": steps, "batch": batch, "direct_s": direct_s}
        print("LOOPS " + json.dumps(found), flush=True)


def _loops(model: str, backend_name: str, batch: int, rank: int, size: int) -> tuple[Any, Any, Any, Any]:
    """Return dcbench's loop and a bare one, each a function of a number of steps."""
    import keras
    import tensorflow as tf

    from dcbench import datasets, models
    from dcbench.backends._base import Place
    from dcbench.spec import RunSpec
    from dcbench.store import cache_dir
    from dcbench.timing import EventFile, StepLog
    from dcbench.training import Training

    folder = Path(tempfile.mkdtemp())
    spec = RunSpec(model=model, backend=backend_name, devices=size, batch_per_device=batch, steps=10**5)
    place = Place(rank=rank, size=size, run_dir=str(folder))
    events = EventFile(folder / "events.jsonl", rank)
    training = Training(spec, place, {}, events, lambda name: None, cache_dir())
    backend, iterator = training.backend, training._iterator(10**5)
    log = StepLog(events, "train", backend.ranks, each_step=True)

    def ours(steps: int) -> None:
        log.start()
        for _ in range(steps):
            log.add(training.stepper.many(iterator))
        log.flush()

    twin = models.build(model, training.data.input_shape, training.data.outputs, {})
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(twin.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(batches: Any) -> Any:
        x, y = next(batches)
        with tf.GradientTape() as tape:
            loss = loss_of(y, twin(x, training=True))
        gradients = tape.gradient(loss, twin.trainable_variables)
        if size > 1:
            import horovod.tensorflow as hvd

            gradients = hvd.grouped_allreduce(gradients, op=hvd.Average)
        optimizer.apply(gradients, twin.trainable_variables)
        return loss

    bare_batches = iter(datasets.batches(training.data, training.order, rank, size, 0, 10**5))

    def bare(steps: int) -> None:
        for _ in range(steps):
            loss = step(bare_batches)
        loss.numpy()

    for loop in (ours, bare, ours, bare):
        loop(20)
    return ours, bare, backend, events.close


def _timed(loop: Any, steps: int, backend: Any) -> float:
    backend.barrier("pair")
    start = time.perf_counter()
    loop(steps)
    return time.perf_counter() - start


def _steps_of(loop: Any, backend: Any, block_s: float) -> int:
    per_step = max(backend.gather(_timed(loop, 20, backend) / 20))
    return max(2, round(block_s / per_step))


def _batch_for(args: argparse.Namespace, rank: int, size: int) -> int:
    """Return the batch, a power of two, whose step takes about `step_s`."""
    import keras

    batch = 16
    while batch < 2**14:
        _, bare, backend, close = _loops(args.model, args.backend, batch, rank, size)
        step_s = max(backend.gather(_timed(bare, 20, backend) / 20))
        close()
        keras.utils.clear_session()
        if step_s > 0.7 * args.step_s:
            break
        batch *= 2
    return batch


def _direct_cost(backend: Any) -> float:
    """Return what a step log itself costs a step (s): a bare call per step, and the writing of batches."""
    import tensorflow as tf

    from dcbench.timing import EventFile, StepLog

    with tempfile.TemporaryDirectory() as folder:
        log = StepLog(EventFile(Path(folder) / "events", 0), "train", backend.ranks, each_step=True)
        losses, count = tf.zeros((1, len(backend.ranks))), 20000
        log.start()
        start = time.perf_counter()
        for _ in range(count):
            log.add(losses)
        log.flush()
        return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main()
