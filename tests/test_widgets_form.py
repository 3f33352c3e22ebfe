"""The form that starts runs: its fields, what it says beside them, and the runs that it starts, without a browser."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading

import pytest
from ipywidgets.widgets import widget

from dcbench import RunSpec, SpecError, StoreError, hardware, registry, store
from dcbench.gpus import Gpu
from dcbench.launch import handle, proposal
from dcbench.widgets import LaunchForm, form, launch_form

HERE = hardware.inspect_machine()
CPUS = dataclasses.replace(HERE, cores=(0, 1, 2, 3), gpus=(), gpu_note="no driver")
GPUS = dataclasses.replace(CPUS, gpus=tuple(Gpu(i, "H100", 80 * 10**9, f"GPU-{i:04x}", "580") for i in range(2)))
EVIL = '<img src=x onerror="alert(1)">'
LIMIT_S = 240  # other measurements on this machine come first


def small(input_shape, outputs):
    """A model of a notebook."""
    raise AssertionError("the stand-in builds nothing")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Let a worker without TensorFlow make the runs, in a folder of their own."""
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path))
    monkeypatch.setattr(form.launch, "run", functools.partial(handle.run, _entry="stand_in_worker:main"))
    return tmp_path


def offered(made: LaunchForm, name: str) -> dict:
    return dict(made._controls[name].options)


def buttons(made: LaunchForm) -> tuple[bool, bool]:
    """Return whether Run and Stop can be pressed."""
    return not made._run_button.disabled, not made._stop_button.disabled


def said(made: LaunchForm) -> dict[str, str]:
    """Return what stands beside the fields, as HTML."""
    return {name: place.value for name, place in made._problems.items() if place.value}


def stand_in(do: str = "train", **fields) -> RunSpec:
    return RunSpec(model_args={"do": do}, steps=2, **fields)


async def ended(made: LaunchForm) -> None:
    """Wait for the end of the run, and for the form to say so."""
    async with asyncio.timeout(LIMIT_S):
        while not (made.handle.done and made._run_button.disabled is False):
            await asyncio.sleep(0.02)


def test_it_offers_what_the_registries_and_the_machine_have() -> None:
    made = launch_form(machine=CPUS)
    for name in ("model", "dataset", "backend"):
        assert tuple(offered(made, name).values()) == registry.names(name)
    assert list(offered(made, "devices").values()) == [1, 2, 3, 4]
    assert list(offered(launch_form(machine=GPUS), "devices").values()) == [1, 2]
    assert list(offered(launch_form(RunSpec(device_type="cpu"), GPUS), "devices").values()) == [1, 2, 3, 4]
    assert list(offered(launch_form(RunSpec(threads_per_device=2), CPUS), "devices").values()) == [1, 2]
    assert (said(made), buttons(made)) == ({}, (True, False))


def test_the_fields_begin_with_the_given_run_and_what_has_no_field_stays() -> None:
    spec = RunSpec(model="mlp", backend="horovod", devices=6, batch_per_device=8, epochs=2, optimizer="adam")
    made = launch_form(spec, CPUS)
    assert (made.model, made.devices, made.batch_per_device, made.steps) == ("mlp", 6, "8", "")
    assert "this machine has 4" in said(made)["devices"]
    made.devices = 2
    assert made.proposal.spec == spec.replace(devices=2)
    made.steps = 50
    assert made.proposal.spec == spec.replace(devices=2, steps=50)


def test_a_change_is_said_in_python_and_on_a_command_line_at_once() -> None:
    made = launch_form(machine=CPUS)
    made.backend, made.devices, made.learning_rate = "mirrored", 2, 0.5
    assert made._controls["backend"].value == "mirrored"
    lines = {name: line.value for name, line in made._lines.items()}
    assert lines == {"Python": made.proposal.python, "shell": made.proposal.shell}
    assert lines["shell"] == "dcbench run --steps 100 --learning-rate 0.5 --backend mirrored --devices 2"
    made._lines["shell"].value = "something else"
    assert made._lines["shell"].value == lines["shell"]
    assert lines["Python"] in repr(made)


def test_what_is_wrong_stands_beside_its_field_and_nothing_can_be_run() -> None:
    made = launch_form(machine=CPUS)
    made._controls["steps"].value, made._controls["devices"].value = "12x", 2
    assert set(said(made)) == {"steps", "devices"}
    assert "give a whole number" in said(made)["steps"]
    assert (buttons(made), made._lines["Python"].value) == ((False, False), "")
    made.run()
    assert made.handle is None and "correct the fields first" in made._note.value
    made.steps, made.devices = "12", 1
    assert (said(made), buttons(made)) == ({}, (True, False))


def test_what_is_wrong_with_a_value_that_has_no_field_is_said_too() -> None:
    made = launch_form(RunSpec(backend="horovod", devices=2, transport="nccl"), CPUS)
    assert "transport=&#x27;nccl&#x27; needs GPUs" in said(made)["others"]
    assert buttons(made) == (False, False)


def test_functions_are_offered_by_name_before_what_is_registered(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def load(): ...\n")
    made = launch_form(machine=CPUS, model=[small, f"{file}:build", "mlp"], dataset=f"{file}:load")
    assert list(offered(made, "model").items())[:3] == [
        ("small()", small), (f"{file}:build", f"{file}:build"), ("cnn", "cnn")
    ]  # fmt: skip
    assert next(iter(offered(made, "dataset"))) == f"{file}:load"
    made.model = small
    assert made.proposal.spec == RunSpec(model=small)
    assert "RunSpec(model=small, steps=100)" in made._lines["Python"].value
    assert made._lines["shell"].value.startswith("# the model is a function of this notebook")
    assert launch_form(RunSpec(model=small), CPUS).model is small


def test_a_value_that_is_not_offered_is_refused() -> None:
    made = launch_form(machine=CPUS)
    for name, value in (("model", "cn"), ("devices", 5), ("precision", "float8")):
        with pytest.raises(SpecError, match=f"{name}={value!r} is not offered by this form; choose one of"):
            setattr(made, name, value)
    with pytest.raises(SpecError, match="did you mean 'cnn'"):
        launch_form(machine=CPUS, model="cn")
    with pytest.raises(SpecError, match=r"give a name, 'file\.py:function' or a function"):
        launch_form(machine=CPUS, dataset=[3])


def test_a_backend_that_is_not_here_says_why_in_the_list(monkeypatch) -> None:
    why = "backend 'horovod' needs Horovod, which is not installed; build it with 'make setup'"
    monkeypatch.setattr(form, "unavailable", lambda backend, machine: why if backend == "horovod" else "")
    monkeypatch.setattr(proposal, "unavailable", form.unavailable)
    made = launch_form(machine=CPUS)
    labels = {value: label for label, value in offered(made, "backend").items()}
    assert labels["horovod"] == "horovod (needs Horovod, which is not installed)"
    assert labels["mirrored"] == "mirrored"
    made.backend, made.devices = "horovod", 2
    assert "which is not installed" in said(made)["backend"]


def test_every_input_has_a_label_and_text_is_never_markup() -> None:
    made = launch_form(machine=CPUS)
    assert [made._controls[n].description for n in form.FIELDS] == [n.replace("_", " ") for n in form.FIELDS]
    assert [line.description for line in made._lines.values()] == ["Python", "shell"]
    made.steps = EVIL
    assert "<img" not in said(made)["steps"] and "&lt;img" in said(made)["steps"]
    evil = launch_form(machine=CPUS, model=f"{EVIL}.py:build")
    evil.model = f"{EVIL}.py:build"
    assert "<img" not in said(evil)["model"] and "&lt;img" in said(evil)["model"]


def test_a_run_is_started_shown_and_ends_in_the_record(runs) -> None:
    async def work() -> None:
        made = launch_form(stand_in(), HERE)
        assert made.record is None
        for number in range(2):
            made._run_button.click()
            made.steps = str(number + 3)  # typed before, but told after the click
            while not made._under_way():
                await asyncio.sleep(0.01)
            assert buttons(made) == (False, True) and made.handle.spec.steps == number + 3
            assert made.view.run_id == made.handle.run_id
            assert made.children[-2].children == (made.view,)
            await ended(made)
            assert made.record.ok and made.record.run_id == made.handle.run_id
            assert made._note.value.count(f"run {made.handle.run_id}: ok") == 1
            assert buttons(made) == (True, True)
            assert len(store.load_records()) == number + 1

    asyncio.run(work())


def test_the_next_run_is_shown_by_the_same_widgets(runs) -> None:
    async def work() -> None:
        made, alive = launch_form(stand_in(), HERE), []
        for _ in range(3):
            made.run()
            assert made.view.run_id == made.handle.run_id
            await ended(made)
            alive.append(len(widget._instances))
        assert alive[0] == alive[2]
        made.view.close()

    asyncio.run(work())


def test_runs_go_into_the_given_folder(runs, tmp_path) -> None:
    async def work() -> None:
        made = launch_form(stand_in(), HERE, tmp_path / "elsewhere")
        made.run()
        await ended(made)
        assert made.handle.run_dir.parent == tmp_path / "elsewhere"

    asyncio.run(work())


def test_a_run_that_waits_says_so_and_can_be_stopped(runs) -> None:
    async def work() -> None:
        first = form.launch.run(stand_in("sleep"))
        while first.status != "training":
            await asyncio.sleep(0.02)
        made = launch_form(stand_in(), HERE)
        made.run()
        async with asyncio.timeout(LIMIT_S):
            while not made.handle.status.startswith("waiting for another measurement"):
                await asyncio.sleep(0.02)
        made.view.look()
        assert first.run_id in repr(made.view)
        made.run()  # does not start another
        assert "is under way" in made._note.value and len(list(runs.iterdir())) == 2
        made._stop_button.click()
        assert "stopping run" in made._note.value
        await ended(made)
        assert made.record.status == "cancelled" and "cancelled" in made._note.value
        made.stop()
        assert "no run of this form is under way" in made._note.value
        first.cancel()
        first.result(LIMIT_S)

    asyncio.run(work())


def test_a_click_that_comes_from_another_thread_starts_the_run_in_the_loop_of_the_form(runs, monkeypatch) -> None:
    seen = []
    live_run = form.live_run
    monkeypatch.setattr(form, "live_run", lambda run: seen.append(threading.current_thread()) or live_run(run))

    async def work() -> None:
        made = launch_form(stand_in(), HERE)
        await asyncio.to_thread(made._run_button.click)
        async with asyncio.timeout(LIMIT_S):
            while made.handle is None:
                await asyncio.sleep(0.02)
        await ended(made)
        assert seen == [threading.current_thread()]

    asyncio.run(work())


def test_a_run_that_cannot_be_started_is_explained(runs, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError(f"cannot keep a run in {EVIL}")

    monkeypatch.setattr(form.launch, "run", refuse)
    made = launch_form(stand_in(), HERE)
    made.run()
    assert "cannot keep a run in &lt;img" in made._note.value
    assert (made.handle, made.view, buttons(made)) == (None, None, (True, False))
