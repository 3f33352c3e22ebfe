"""The workload kind ``training``: turns a spec into a trained model, raw samples and proofs of correctness.

The house protocol: trace and warm up, undo that, meet at a barrier, time every step on every rank, then check that all
ranks hold equal weights. It knows nothing of how processes are started or where a record is kept.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dcbench import datasets, models, registry, store
from dcbench.backends._base import Backend, Place
from dcbench.errors import SpecError, StoreError
from dcbench.spec import RunSpec
from dcbench.store.files import for_person
from dcbench.store.logs import logs_dir
from dcbench.timing import EventFile, StepLog
from dcbench.training import logs
from dcbench.training.checks import DIGESTED_STEPS, check_data, check_random_state, check_same_source
from dcbench.training.evaluation import Evaluator
from dcbench.training.optimization import make_loss, make_optimizer
from dcbench.training.state import Snapshot, save_whole, sizes
from dcbench.training.steps import Stepper
from dcbench.training.tail import train_tail
from dcbench.training.warmup import settle

Report = Callable[[str], None]


class Training:
    """
    One process's part of one training run.

    Parameters
    ----------
    spec : RunSpec
    place : Place
        Where this process stands among the run's processes.
    functions : mapping of str to callable
        A person's ``"model"`` and ``"dataset"`` functions, where the spec does not name them.
    events : EventFile
    report : callable
        Called with the name of each stage as it begins.
    cache : Path
        Folder of cached datasets.
    """

    def __init__(
        self,
        spec: RunSpec,
        place: Place,
        functions: Mapping[str, Callable[..., Any]],
        events: EventFile,
        report: Report,
        cache: Path,
    ) -> None:
        self.spec, self.place, self.events, self.report = spec, place, events, report
        self.flags: list[str] = []
        logs.check_available(spec)
        report("building")
        self.backend: Backend = registry.load("backend", spec.backend).Backend(place)
        keras.utils.set_random_seed(spec.seed)
        keras.config.set_dtype_policy(spec.precision)
        self.data = datasets.load(
            functions.get("dataset", spec.dataset),
            spec.dataset_args,
            cache,
            spec.allow_download,
            *self.backend.shard,
        )
        self._plan()
        with self.backend.scope():
            self._build(functions.get("model", spec.model))

    def _plan(self) -> None:
        spec = self.spec
        self.flags += check_same_source(self.data, self.backend)
        total = self.data.total_examples(self.backend.shard[1])
        self.order = datasets.Order(spec.seed, total, spec.global_batch)
        self.steps, self.tail_examples, self.tail_trained = spec.steps, 0, 0
        if spec.epochs is not None:
            self.steps, self.tail_examples = self.order.steps_for_epochs(spec.epochs)
            if not self.steps:
                raise SpecError(
                    f"a global batch of {spec.global_batch} is more than the {total} examples of "
                    f"{spec.epochs} epochs; choose a smaller batch or more epochs"
                )

    def _build(self, model: str | Callable[..., Any]) -> None:
        spec, data = self.spec, self.data
        self.model = models.build(model, data.input_shape, data.outputs, spec.model_args)
        self.optimizer = self.backend.optimizer(make_optimizer(spec, self.steps + bool(self.tail_examples)))
        self.optimizer.build(self.model.trainable_variables)
        softmax = data.task == "classification" and models.ends_in_softmax(self.model)
        self.loss = make_loss(data.task, softmax)
        self.backend.synchronise(self.model, self.optimizer)
        self.stepper = Stepper(self.model, self.optimizer, self.loss, self.backend, spec)
        self.evaluator, self._last_test = self._make_evaluator(), (-1, dict[str, float]())

    def _make_evaluator(self) -> Evaluator | None:
        spec, data = self.spec, self.data
        classifies = data.task == "classification"
        if spec.target_accuracy is not None and (data.test is None or not classifies):
            raise SpecError("target_accuracy needs a classification dataset with a test split; leave it out")
        if spec.evaluate and data.test is None:
            raise SpecError(f"evaluate=True needs a test split and dataset {data.name!r} has none; leave it out")
        return None if data.test is None else Evaluator(self.model, self.loss, data.test, classifies)

    def run(self) -> dict[str, Any]:
        """
        Warm up, train, check and evaluate.

        Returns
        -------
        dict
            The summary that a worker sends to its parent.

        Raises
        ------
        SpecError, CheckFailed, Diverged
        """
        start = Snapshot(self.model, self.optimizer, self.backend)
        self.report("warming up")
        first_step_at_s, warmup_steps = self._warm_up()
        start.restore()
        self.report("training")
        log, to_target = self._train()
        self.report("checking")
        checks = self._check(log)
        self.backend.average_statistics(self.model)
        test = self._evaluate_at_end(len(log.step_s))
        if self.spec.save_model and self.place.rank == 0:
            save_whole(self.model, Path(self.place.run_dir) / "model.keras")
        return {
            "block_s": log.busy_s,
            "first_step_at_s": first_step_at_s,
            "warmup_steps": warmup_steps,
            "time_to_target_s": to_target,
            "test": test,
            "checks": checks,
            "model": self._describe_model() if self.place.rank == 0 else {},
            "data": self._describe_data(log),
            "flags": self.flags,
        }

    def leave_logs(self) -> list[str]:
        """Write TensorBoard's scalars and profile further steps, as asked; return what went wrong, as flags.

        To be called after all that counts, and once the results have been handed over.
        """
        asked = [(self.spec.tensorboard, self._write_curves), (self.spec.profile_steps, self._profile)]
        said = []
        for act in (act for wanted, act in asked if wanted):  # each by itself, as other ranks wait for this one
            try:
                act(logs_dir(self.place.run_dir))
            except Exception as error:
                folder = logs_dir(self.place.run_dir)
                if isinstance(told := for_person(error, folder), StoreError):
                    shutil.rmtree(folder, ignore_errors=True)  # the run's record needs the space, and is worth more
                reason = " ".join(f"{type(told).__name__}: {told}".split())[:300]
                said.append(f"logs for TensorBoard are incomplete ({reason})")
        return said

    def _write_curves(self, folder: Path) -> None:
        self.report("writing logs")
        self.backend.barrier("logs")
        if self.place.rank == 0:
            events, _ = store.read_events(Path(self.place.run_dir) / "events.jsonl")
            logs.write_scalars(logs.read(events, logs.epoch_s()), self.spec, folder)

    def _profile(self, folder: Path) -> None:
        self.report("profiling")
        iterator = self._iterator(self.spec.profile_steps + self.stepper.steps_per_call)
        logs.profile(self.stepper, iterator, self.spec.profile_steps, folder if self.place.rank == 0 else None)

    def _iterator(self, steps: int) -> Any:
        rank, size = self.backend.shard
        return self.backend.iterator(datasets.batches(self.data, self.order, rank, size, 0, steps))

    def _log(self, phase: str) -> StepLog:
        each_step = not self.place.gpus or self.spec.step_timing
        return StepLog(self.events, phase, self.backend.ranks, each_step)

    def _warm_up(self) -> tuple[float, int]:
        """Trace, then run windows of steps until they agree; return when the first step ended, and the step count."""
        spec, per_call = self.spec, self.stepper.steps_per_call
        calls = math.ceil(spec.warmup_window / per_call)
        most = max(2, math.ceil(spec.warmup_max_steps / (calls * per_call)))
        iterator = self._iterator(1 + (1 + most * calls) * per_call)
        log = self._log("warmup")
        log.start()
        log.add(self.stepper.one(iterator))
        log.flush()
        first_step_at_s = time.monotonic()
        log.add(self.stepper.many(iterator))
        log.flush()

        def run_window() -> float:
            log.start()
            for _ in range(calls):
                log.add(self.stepper.many(iterator))
            log.flush()
            return float(np.median(log.step_s[-calls * per_call :]))

        _, settled = settle(run_window, lambda mine: all(self.backend.gather(mine)), most, spec.warmup_tolerance)
        if not settled:
            self.flags.append(f"warm-up ended at its cap of {spec.warmup_max_steps} steps before two windows agreed")
        return first_step_at_s, len(log.step_s)

    def _train(self) -> tuple[StepLog, float | None]:
        log, iterator = self._log("train"), self._iterator(self.steps)
        per_call, to_target = self.stepper.steps_per_call, None
        calls, rest = divmod(self.steps, per_call)
        every = max(1, self.spec.evaluate_every // per_call) if self.spec.target_accuracy is not None else calls
        self.backend.barrier("train")
        log.start()
        for first in range(0, calls, every):
            for _ in range(min(every, calls - first)):
                log.add(self.stepper.many(iterator))
            log.flush()
            if self.spec.target_accuracy is not None and self._reached(len(log.step_s)):
                return log, log.busy_s
            log.start()
        for _ in range(rest):
            log.add(self.stepper.one(iterator))
        log.flush()
        if self.tail_examples:
            self._train_tail()
        return log, to_target

    def _reached(self, step: int) -> bool:
        """Evaluate rank 0's model, outside the timing, and decide for all ranks."""
        self.backend.average_statistics(self.model)
        accuracy = self._evaluate(step)["accuracy"]
        decided: float = self.backend.gather(accuracy)[0]
        assert self.spec.target_accuracy is not None  # only then is this called
        return decided >= self.spec.target_accuracy

    def _evaluate(self, step: int) -> dict[str, float]:
        assert self.evaluator is not None  # a spec that needs it was refused without a test split
        found = self.evaluator()
        self._last_test = (step, found)
        if self.place.rank == 0:
            self.events.write({"phase": "test", "index": step, **found})
        return found

    def _evaluate_at_end(self, step: int) -> dict[str, float] | None:
        if self.spec.target_accuracy is not None and self._last_test[0] == step and not self.tail_trained:
            return self._last_test[1]
        if not (self.spec.evaluate or self.spec.target_accuracy is not None) or self.place.rank:
            return None
        self.report("evaluating")
        return self._evaluate(step)

    def _train_tail(self) -> None:
        """Train on the short rest of the last epoch, untimed."""
        ids = self.order.tail(self.spec.epochs)
        if self.data.x is None:
            self.flags.append(f"{len(ids)} examples at the end of the last epoch were left out")
            return
        train_tail(ids, self.data, self.spec, self.backend, self.stepper)
        self.tail_trained = len(ids)

    def _check(self, log: StepLog) -> dict[str, Any]:
        checks = self.backend.check_weights(self.model, self.optimizer)
        if self.data.x is not None:
            checks["data"] = check_data(self.data, self.order, self.backend, len(log.step_s))
        if self.backend.communicates and (drawn := check_random_state(self.model, self.backend, self.spec.devices)):
            checks["random_state"] = drawn
        return checks

    def _describe_model(self) -> dict[str, Any]:
        return models.describe(self.model, self.data.input_shape) | sizes(self.model, self.optimizer)

    def _describe_data(self, log: StepLog) -> dict[str, Any]:
        data, steps = self.data, len(log.step_s)
        about = {
            "name": data.name,
            "source": data.source,
            "task": data.task,
            "examples": self.order.examples,
            "input_shape": data.input_shape,
            "outputs": data.outputs,
            "examples_trained": steps * self.spec.global_batch + self.tail_trained,
            "tail_examples": self.tail_examples,
        }
        if data.x is not None:
            about["order_sha256"] = datasets.digest(self.order, 0, 1, 0, min(steps, DIGESTED_STEPS))
        return about
