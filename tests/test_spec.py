"""A specification: what it accepts, what it refuses in one sentence, and when two are the same run."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys

import numpy as np
import pytest

from dcbench import RunSpec, SpecError
from dcbench.spec import Training, field_names, fields

BAD = {
    "unknown parameter": ({"modle": "mlp"}, "unknown parameter 'modle'; did you mean 'model'?"),
    "unknown model": ({"model": "ResNet5O"}, "unknown model 'ResNet5O'; did you mean 'ResNet50'?"),
    "unknown dataset": ({"dataset": "digit"}, "unknown dataset 'digit'; did you mean 'digits'?"),
    "unknown backend": ({"backend": "horovd"}, "unknown backend 'horovd'; did you mean 'horovod'?"),
    "unknown optimizer": ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'?"),
    "unknown precision": ({"precision": "float16"}, "unknown precision 'float16'"),
    "model of a wrong type": ({"model": 3}, "model=3 is a int"),
    "backend as a function": ({"backend": len}, "give a name"),
    "text for a number": ({"steps": "ten"}, "steps='ten' is a str; give a whole number"),
    "broken number": ({"steps": 10.5}, "steps=10.5 is a float; give a whole number"),
    "bool for a number": ({"devices": True}, "devices=True is a bool; give a whole number"),
    "number for a bool": ({"jit_compile": 1}, "jit_compile=1 is a int; give True or False"),
    "no number": ({"batch_per_device": None}, "batch_per_device=None is a NoneType"),
    "zero": ({"steps": 0}, "steps=0 is too small; the least is 1"),
    "negative": ({"devices": -2}, "devices=-2 is too small"),
    "zero learning rate": ({"learning_rate": 0}, "learning_rate=0.0 is too small; it must be above 0"),
    "NaN": ({"learning_rate": float("nan")}, "learning_rate=nan is not a finite number"),
    "infinity": ({"time_limit_s": float("inf")}, "time_limit_s=inf is not a finite number"),
    "absurd": ({"steps": 10**12}, "steps=1000000000000 is too large; the most is 100000000"),
    "more than a float holds": ({"learning_rate": 10**400}, "learning_rate=inf is not a finite number"),
    "steps and epochs": ({"steps": 5, "epochs": 1}, "steps=5 and epochs=1 are both given; give one of them"),
    "both batches": ({"global_batch": 8, "batch_per_device": 4}, "give one of them"),
    "unequal batch": (
        {"global_batch": 9, "devices": 2, "backend": "mirrored"},
        "global_batch=9 cannot be shared equally by devices=2; choose a multiple of 2",
    ),
    "text for the global batch": ({"global_batch": "9"}, "global_batch='9' is not a positive whole number"),
    "global batch on no devices": ({"global_batch": 8, "devices": 0}, "devices=0 is too small"),
    "global batch on text": ({"global_batch": 8, "devices": "2"}, "devices='2' is a str"),
    "odd accumulation": ({"batch_per_device": 10, "accumulation": 4}, "choose a batch that is a multiple of 4"),
    "two kinds of clipping": ({"clipnorm": 1.0, "clipvalue": 1.0}, "clipnorm and clipvalue are both given"),
    "steps in one call": ({"steps": 10, "steps_per_execution": 4}, "is not a multiple of steps_per_execution=4"),
    "two single devices": ({"devices": 2}, "backend 'single' uses one device, devices=2 was asked"),
    "transport of another backend": ({"transport": "mpi"}, "is for backend 'horovod', not 'single'"),
    "compression of another backend": ({"compression": "fp16"}, "is for backend 'horovod', not 'single'"),
    "accuracy above one": ({"target_accuracy": 97}, "target_accuracy=97.0 is too large; the most is 1"),
    "no dictionary": ({"model_args": [1]}, "model_args=[1] is a list; give a dictionary"),
    "no JSON": ({"model_args": {"a": object()}}, "model_args holds a value that is not plain JSON"),
    "NaN in a dictionary": ({"dataset_args": {"a": float("nan")}}, "dataset_args holds a value that is not plain"),
    "no identifier": ({"optimizer_args": {"a b": 1}}, "optimizer_args has the key 'a b'"),
    "foreign knob": ({"knobs": {"PATH": "x"}}, "unknown knob 'PATH'; knobs begin with HOROVOD_"),
    "knob that is no text": ({"knobs": {"TF_X": [1]}}, "knob 'TF_X' has the value [1]; give text or a number"),
    "knob with a NUL": ({"knobs": {"TF_X": "a\0b"}}, "give text or a number"),
}


@pytest.mark.parametrize(("given", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(given: dict, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        RunSpec(**given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_field_has_a_meaning_and_is_listed_once() -> None:
    assert all(f.metadata["doc"] for f in fields())
    assert len(set(field_names())) == len(field_names())


def test_global_batch_and_batch_per_device_say_the_same() -> None:
    wide = RunSpec(backend="horovod", devices=4, global_batch=64)
    assert wide.batch_per_device == 16
    assert wide == RunSpec(backend="horovod", devices=4, batch_per_device=16)
    assert wide.replace(devices=2).global_batch == 32
    assert wide.replace(global_batch=8).batch_per_device == 2


def test_steps_default_to_100_unless_epochs_are_given() -> None:
    assert RunSpec() == RunSpec(steps=100)
    assert (RunSpec(epochs=2).steps, RunSpec(epochs=2).replace(steps=7).epochs) == (None, None)
    assert RunSpec(steps=7).replace(epochs=2).steps is None


def test_numbers_of_numpy_are_numbers() -> None:
    spec = RunSpec(steps=np.int64(7), learning_rate=np.float32(0.5), batch_per_device=64.0)
    assert (type(spec.steps), type(spec.learning_rate), type(spec.batch_per_device)) == (int, float, int)
    assert spec == RunSpec(steps=7, learning_rate=0.5, batch_per_device=64)


def test_a_spec_is_frozen_and_shares_no_dictionary_with_its_maker() -> None:
    args = {"units": [8]}
    spec = RunSpec(model="mlp", model_args=args)
    args["units"].append(9)
    assert spec.model_args == {"units": [8]}
    with pytest.raises(AttributeError):
        spec.steps = 3


def test_unknown_attribute_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'devices'"):
        _ = RunSpec().device


def test_dictionary_and_back() -> None:
    spec = RunSpec(
        model="mlp", model_args={"a": [1, 2]}, backend="horovod", devices=2, epochs=3, knobs={"HOROVOD_CYCLE_TIME": 2}
    )
    again = RunSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.hash == spec.hash
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec


def test_dictionary_with_a_foreign_name_or_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown parameter 'colour'"):
        RunSpec.from_dict(RunSpec().to_dict() | {"colour": "red"})
    with pytest.raises(SpecError, match="unknown kind of workload 'serving'"):
        RunSpec.from_dict({"kind": "serving"})


def test_workload_instead_of_its_fields() -> None:
    assert RunSpec(Training(model="mlp"), devices=1) == RunSpec(model="mlp")
    with pytest.raises(SpecError, match="both given"):
        RunSpec(Training(), model="mlp")
    with pytest.raises(SpecError, match=r"give a dcbench\.spec\.Training"):
        RunSpec("mlp")


# records of earlier versions are found under their hash: these values never change
KNOWN_HASHES = {
    "0b50c45b9adc7f1b": {},
    "2864bec39e700345": {
        "model": "mlp", "backend": "horovod", "devices": 2, "global_batch": 64, "epochs": 3,
        "optimizer_args": {"momentum": 0.9},
    },
}  # fmt: skip


@pytest.mark.parametrize(("known", "given"), KNOWN_HASHES.items())
def test_hash_is_that_of_earlier_versions(known: str, given: dict) -> None:
    assert RunSpec(**given).hash == known


def test_hash_covers_what_differs_from_the_defaults() -> None:
    assert RunSpec().hash == RunSpec(model="cnn", learning_rate=0.01, model_args={}).hash
    others = [RunSpec(seed=1), RunSpec(model="mlp"), RunSpec(model_args={"a": 1}), RunSpec(steps=99), RunSpec(epochs=1)]
    assert len({s.hash for s in [RunSpec(), *others]}) == 6
    assert RunSpec(model_args={"a": 1, "b": 2}).hash == RunSpec(model_args={"b": 2, "a": 1}).hash


def test_hash_is_the_same_in_another_process() -> None:
    program = "import dcbench; print(dcbench.RunSpec(model='mlp', seed=3, model_args={'a': [1.5]}).hash)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == RunSpec(model="mlp", seed=3, model_args={"a": [1.5]}).hash


def test_hash_tells_functions_apart_by_source_and_plain_captured_values() -> None:
    def maker(width: int):
        def build(input_shape: tuple) -> int:
            return width

        return build

    def other(input_shape: tuple) -> int:
        return 8

    assert RunSpec(model=maker(8)).hash == RunSpec(model=maker(8)).hash
    assert RunSpec(model=maker(8)).hash != RunSpec(model=maker(16)).hash
    assert RunSpec(model=maker(8)).hash != RunSpec(model=other).hash
    assert RunSpec(model=functools.partial(other, 1)).hash != RunSpec(model=functools.partial(other, 2)).hash


def test_function_of_a_notebook_cannot_come_back_but_one_of_a_file_can(tmp_path) -> None:
    def build(input_shape: tuple) -> None: ...

    with pytest.raises(SpecError, match="put it in a file"):
        RunSpec.from_dict(RunSpec(model=build).to_dict())
    (tmp_path / "own.py").write_text("def build():\n    return 1\n")
    spec = RunSpec(model=f"{tmp_path}/own.py:build")
    assert RunSpec.from_dict(spec.to_dict()) == spec
    before = spec.hash
    (tmp_path / "own.py").write_text("def build():\n    return 2\n")
    assert spec.hash != before


def test_missing_file_of_a_function_is_said_before_a_run(tmp_path) -> None:
    with pytest.raises(SpecError, match="does not exist"):
        RunSpec(dataset=f"{tmp_path}/none.py:load").to_dict()
