"""What a run leaves for TensorBoard: read back by TensorBoard's own reader it is the record, and it changes none."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import dcbench
from dcbench import BackendUnavailable, Record, RunSpec, SpecError, store
from dcbench.cli import main
from dcbench.comparison import conditions
from dcbench.figures import loss
from dcbench.spec import field_names
from dcbench.store.logs import how_to_open, logs_dir
from dcbench.training import logs


def train(**fields: object) -> Record:
    common = {"model": "mlp", "batch_per_device": 16, "steps": 12, "warmup_max_steps": 20, "evaluate": True}
    return dcbench.run(RunSpec(**(common | fields))).result(120)


def read(folder: Path) -> dict[str, list[tuple[float, int, float]]]:
    """Return each tag's points (wall time, step, value) as TensorBoard reads them."""
    reader = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    tags = reader.Tags()["tensors"]
    return {t: [(e.wall_time, e.step, float(make_ndarray(e.tensor_proto))) for e in reader.Tensors(t)] for t in tags}


def descriptions(folder: Path) -> dict[str, str]:
    reader = EventAccumulator(str(folder)).Reload()
    return {tag: reader.SummaryMetadata(tag).summary_description for tag in reader.Tags()["tensors"]}


def profiled(run: Record) -> list[str]:
    """Name everything that the only profile of a run holds."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    [file] = logs_dir(run.path).glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    events = [(p, e) for p in space.planes for line in p.lines for e in line.events]
    return [plane.event_metadata[event.metadata_id].name for plane, event in events]


@pytest.fixture(scope="module")
def plain() -> Record:
    return train(backend="horovod", devices=2, save_model=True)


@pytest.fixture(scope="module")
def logged() -> Record:
    return train(backend="horovod", devices=2, save_model=True, tensorboard=True, profile_steps=3)


def test_tensorboard_reads_what_the_record_holds(logged: Record) -> None:
    assert logged.ok, logged.reason
    found = read(logs_dir(logged.path))
    assert set(found) == {
        "loss/train", "loss/test", "accuracy/test", "step_s/rank_0", "step_s/rank_1", "examples_per_s",
    }  # fmt: skip
    values = {tag: np.array([value for _, _, value in points]) for tag, points in found.items()}
    assert [step for _, step, _ in found["loss/train"]] == list(range(1, 13))  # steps done, as of a test
    np.testing.assert_allclose(values["loss/train"], logged.loss, rtol=1e-6)
    np.testing.assert_allclose([values["step_s/rank_0"], values["step_s/rank_1"]], logged.step_s, rtol=1e-6)
    slowest = logged.step_s[logged.step_s.sum(axis=1).argmax()]
    np.testing.assert_allclose(values["examples_per_s"], 32 / slowest, rtol=1e-6)
    assert [step for _, step, _ in found["loss/test"]] == [12]
    assert values["loss/test"] == pytest.approx(logged.metrics["test_loss"], rel=1e-6)
    assert values["accuracy/test"] == pytest.approx(logged.metrics["test_accuracy"], rel=1e-6)


def test_points_carry_the_end_of_their_step(logged: Record) -> None:
    ends_s = np.array([wall_s for wall_s, _, _ in read(logs_dir(logged.path))["loss/train"]])
    assert (np.diff(ends_s) > logged.step_s[0][1:] - 1e-5).all()  # kept to a microsecond; writing comes between
    asked_s = np.datetime64(logged.started_utc.removesuffix("+00:00"), "ms").astype(float) / 1e3
    assert asked_s < ends_s[0] < ends_s[-1] < asked_s + logged.duration_s + 60  # it may have waited for others


def test_as_many_steps_are_profiled_as_asked(logged: Record) -> None:
    assert profiled(logged).count("train") == 3


@pytest.mark.parametrize("backend", ["mirrored", "independent"])
def test_other_backends_leave_logs_too(backend: str) -> None:
    run = train(backend=backend, devices=2, steps_per_execution=4, tensorboard=True, profile_steps=5)
    assert run.ok and not [f for f in run.flags if "TensorBoard" in f]
    points = read(logs_dir(run.path))["loss/train"]
    np.testing.assert_allclose([value for _, _, value in points], run.loss, rtol=1e-6)
    assert profiled(run).count("train") == 2  # four steps in one call, then one


def test_the_record_and_the_saved_model_stay_what_they_are(plain: Record, logged: Record) -> None:
    assert not logs_dir(plain.path).exists()
    np.testing.assert_array_equal(plain.rank_loss, logged.rank_loss)
    for part in ("checks", "model", "versions"):
        assert getattr(plain, part) == getattr(logged, part)
    assert plain.data["order_sha256"] == logged.data["order_sha256"]
    noted = [run.metrics.keys() - {"other_cores"} for run in (plain, logged)]  # which a run too short does not measure
    assert noted[0] == noted[1] >= {"throughput", "step_s"}
    assert plain.metrics["test_loss"] == logged.metrics["test_loss"]
    saved = [zipfile.ZipFile(Path(run.path) / "model.keras").read("model.weights.h5") for run in (plain, logged)]
    assert saved[0] == saved[1]


def without_profiler():
    """Plant a profiler that is in use already."""
    import keras
    import tensorflow as tf

    def start(*_: object, **__: object) -> None:
        raise tf.errors.AlreadyExistsError(None, None, "Another profiler\nis running.")

    tf.profiler.experimental.Profile.__enter__ = start
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def dies_in_the_profiler():
    """Plant a profiler that takes its process with it."""
    import os
    import signal

    import keras
    import tensorflow as tf

    tf.profiler.experimental.Profile.__enter__ = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
    return keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def test_a_rank_that_dies_in_the_profiler_has_given_its_results() -> None:
    run = train(model=dies_in_the_profiler, backend="independent", devices=2, profile_steps=2)
    assert run.ok and run.metrics["throughput"] > 0 and run.rank_loss.shape == (2, 12)
    assert [f for f in run.flags if "TensorBoard" in f] == [
        "logs for TensorBoard are incomplete (a rank was ended by SIGSEGV)"
    ]


def test_a_profiler_that_fails_is_a_flag_and_not_a_failed_run() -> None:
    run = train(model=without_profiler, tensorboard=True, profile_steps=2)
    assert run.ok and run.metrics["throughput"] > 0
    said = [f for f in run.flags if "TensorBoard" in f]
    assert said == ["logs for TensorBoard are incomplete (AlreadyExistsError: Another profiler is running.)"]
    assert len(read(logs_dir(run.path))["loss/train"]) == 12


def test_a_long_run_is_thinned_to_means_and_says_so(tmp_path: Path) -> None:
    held = logs.Curves({0: [2.0, 4.0, 9.0], 1: [4.0, 6.0, 7.0]}, {0: [1.0, 3.0, 2.0]}, [10.0, 13.0, 15.0])
    logs.write_scalars(held, RunSpec(backend="mirrored", devices=2, batch_per_device=8), tmp_path, most=2)
    assert read(tmp_path) == {
        "loss/train": [(13.0, 2, 4.0), (15.0, 3, 8.0)],
        "step_s/rank_0": [(13.0, 2, 2.0), (15.0, 3, 2.0)],
        "examples_per_s": [(13.0, 2, 8.0), (15.0, 3, 8.0)],
    }
    assert descriptions(tmp_path)["step_s/rank_0"] == (
        "step time of this rank (s); each point is the mean of 2 steps"
    )


def test_without_the_package_it_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    logs.check_available(RunSpec(profile_steps=2))  # TensorFlow writes profiles itself
    with pytest.raises(BackendUnavailable, match=r"^tensorboard=True asks for logs .*\(pip install tensorboard\)"):
        logs.check_available(RunSpec(tensorboard=True))


def test_steps_to_profile_are_bounded() -> None:
    for steps, said in ((-1, "profile_steps=-1 is too small"), (1001, "profile_steps=1001 is too large")):
        with pytest.raises(SpecError, match=said):
            RunSpec(profile_steps=steps)


def test_runs_of_before_keep_their_hash_and_compare_with_runs_of_now() -> None:
    old = store.load_sweep("samples")
    assert not [r for r in old if {"tensorboard", "profile_steps"} & r.spec.keys()]
    again = [RunSpec.from_dict(r.spec) for r in old]
    assert [s.hash for s in again] == [r.spec_hash for r in old]
    now = [Record(r.run_id, s.to_dict(), s.hash) for r, s in zip(old, again, strict=True)]
    sides = [conditions.conditions(store.tidy(side), side)["spec"] for side in (old, now)]
    assert sides[0] == sides[1] and sides[1]["profile_steps"] == "0"
    assert len({RunSpec().hash, RunSpec(tensorboard=True).hash, RunSpec(profile_steps=1).hash}) == 3


def test_logs_leave_the_work_what_it_is() -> None:
    assert {"tensorboard", "profile_steps"} <= set(field_names()) - set(loss._WORK)


def test_runs_show_says_how_to_open_them(plain: Record, logged: Record, capsys: pytest.CaptureFixture) -> None:
    assert main(["runs", "show", logged.run_id]) == 0
    said, folder = capsys.readouterr().out, logs_dir(logged.path)
    assert f"%load_ext tensorboard, then %tensorboard --logdir {folder}" in said
    assert "pip install xprof" in said
    assert main(["runs", "show", plain.run_id]) == 0
    assert "tensorboard" not in capsys.readouterr().out
    assert len(how_to_open(folder.parent)) == 2  # no profile there


def test_flags_of_the_command_line_ask_for_logs() -> None:
    from dcbench.cli.arguments import parse
    from dcbench.cli.run import spec_from

    chosen = parse(["run", "--tensorboard", "--profile-steps", "5"])
    assert spec_from(vars(chosen)) == RunSpec(tensorboard=True, profile_steps=5)


def test_lab_finds_tensorboard_beside_its_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("execv", "chdir"):
        monkeypatch.setattr(os, name, lambda *words: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("TENSORBOARD_BINARY", "")  # so that it is put back
    monkeypatch.delenv("TENSORBOARD_BINARY")
    main(["lab"])
    assert Path(os.environ["TENSORBOARD_BINARY"]) == Path(sys.executable).with_name("tensorboard")
    monkeypatch.setenv("TENSORBOARD_BINARY", "chosen")
    main(["lab"])
    assert os.environ["TENSORBOARD_BINARY"] == "chosen"
