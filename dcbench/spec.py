"""What is asked for: a checked, frozen description of one run; it knows nothing of how a run is made.

A `RunSpec` is a workload (here `Training`) plus where and how it runs. Flat keywords construct it::

    RunSpec(model="cnn", backend="horovod", devices=2, steps=100)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dcbench import functions, redaction, registry
from dcbench.errors import SpecError
from dcbench.options import check_fields, default, option

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "lion", "ftrl")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
SCHEDULES = ("constant", "cosine", "linear")
TRANSPORTS = ("auto", "gloo", "mpi", "nccl")
COMPRESSIONS = ("none", "fp16")
OF_OWN_NAMES = ("model_args", "dataset_args", "optimizer_args", "knobs")  # the fields in which a secret may be


@dataclass(frozen=True, kw_only=True)
class Training:
    """The workload kind ``training``: a model, its data and how it is optimised."""

    model: str | Callable[..., Any] = option("cnn", "registered name, 'file.py:function' or a function", kind="model")
    model_args: dict[str, Any] = option({}, "keywords for the model's builder")
    dataset: str | Callable[..., Any] = option(
        "digits", "registered name, 'file.py:function' or a function", kind="dataset"
    )
    dataset_args: dict[str, Any] = option({}, "keywords for the dataset's loader")
    batch_per_device: int = option(32, "examples per device and optimizer step", low=1, high=2**20)
    steps: int | None = option(None, "timed optimizer steps (default 100 unless epochs is given)", low=1, high=10**8)
    epochs: int | None = option(None, "passes over the training data, instead of steps", low=1, high=10**6)
    seed: int = option(0, "seed of weights, data order and dropout", low=0, high=2**31 - 1)
    optimizer: str = option("sgd", "Keras optimizer", choices=OPTIMIZERS)
    optimizer_args: dict[str, Any] = option({}, "further keywords for the optimizer, such as momentum")
    learning_rate: float = option(0.01, "peak learning rate for one device", above=0, high=1e6)
    lr_scaling: bool = option(False, "multiply the learning rate by the number of devices (linear scaling)")
    lr_schedule: str = option("constant", "learning rate after warm-up", choices=SCHEDULES)
    lr_warmup_steps: int = option(0, "steps over which the learning rate rises from 1/devices to all of it", low=0)
    precision: str = option("float32", "Keras dtype policy", choices=PRECISIONS)
    jit_compile: bool = option(False, "compile forward and backward with XLA")
    steps_per_execution: int = option(1, "optimizer steps in one graph call", low=1, high=10**6)
    accumulation: int = option(1, "micro-batches inside one optimizer step", low=1, high=10**6)
    clipnorm: float | None = option(None, "clip each gradient to this norm", above=0)
    global_clipnorm: float | None = option(None, "clip all gradients to this joint norm", above=0)
    clipvalue: float | None = option(None, "clip gradient elements to this magnitude", above=0)
    weight_decay: float | None = option(None, "decoupled weight decay", low=0, high=1e6)
    target_accuracy: float | None = option(None, "stop when the test accuracy reaches this", above=0, high=1)
    evaluate_every: int = option(50, "steps between evaluations while a target accuracy is sought", low=1)
    evaluate: bool = option(False, "evaluate on the test split after training")
    save_model: bool = option(False, "save the trained model in the run directory")
    tensorboard: bool = option(False, "leave TensorBoard logs in the run directory, written after the measurement")
    profile_steps: int = option(0, "further steps after all results, profiled for TensorBoard", low=0, high=1000)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.steps is not None and self.epochs is not None:
            raise SpecError(f"steps={self.steps} and epochs={self.epochs} are both given; give one of them")
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "steps", 100)
        if self.batch_per_device % self.accumulation:
            raise SpecError(
                f"batch_per_device={self.batch_per_device} cannot be split into accumulation={self.accumulation} "
                f"equal micro-batches; choose a batch that is a multiple of {self.accumulation}"
            )
        clips = [n for n in ("clipnorm", "global_clipnorm", "clipvalue") if getattr(self, n) is not None]
        if len(clips) > 1:
            raise SpecError(f"{' and '.join(clips)} are both given; give one of them")


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Where and how a workload runs."""

    backend: str = option("single", "how devices work together", kind="backend")
    devices: int = option(1, "devices (GPUs, else fixed sets of CPU cores)", low=1, high=2**16)
    device_type: str = option("auto", "kind of device", choices=("auto", "cpu", "gpu"))
    threads_per_device: int = option(1, "CPU cores of one device", low=1, high=4096)
    oversubscribe: bool = option(False, "allow more devices than cores or GPUs; the record is marked")
    transport: str = option("auto", "how Horovod's ranks talk", choices=TRANSPORTS)
    compression: str = option("none", "gradient compression on the wire (horovod)", choices=COMPRESSIONS)
    knobs: dict[str, Any] = option({}, "environment settings HOROVOD_*, NCCL_*, TF_* or XLA_FLAGS of the workers")
    start: str = option("fork", "from the warm engine, or as fresh interpreters", choices=("fork", "spawn"))
    hang_limit_s: float = option(20.0, "least time without a step that is taken for a hang (s)", above=0, high=10**7)
    time_limit_s: float = option(3600.0, "a run that takes longer is ended (s)", above=0, high=10**7)
    warmup_window: int = option(5, "steps of one warm-up window", low=1, high=10**5)
    warmup_max_steps: int = option(60, "warm-up ends here at the latest; reaching it is flagged", low=1, high=10**6)
    warmup_tolerance: float = option(0.10, "two windows agree within this fraction", above=0, high=1)
    step_timing: bool = option(False, "on a GPU, force completion after each step, not once a window")
    allow_download: bool = option(False, "let datasets be downloaded")

    def __post_init__(self) -> None:
        check_fields(self)


_KNOB_PREFIXES = ("HOROVOD_", "NCCL_", "TF_", "XLA_", "OMP_", "KMP_", "OMPI_")


@dataclass(frozen=True, init=False)
class RunSpec:
    """
    One run: a workload plus backend, devices, transport, knobs and protocol.

    Parameters
    ----------
    workload : Training, optional
        The workload; else its fields are given as flat keywords.
    **fields
        Any field of `Training` and any of the run's own; ``global_batch`` may stand for ``batch_per_device``.

    Raises
    ------
    SpecError
        For an unknown name (with the nearest match), a wrong type, a value out of range, or a contradiction.

    Examples
    --------
    >>> spec = RunSpec(model="mlp", backend="horovod", devices=2, global_batch=64)
    >>> spec.batch_per_device, spec.global_batch, spec.steps
    (32, 64, 100)
    >>> RunSpec(modle="mlp")
    Traceback (most recent call last):
    dcbench.errors.SpecError: unknown parameter 'modle'; did you mean 'model'?
    """

    workload: Training
    run: _Run
    kind: str = "training"

    def __init__(self, workload: Training | None = None, **fields: Any) -> None:
        known = field_names()
        for name in fields:
            if name not in (*known, "global_batch"):
                raise SpecError(f"unknown parameter {name!r}{registry.nearest(name, known)}")
        run = _Run(**{n: v for n, v in fields.items() if n in _names(_Run)})
        flat = {n: v for n, v in fields.items() if n in _names(Training)}
        if "global_batch" in fields:
            flat["batch_per_device"] = _per_device(fields, run.devices)
        if workload is not None and flat:
            raise SpecError(f"a workload and its field {next(iter(flat))!r} are both given; give one of them")
        if not isinstance(workload, Training | None):
            raise SpecError(f"workload is {workload!r}; give a dcbench.spec.Training")
        object.__setattr__(self, "workload", workload or Training(**flat))
        object.__setattr__(self, "run", run)
        _check_run(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("workload", "run"):
            raise AttributeError(name)
        for part in (self.workload, self.run):
            if name in _names(type(part)):
                return getattr(part, name)
        raise AttributeError(f"RunSpec has no field {name!r}{registry.nearest(name, field_names())}")

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={_shown(v)}" for n, v in masked(_non_default(self)).items())
        return f"RunSpec({shown})"

    @property
    def global_batch(self) -> int:
        """Examples per optimizer step over all devices."""
        return self.workload.batch_per_device * self.run.devices

    @property
    def hash(self) -> str:
        """SHA-256 (first 16 hex digits) over the canonical fields that differ from their defaults.

        Functions count by their source, so that an edited function is another run; secrets count as their mask.
        """
        canonical = masked({n: _canonical(n, v) for n, v in _non_default(self).items()})
        text = json.dumps({"kind": self.kind, **canonical}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def replace(self, **changes: Any) -> RunSpec:
        """Return a copy with some fields changed, checked anew."""
        fields = {n: getattr(self, n) for n in field_names()}
        if "global_batch" in changes:
            fields.pop("batch_per_device")
        if "epochs" in changes and changes["epochs"] is not None:
            fields["steps"] = None
        if "steps" in changes and changes["steps"] is not None:
            fields["epochs"] = None
        return RunSpec(**(fields | changes))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values; functions become their description (name, source, hash, globals)."""
        values = {n: getattr(self, n) for n in field_names()}
        shown = {n: functions.describe(v) if _is_function(n, v) else v for n, v in values.items()}
        return {"kind": self.kind, **shown, "global_batch": self.global_batch}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """
        Build a spec from the dictionary of `to_dict`.

        Raises
        ------
        SpecError
            Where a function lived in a notebook and so cannot be found again.
        """
        fields = {n: v for n, v in values.items() if n not in ("kind", "global_batch")}
        for name in ("model", "dataset"):
            if isinstance(fields.get(name), Mapping):
                reference = str(fields[name].get("function"))
                if not functions.is_file_function(reference):
                    raise SpecError(
                        f"the {name} {reference!r} was a function of a notebook or script and is not stored; "
                        f"put it in a file and give it as 'file.py:{reference}'"
                    )
                fields[name] = reference
        if values.get("kind", "training") != "training":
            raise SpecError(f"unknown kind of workload {values['kind']!r} (known: training)")
        return cls(**fields)


def masked(values: Mapping[str, Any], found: set[str] | None = None) -> dict[str, Any]:
    """Return fields as they are kept and shown, without the secrets in what a person names freely."""
    return {**values, **redaction.masked({n: values[n] for n in OF_OWN_NAMES if n in values}, found=found)}


def field_names() -> tuple[str, ...]:
    """Name the flat fields of a `RunSpec`, the workload's first."""
    return (*_names(Training), *_names(_Run))


def fields() -> tuple[dataclasses.Field[Any], ...]:
    """Return the dataclass fields of a `RunSpec` (default, type, ``metadata["doc"]``), the workload's first."""
    return (*dataclasses.fields(Training), *dataclasses.fields(_Run))


def _names(part: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(part))


def _is_function(name: str, value: Any) -> bool:
    is_reference = isinstance(value, str) and name in ("model", "dataset") and functions.is_file_function(value)
    return callable(value) or is_reference


def _per_device(given: Mapping[str, Any], devices: int) -> int:
    total = given["global_batch"]
    if given.get("batch_per_device") is not None:
        raise SpecError("global_batch and batch_per_device are both given; give one of them")
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        raise SpecError(f"global_batch={total!r} is not a positive whole number")
    if total % devices:
        raise SpecError(
            f"global_batch={total} cannot be shared equally by devices={devices}; choose a multiple of {devices}"
        )
    return total // devices


def _non_default(spec: RunSpec) -> dict[str, Any]:
    # `steps` falls back to 100 where epochs is absent; it is part of what was asked either way
    return {f.name: getattr(spec, f.name) for f in fields() if getattr(spec, f.name) != default(f)}


def _canonical(name: str, value: Any) -> Any:
    if _is_function(name, value):
        about = functions.describe(value)
        return {"function": about["function"], "sha256": about["sha256"]}
    return value


def _shown(value: Any) -> str:
    return functions.name_of(value) if callable(value) else repr(value)


def _check_run(spec: RunSpec) -> None:
    run, work = spec.run, spec.workload
    for knob, value in run.knobs.items():
        if not knob.startswith(_KNOB_PREFIXES):
            raise SpecError(f"unknown knob {knob!r}; knobs begin with {', '.join(_KNOB_PREFIXES)}")
        if not isinstance(value, str | int | float) or "\0" in str(value):
            shown = redaction.masked(value, knob)
            raise SpecError(f"knob {knob!r} has the value {shown!r}; give text or a number")
    if run.backend == "single" and run.devices != 1:
        raise SpecError(f"backend 'single' uses one device, devices={run.devices} was asked; choose another backend")
    if run.backend != "horovod" and run.transport != "auto":
        raise SpecError(f"transport={run.transport!r} is for backend 'horovod', not {run.backend!r}; leave it out")
    if run.backend != "horovod" and run.compression != "none":
        raise SpecError(f"compression={run.compression!r} is for backend 'horovod', not {run.backend!r}; leave it out")
    if run.backend == "independent" and work.target_accuracy is not None:
        raise SpecError("target_accuracy is for ranks of one model, not for backend 'independent'; leave it out")
    if work.steps is not None and work.steps % work.steps_per_execution:
        raise SpecError(
            f"steps={work.steps} is not a multiple of steps_per_execution={work.steps_per_execution}; make it one"
        )
