"""Proposals: each problem beside the field it is about, and the same run in Python and on a command line."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import re
import shlex
import threading
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from dcbench import RunSpec, SpecError, datasets, hardware, models, registry
from dcbench.cli.arguments import parse
from dcbench.cli.run import spec_from
from dcbench.gpus import Gpu
from dcbench.launch import environment, inputs
from dcbench.launch.proposal import Proposal, unavailable
from dcbench.spec import field_names

HERE = hardware.inspect_machine()
CPUS = dataclasses.replace(HERE, cores=(0, 1, 2, 3), gpus=(), gpu_note="no driver")
GPUS = dataclasses.replace(CPUS, gpus=tuple(Gpu(i, "H100", 80 * 10**9, f"GPU-{i:04x}", "580") for i in range(2)))
MODELS = ("cnn", "linear", "mlp", "rnn", "transformer")


def small(input_shape, outputs):
    """A model of a notebook."""
    raise AssertionError("nothing is built to be proposed")


def proposed(machine: hardware.Machine = CPUS, **values: Any) -> Proposal:
    return Proposal(values, machine)


def called(line: str) -> RunSpec:
    """Do what a line of Python says, with a `run` that returns what it is given."""
    match = re.fullmatch(r"record = await (.+)", line, re.DOTALL)
    return eval(match[1], {"dcbench": SimpleNamespace(run=lambda spec: spec, RunSpec=RunSpec), "small": small})


def typed(line: str) -> RunSpec:
    """Return the spec that the words of a command mean."""
    program, *words = shlex.split(line)
    assert program == "dcbench"
    return spec_from(vars(parse(words)))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "mlp", "backend": "horovod", "devices": 2, "batch_per_device": 64, "precision": "mixed_bfloat16"},
        {"epochs": 3, "learning_rate": 1e-5, "lr_scaling": True, "evaluate": True, "optimizer": "adam"},
        {"model_args": {"hidden": [8, 4], "activation": 'it\'s "quoted" = x'}, "model": "mlp", "clipnorm": 0.5},
        {"knobs": {"HOROVOD_FUSION_THRESHOLD": 0, "TF_X": "a b; rm -rf $HOME"}, "optimizer_args": {"momentum": 0.9}},
        {"time_limit_s": 1e7, "start": "spawn", "steps": 10**8, "warmup_tolerance": 1, "seed": 2**31 - 1},
    ],
)
def test_python_and_shell_say_the_same_run(fields) -> None:
    proposal = proposed(**fields)
    assert proposal.problems == {}
    assert proposal.spec == RunSpec(**fields) == called(proposal.python) == typed(proposal.shell)


def test_only_what_is_not_default_is_said() -> None:
    everything = {name: getattr(RunSpec(model="mlp"), name) for name in field_names()}
    proposal = proposed(**everything)
    assert proposal.python == "record = await dcbench.run(dcbench.RunSpec(model='mlp', steps=100))"
    assert proposal.shell == "dcbench run --model mlp --steps 100"


@pytest.mark.parametrize("folder", ["my models", "it's", "--json", "a;b $(x)"])
def test_functions_of_files_with_strange_names(tmp_path, monkeypatch, folder) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "mine.py").write_text("def build(input_shape, outputs): ...\n")
    proposal = proposed(model=f"{folder}/mine.py:build")
    assert proposal.spec == called(proposal.python) == typed(proposal.shell)


def test_a_function_of_a_notebook_has_a_call_and_no_command() -> None:
    proposal = proposed(model=small, steps=3)
    assert called(proposal.python) == RunSpec(model=small, steps=3)
    assert proposal.shell.startswith("# the model is a function of this notebook; put it in a file")
    for nameless in (lambda: None, functools.partial(small, outputs=3)):
        proposal = proposed(model=nameless)
        assert proposal.spec is not None
        assert proposal.python.startswith("# the model is a function without a name")


def test_texts_become_numbers_and_an_empty_one_leaves_the_field_out() -> None:
    proposal = proposed(steps=" 1e3 ", learning_rate="1", batch_per_device="64", devices="2", backend="mirrored")
    expected = RunSpec(steps=1000, learning_rate=1.0, batch_per_device=64, devices=2, backend="mirrored")
    assert proposal.spec == expected
    assert proposed(steps="", epochs="2").spec == RunSpec(epochs=2)
    assert proposed(steps="").spec == RunSpec()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("steps", "12x", "give a whole number"),
        ("steps", "0", "the least is 1"),
        ("steps", "1.5", "give a whole number"),
        ("steps", "9" * 5000, "give a whole number"),
        ("batch_per_device", "", "give a whole number"),
        ("batch_per_device", "-3", "the least is 1"),
        ("batch_per_device", str(2**21), "the most is 1048576"),
        ("learning_rate", "fast", "give a number"),
        ("learning_rate", "nan", "not a finite number"),
        ("learning_rate", "1e999", "not a finite number"),
        ("learning_rate", "0", "must be above 0"),
        ("precision", "float8", "unknown precision 'float8'"),
        ("model", "cn", "did you mean 'cnn'?"),
        ("backend", "MPI", "unknown backend 'MPI'"),
        ("modle", "cnn", "did you mean 'model'?"),
        ("knobs", {"PATH": "x"}, "unknown knob 'PATH'"),
        ("knobs", {"HOROVOD_RANK": 1}, "set by the launcher"),
        ("model", "absent.py:build", "absent.py, which does not exist"),
        ("dataset", "absent.py:load", "absent.py, which does not exist"),
    ],
)
def test_what_is_wrong_with_one_value_is_said_of_its_field(name, value, reason) -> None:
    proposal = proposed(**{name: value})
    assert list(proposal.problems) == [name]
    assert reason in proposal.problems[name]
    assert (proposal.spec, proposal.python, proposal.shell) == (None, "", "")


def test_a_function_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    assert "cannot be sent to a worker" in proposed(model=lambda: lock).problems["model"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"backend": "single", "devices": 2}, "devices"),
        ({"backend": "mirrored", "devices": 2, "transport": "mpi"}, "transport"),
        ({"compression": "fp16"}, "compression"),
        ({"backend": "independent", "target_accuracy": 0.9}, "target_accuracy"),
        ({"steps": 100, "steps_per_execution": 3}, "steps"),
        ({"batch_per_device": 32, "accumulation": 5}, "batch_per_device"),
        ({"steps": 5, "epochs": 2}, "steps"),
        ({"clipnorm": 1, "clipvalue": 1}, "clipnorm"),
    ],
)
@pytest.mark.parametrize("order", [list, reversed])
def test_a_contradiction_is_said_of_the_field_that_it_names(values, name, order) -> None:
    with pytest.raises(SpecError) as refused:
        RunSpec(**values)
    assert proposed(**{n: values[n] for n in order(list(values))}).problems == {name: str(refused.value)}


def test_problems_of_several_fields_are_said_at_once() -> None:
    values = {"steps": "x", "devices": 2, "dataset": "mnist", "transport": "mpi", "learning_rate": "-1"}
    assert set(proposed(**values).problems) == set(values)
    assert list(proposed(batch_per_device="x", accumulation=5).problems) == ["batch_per_device"]


@pytest.mark.parametrize(
    ("machine", "values", "name", "reason"),
    [
        (CPUS, {"backend": "mirrored", "devices": 5}, "devices", "this machine has 4"),
        (CPUS, {"backend": "mirrored", "devices": 2, "threads_per_device": 3}, "devices", "2 devices of 3 cores each"),
        (CPUS, {"device_type": "gpu"}, "device_type", "this machine has none (no driver)"),
        (GPUS, {"backend": "mirrored", "devices": 3}, "devices", "this machine has 2 (GPUs 0: H100, 1: H100)"),
        (CPUS, {"backend": "horovod", "transport": "nccl"}, "transport", "needs GPUs"),
    ],
)
def test_what_this_machine_lacks_is_said_of_its_field(machine, values, name, reason) -> None:
    proposal = proposed(machine, **values)
    assert list(proposal.problems) == [name]
    assert reason in proposal.problems[name]
    assert not proposed(dataclasses.replace(machine, cores=tuple(range(6))), backend="mirrored", devices=2).problems


def test_a_build_without_the_transport(monkeypatch) -> None:
    monkeypatch.setattr(environment, "_mentions", lambda library, symbol: False)
    proposal = proposed(backend="horovod", devices=2, transport="mpi")
    assert proposal.problems["transport"].startswith("transport='mpi' needs Horovod built with MPI")
    assert unavailable("horovod", CPUS) == ""


def test_an_installation_without_horovod_or_tensorflow(monkeypatch) -> None:
    assert [unavailable(b, CPUS) for b in registry.names("backend")] == [""] * 4

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "version", version)
    assert unavailable("horovod", CPUS).startswith("backend 'horovod' needs Horovod, which is not installed")
    assert list(proposed(backend="horovod", devices=2).problems) == ["backend"]
    assert proposed(backend="mirrored", devices=2).problems == {}
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))
    assert proposed().problems == {
        "backend": "backend 'single' needs TensorFlow, which is not installed; run 'make setup'"
    }


def test_data_that_are_not_here(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DCBENCH_CACHE", str(tmp_path))
    assert "mnist.npz) and downloads are not allowed" in proposed(dataset="mnist").problems["dataset"]
    assert proposed(dataset="mnist", allow_download=True).problems == {}
    (tmp_path / "mnist.npz").touch()
    assert proposed(dataset="mnist").problems == {}
    assert "none is given" in proposed(dataset="image_folder").problems["dataset"]
    away = {"path": str(tmp_path / "away")}
    assert "away' is none" in proposed(dataset="image_folder", dataset_args=away).problems["dataset"]
    assert proposed(dataset="image_folder", dataset_args={"path": str(tmp_path)}).problems == {}


@pytest.mark.parametrize("name", ["digits", "diabetes", "synthetic"])
def test_a_dataset_has_the_shape_that_its_file_states(tmp_path, name) -> None:
    assert datasets.load(name, {}, tmp_path).input_shape == registry.numbers("dataset", name, "INPUT_SHAPE")


@pytest.mark.parametrize("shape", [(10,), (4, 3), (8, 8, 1)])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_refused_for_data_that_it_cannot_take_and_no_others(model, shape) -> None:
    proposal = proposed(model=model, dataset="synthetic", dataset_args={"shape": list(shape)})
    try:
        models.build(model, shape, 10, {})
    except SpecError:
        assert f"model {model!r} takes" in proposal.problems["model"]
    else:
        assert proposal.problems == {}


def test_images_that_are_too_small_for_a_model_of_keras() -> None:
    assert "at least 32×32, dataset 'digits' gives 8×8" in proposed(model="ResNet50").problems["model"]
    assert proposed(model="ResNet50", dataset="synthetic").problems == {}
    assert "at least 71×71" in proposed(model="Xception", dataset="synthetic").problems["model"]
    with pytest.raises(SpecError, match="at least 71×71"):
        models.build("Xception", (70, 70, 3), 10, {})
    for unknown in ("wide", [8, "8", 3]):  # is for the dataset to refuse
        inputs.check_fit(RunSpec(model="ResNet50", dataset="synthetic", dataset_args={"shape": unknown}))
    tokens = {"dataset_args": {"shape": [20]}, "model_args": {"vocabulary": 50}}
    inputs.check_fit(RunSpec(model="rnn", dataset="synthetic", **tokens))
    assert "takes images" in proposed(model="ResNet50", dataset="synthetic", **tokens).problems["model"]
