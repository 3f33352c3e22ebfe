"""The picture of a machine shows each core, GPU and link once, and whose they are."""

import dataclasses

import pytest

from dcbench import RunSpec, figures, launch
from dcbench.gpus import Gpu, Link
from dcbench.hardware import Machine
from dcbench.widgets import explore_machine

GIB = 2**30


def fake_machine(groups, gpus=0, link=lambda a, b: ("NVLink", 18), **changes):
    """Return a machine with CPUs in groups that share a core, and GPUs each linked to each."""
    cores = tuple(g[0] for g in groups) + tuple(c for g in groups for c in g[1:])
    made = tuple(Gpu(i, "NVIDIA H100 80GB HBM3", 80 * GIB, f"GPU-{i}", "580") for i in range(gpus))
    links = tuple(Link(a, b, *link(a, b)) for a in range(gpus) for b in range(a + 1, gpus))
    machine = Machine(
        host="node-1", os="Ubuntu 24.04, kernel 6.8", cpu_model="Example CPU", cores=cores, physical_cores=len(groups),
        quota_cores=None, memory_bytes=64 * GIB, gpus=made, gpu_note="" if gpus else "no NVIDIA driver answers",
        links=links, load_1min=0.5, environment={}, core_groups=tuple(groups), installed_cores=len(cores),
        installed_memory_bytes=64 * GIB,
    )  # fmt: skip
    return dataclasses.replace(machine, **changes)


def smt(cores):
    return [(k, k + cores) for k in range(cores)]


def words(figure):
    """Return all that is written in a figure."""
    marks = [t for trace in figure.data for t in (trace.text or ())]
    return "\n".join([figure.layout.title.text, figure.layout.title.subtitle.text, *marks,
                      *(a.text for a in figure.layout.annotations)])  # fmt: skip


def cpus(figure):
    return next(t for t in figure.data if t.name == "CPUs")


def inside(figure):
    """Whether every mark lies in the drawn range."""
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    seen = [(x, y) for t in figure.data for x, y in zip(t.x, t.y, strict=True) if x is not None]
    return all(left <= x <= right and high <= y <= low for x, y in seen)


MACHINES = {
    "2 cores": fake_machine([(0,), (1,)]),
    "1 core": fake_machine([(5,)]),
    "64 cores with two threads, 8 GPUs": fake_machine(smt(64), gpus=8),
    "192 cores, 16 GPUs": fake_machine(smt(192), gpus=16),
    "1 GPU": fake_machine(smt(1), gpus=1),
    "an older record": fake_machine([(0,), (1,)], core_groups=(), installed_cores=0, installed_memory_bytes=0),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_each_core_and_gpu_is_drawn_once_and_inside(machine):
    figure = figures.plot_machine(machine, {"gloo": True})
    assert sorted(map(int, cpus(figure).text)) == sorted(machine.cores)
    assert len(set(zip(cpus(figure).x, cpus(figure).y, strict=True))) == len(machine.cores)
    assert inside(figure)
    assert sum(words(figure).count(f"GPU {g.index}<br>80 GiB") for g in machine.gpus) == len(machine.gpus)
    assert "Memory: 64.0 GiB</b> usable, all that is installed" in words(figure)


@pytest.mark.parametrize(("groups", "frames"), [(smt(64), 64), ([(0,), (1,)], 2), ([(0, 1, 2, 3)], 1)])
def test_cpus_that_share_a_core_are_in_one_frame(groups, frames):
    machine = fake_machine(groups, gpus=1)
    figure = figures.plot_machine(machine, placement=launch.plan(RunSpec(), machine))
    boxes = [s for s in figure.layout.shapes if s.type == "rect"]
    assert len(boxes) == frames
    places = list(zip(cpus(figure).x, cpus(figure).y, strict=True))
    at = dict(zip((cpu for group in groups for cpu in group), places, strict=True))
    for box, group in zip(boxes, groups, strict=True):
        within = [c for c, (x, y) in at.items() if box.x0 < x < box.x1 and box.y0 < y < box.y1]
        assert within == list(group)


def test_links_are_counted_by_kind_and_the_nearest_lies_on_top():
    pairs = lambda a, b: ("PCIe switch", 0) if a // 2 == b // 2 else ("system", 0)  # noqa: E731
    figure = figures.plot_machine(fake_machine(smt(4), gpus=8, link=pairs))
    assert "PCIe switch<br>4 pairs" in words(figure)
    assert "across CPU sockets<br>24 pairs" in words(figure)
    assert [t.name for t in figure.data if t.mode == "lines"] == ["across CPU sockets", "PCIe switch"]
    nvlink = figures.plot_machine(fake_machine(smt(4), gpus=2))
    assert "NVLink × 18<br>1 pair" in words(nvlink)
    assert "unknown<br>1 pair" in words(figures.plot_machine(fake_machine(smt(1), 2, lambda a, b: ("unknown", 0))))


def test_limits_are_told_apart_from_what_is_installed():
    limits = {"quota_cores": 4.0, "installed_cores": 64, "memory_bytes": 16 * GIB, "installed_memory_bytes": 256 * GIB}
    figure = figures.plot_machine(fake_machine([(k,) for k in range(4)], **limits))
    assert "64 are installed: its control group's limit leaves these" in words(figure)
    assert "Memory: 16.0 GiB</b> usable of 256 GiB installed" in words(figure)
    whole, usable = figure.layout.shapes[-2:]
    assert (usable.x1 - usable.x0) / (whole.x1 - whole.x0) == pytest.approx(16 / 256)
    pinned = fake_machine([(0,)], installed_cores=2)
    assert "2 are installed: this process's affinity leaves these" in words(figures.plot_machine(pinned))


def test_without_gpus_it_says_why_and_what_horovod_was_built_with():
    figure = figures.plot_machine(MACHINES["2 cores"], {"gloo": True, "mpi": False, "nccl": False, "cuda": False})
    said = words(figure)
    assert "no NVIDIA driver answers" in said
    assert [n for n in ("Gloo", "MPI", "NCCL") if f"<b>{n}</b>: yes" in said] == ["Gloo"]
    assert "Horovod" not in words(figures.plot_machine(MACHINES["2 cores"]))


@pytest.mark.parametrize(
    ("backend", "owned"), [("single", {0: "r0"}), ("mirrored", {0: "r0", 1: "r0"}), ("horovod", {0: "r0", 1: "r1"})]
)
def test_a_placement_names_the_rank_of_each_core(backend, owned):
    machine = fake_machine([(k,) for k in range(4)])
    devices = 1 if backend == "single" else 2
    figure = figures.plot_machine(machine, placement=launch.plan(RunSpec(backend=backend, devices=devices), machine))
    assert list(cpus(figure).text) == [f"{c}<br><b>{owned[c]}</b>" if c in owned else str(c) for c in range(4)]
    assert len(set(cpus(figure).marker.color)) == 1 + len(set(owned.values()))  # free ones, and each rank
    assert ("each 1 CPU core" in words(figure)) == (devices == 2)


def test_a_placement_on_gpus_names_the_rank_of_each():
    machine = MACHINES["64 cores with two threads, 8 GPUs"]
    figure = figures.plot_machine(machine, placement=launch.plan(RunSpec(backend="horovod", devices=8), machine))
    assert [f"GPU {k}<br>80 GiB<br><b>r{k}</b>" in words(figure) for k in range(8)] == [True] * 8
    assert "8 devices, each a GPU" in words(figure)


def test_shared_cores_are_said():
    machine = MACHINES["1 core"]
    spec = RunSpec(backend="independent", devices=3, oversubscribe=True)
    figure = figures.plot_machine(machine, placement=launch.plan(spec, machine))
    assert "5<br><b>r0…2</b>" in words(figure)
    assert "shared: 3 devices on 1 CPU core" in words(figure)


def test_the_dark_copy_leaves_no_light_colour():
    machine = MACHINES["64 cores with two threads, 8 GPUs"]
    dark = figures.plot_machine(machine, {"gloo": True}, launch.plan(RunSpec(backend="horovod", devices=8), machine))
    assert not [c for c in ("#FFFFFF", "#4B00D1", "#1F2933") if c in str(dark.dark().to_dict())]


def test_names_cannot_carry_markup():
    evil = fake_machine([(0,)], cpu_model="<a href='javascript:x'>", os="<b>", gpu_note="<i>")
    assert not [m for m in ("<a", "<b></b>", "<i>") if m in words(figures.plot_machine(evil))]


def test_the_explorer_shows_a_placement_or_the_sentence_of_a_run():
    shown = explore_machine(MACHINES["2 cores"])
    assert (shown.backend, shown.devices) == ("horovod", 2)
    assert list(cpus(shown.figure).text) == ["0<br><b>r0</b>", "1<br><b>r1</b>"]
    shown.backend = "mirrored"
    assert list(cpus(shown.figure).text) == ["0<br><b>r0</b>", "1<br><b>r0</b>"]
    shown.devices = 4
    assert shown.figure is None
    assert "asks for 4 devices; this machine has 2" in shown.sentence
    shown.devices, shown.theme = 1, "dark"
    assert shown.sentence == ""
    assert "#FFFFFF" not in str(shown.figure.to_dict())


def test_the_explorer_offers_cpu_cores_beside_gpus():
    shown = explore_machine(MACHINES["64 cores with two threads, 8 GPUs"])
    assert "each a GPU" in words(shown.figure)
    shown.device_type, shown.cores_per_device = "cpu", 4
    assert "each 4 CPU cores" in words(shown.figure)
    one = explore_machine(MACHINES["1 core"])
    assert (one.devices, one.sentence) == (1, "")
