"""Known answers of scaling: what is compared with what, in which pairs, and what is refused."""

import math
import shlex

import numpy as np
import pandas as pd
import pytest
from fake_records import fake_study

from dcbench import RunSpec, stats
from dcbench.cli.arguments import parse
from dcbench.cli.run import spec_from
from dcbench.errors import SpecError
from dcbench.store import tidy


def table_of(*rows, **columns):
    names = ["backend", "devices", "batch_per_device", "status", "throughput"]
    return pd.DataFrame(rows, columns=names).assign(**columns)


def by_backend(found):
    return found.set_index(["backend", "variant", "devices"])


def test_known_answer_with_a_failed_run_and_another_batch():
    table = table_of(
        ("single", 1, 32, "ok", 100.0),
        ("horovod", 2, 32, "failed", math.nan),
        ("independent", 2, 32, "ok", 200.0),
        ("independent", 2, 32, "ok", 400.0),
        ("horovod", 2, 32, "ok", 320.0),
        ("single", 1, 32, "ok", 200.0),
        ("single", 1, 64, "ok", 999.0),
    )
    found = stats.scaling(table).set_index("backend")
    assert list(found.index) == ["single", "horovod", "independent"]
    assert set(found["batch"]) == {32}  # the larger batch on one device is the base of another comparison
    horovod = found.loc["horovod"]
    assert horovod.repeats == 1
    assert horovod.speedup.value == pytest.approx(1.6)  # of the second round alone: 320 / 200
    assert horovod.efficiency.value == pytest.approx(0.8)
    assert horovod.of_ceiling.value == pytest.approx(0.8)
    assert found.loc["independent"].efficiency.value == pytest.approx(1.0)
    assert found.loc["single"].of_ceiling is None
    assert found.loc["single"].speedup.value == 1.0


def test_weak_keeps_the_batch_of_a_device_and_strong_that_of_all():
    table = table_of(
        ("single", 1, 32, "ok", 100.0),
        ("single", 1, 64, "ok", 150.0),
        ("horovod", 2, 32, "ok", 180.0),
    )
    weak, strong = (stats.scaling(table, mode=mode).set_index("backend") for mode in ("weak", "strong"))
    assert (weak.loc["horovod"].batch, weak.loc["horovod"].speedup.value) == (32, pytest.approx(1.8))
    assert (strong.loc["horovod"].batch, strong.loc["horovod"].speedup.value) == (64, pytest.approx(1.2))
    assert strong.loc["horovod"].efficiency.value == pytest.approx(0.6)
    assert len(weak) == len(strong) == 2


def test_models_and_batches_are_groups_with_bases_of_their_own():
    rows = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0)]
    rows += [("single", 1, 64, "ok", 200.0), ("horovod", 2, 64, "ok", 360.0)]
    rows += [("single", 1, 32, "ok", 10.0), ("horovod", 2, 32, "ok", 11.0)]
    table = table_of(*rows, model=["cnn"] * 4 + ["mlp"] * 2, model_args=["{}"] * 4 + ['{"units": 9}'] * 2)
    found = stats.scaling(table).set_index(["model", "batch", "backend"])
    assert found.loc["cnn", 32, "horovod"].speedup.value == pytest.approx(1.5)
    assert found.loc["cnn", 64, "horovod"].speedup.value == pytest.approx(1.8)
    assert found.loc["mlp", 32, "horovod"].speedup.value == pytest.approx(1.1)


def test_one_process_with_all_cores_is_no_base_of_these_devices():
    rows = [("single", 1, 32, "ok", 100.0), ("single", 1, 32, "ok", 170.0), ("horovod", 2, 32, "ok", 150.0)]
    found = stats.scaling(table_of(*rows, threads_per_device=[1, 2, 1]))
    assert list(zip(found["backend"], found["variant"], strict=True)) == [("single", ""), ("horovod", "")]
    assert found["speedup"].iloc[1].value == pytest.approx(1.5)


def test_two_sizes_of_a_device_are_compared_apart():
    rows = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0)]
    rows += [("single", 1, 32, "ok", 170.0), ("horovod", 2, 32, "ok", 340.0)]
    found = by_backend(stats.scaling(table_of(*rows, threads_per_device=[1, 1, 2, 2])))
    assert found.loc[("horovod", "threads_per_device=1", 2)].efficiency.value == pytest.approx(0.75)
    assert found.loc[("horovod", "threads_per_device=2", 2)].efficiency.value == pytest.approx(1.0)


def test_transports_are_variants_of_one_backend():
    rows = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0), ("horovod", 2, 32, "ok", 180.0)]
    rows += [("horovod", 2, 32, "ok", 120.0)]
    knobs = ["{}", "{}", "{}", '{"HOROVOD_CYCLE_TIME": 9}']
    table = table_of(*rows, transport=["auto", "gloo", "mpi", "mpi"], knobs=knobs)
    found = by_backend(stats.scaling(table))
    assert {variant: row.speedup.value for (_, variant, n), row in found.iterrows() if n == 2} == pytest.approx(
        {"transport=gloo": 1.5, "transport=mpi": 1.8, "transport=mpi HOROVOD_CYCLE_TIME=9": 1.2}
    )


def test_a_base_with_variants_is_the_one_that_is_alike():
    rows = [("single", 1, 32, "ok", 100.0), ("single", 1, 32, "ok", 50.0)]
    rows += [("horovod", 2, 32, "ok", 150.0), ("horovod", 2, 32, "ok", 90.0)]
    found = by_backend(stats.scaling(table_of(*rows, knobs=['{"TF_X": 0}', '{"TF_X": 1}'] * 2)))
    assert found.loc[("horovod", "TF_X=0", 2)].speedup.value == pytest.approx(1.5)
    assert found.loc[("horovod", "TF_X=1", 2)].speedup.value == pytest.approx(1.8)


SWEEP = table_of(
    ("horovod", 2, 32, "ok", 150.0),
    ("single", 1, 32, "ok", 200.0),  # round 1 ran backwards
    ("single", 1, 32, "ok", 100.0),
    ("horovod", 2, 32, "ok", 300.0),
    ("single", 1, 32, "ok", 7.0),
    sweep="s", round=[0, 1, 0, 1, 0], canary=[False] * 4 + [True],
)  # fmt: skip


def test_runs_of_a_sweep_are_paired_by_its_rounds_without_the_canary():
    found = stats.scaling(SWEEP).set_index("backend")
    assert found.loc["horovod"].speedup.low == pytest.approx(1.5)  # 1.5 in both rounds: no spread
    assert found.loc["horovod"].speedup.high == pytest.approx(1.5)
    assert found["repeats"].tolist() == [2, 2]


def test_rounds_of_two_sweeps_are_not_mixed():
    again = SWEEP.assign(sweep="t", throughput=SWEEP["throughput"] * 10)
    found = stats.scaling(pd.concat([SWEEP, again])).set_index("backend").loc["horovod"]
    assert (found.speedup.count, found.speedup.low) == (4, pytest.approx(1.5))


def test_a_run_outside_the_sweep_pairs_with_none_of_its_rounds():
    lone = table_of(
        ("mirrored", 2, 32, "ok", 100.0),
        ("mirrored", 2, 32, "failed", math.nan),
        ("independent", 2, 32, "ok", 160.0),
        ("mirrored", 2, 32, "ok", 400.0),
        sweep=None, round=None, canary=None,
    )  # fmt: skip
    found = stats.scaling(pd.concat([SWEEP, lone])).set_index("backend")
    # geometric means: 200 of the lone runs, 100 · sqrt(2) of the base, 300 / sqrt(2) of horovod
    assert found.loc["mirrored"].speedup == stats.ratio_unpaired([100, 400], [100, 200])
    assert found.loc["mirrored"].speedup.value == pytest.approx(math.sqrt(2))
    assert found.loc["mirrored"].of_ceiling.value == pytest.approx(100 / 160)  # the first lone runs are a pair
    assert "base not of the same rounds: compared unpaired" in found.loc["mirrored"]["flags"]
    assert found.loc["horovod"].of_ceiling.value == pytest.approx(300 / math.sqrt(2) / 160)
    assert found.loc["horovod"]["flags"][0] == "ceiling not of the same rounds: compared unpaired"
    assert found.loc["single"]["flags"] == ["2 repeats: fewer than 5"]
    assert "mirrored" not in set(stats.speedups(pd.concat([SWEEP, lone]))["backend"])


def test_seeds_of_one_round_are_pairs_of_their_own():
    rows = [("single", 1, 32, "ok", 100.0), ("single", 1, 32, "ok", 200.0)]
    rows += [("horovod", 2, 32, "ok", 300.0), ("horovod", 2, 32, "ok", 150.0)]
    found = stats.scaling(table_of(*rows, seed=[0, 1, 1, 0], sweep="s", round=0)).set_index("backend").loc["horovod"]
    assert (found.repeats, found.speedup.low) == (2, pytest.approx(1.5))


def test_a_round_that_was_measured_twice_counts_once():
    rows = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 140.0), ("horovod", 2, 32, "ok", 160.0)]
    found = stats.scaling(table_of(*rows, sweep="s", round=0)).set_index("backend").loc["horovod"]
    assert (found.repeats, found.speedup.value) == (1, pytest.approx(1.5))


def test_speedups_are_the_values_behind_the_estimate():
    found = stats.speedups(SWEEP)
    assert list(found.columns) == [
        "model", "dataset", "batch", "backend", "variant", "devices", "sweep", "round", "speedup"
    ]  # fmt: skip
    horovod = found[found["backend"] == "horovod"]
    assert horovod["round"].tolist() == [0, 1]
    assert horovod["speedup"].tolist() == pytest.approx([1.5, 1.5])
    assert set(found[found["backend"] == "single"]["speedup"]) == {1.0}


def test_speedups_of_a_study_fit_a_law():
    found = stats.speedups(tidy(fake_study(5)))
    horovod = found[(found["backend"] == "horovod")]
    law = stats.fit_scaling_law(horovod["devices"], horovod["speedup"], horovod["round"])
    estimate = stats.scaling(tidy(fake_study(5))).set_index(["backend", "devices"]).loc[("horovod", 2)].speedup
    assert (law.rounds, law.largest_measured) == (5, 2)
    assert law.predict(2).value == pytest.approx(estimate.value, rel=1e-6)  # one count: the law goes through it


BOTH = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0)]


def test_doubtful_rows_are_flagged():
    rows = [("single", 1, 32, "ok", 100.0 + k) for k in range(5)]
    rows += [("horovod", 2, 32, "ok", 250.0 + k) for k in range(5)] + [("mirrored", 2, 32, "ok", 150.0)]
    found = stats.scaling(table_of(*rows, oversubscribed=[False] * 10 + [True])).set_index("backend")
    assert found.loc["single"]["flags"] == []
    assert found.loc["horovod"]["flags"] == ["efficiency above 100 %: is the base right?"]
    assert found.loc["mirrored"]["flags"] == ["1 repeat: fewer than 5", "devices share cores or GPUs"]


def test_an_efficiency_above_one_is_flagged_without_an_interval_too():
    found = stats.scaling(table_of(("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 201.0))).iloc[1]
    assert found["flags"] == ["efficiency above 100 %: is the base right?", "1 repeat: fewer than 5"]


def test_one_number_of_devices_is_still_summarised():
    rows = [("single", 1, 32, "ok", 100.0), ("horovod", 1, 32, "ok", 90.0)]
    assert by_backend(stats.scaling(table_of(*rows))).loc[("horovod", "", 1)].speedup.value == pytest.approx(0.9)


def test_a_configuration_that_only_failed_is_left_out():
    table = table_of(("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "failed", math.nan))
    assert list(stats.scaling(table).backend) == ["single"]


@pytest.mark.parametrize(("mode", "batch"), [("weak", 32), ("strong", 64)])
def test_a_missing_base_is_named_by_the_command_that_makes_it(mode, batch):
    made = RunSpec(
        model="mlp", model_args={"units": 8}, backend="horovod", devices=2, batch_per_device=32, optimizer="adam",
        epochs=2, jit_compile=True, transport="mpi", knobs={"HOROVOD_CYCLE_TIME": 1}, oversubscribe=True,
    )  # fmt: skip
    study = fake_study(1)[:1]
    study[0].spec = made.to_dict()
    with pytest.raises(SpecError, match="needs runs of backend 'single' on 1 device, and there are none") as caught:
        stats.scaling(tidy(study), mode=mode)
    _, program, line = str(caught.value).rpartition("dcbench run ")
    asked = spec_from(vars(parse(shlex.split(program + line)[1:])))
    plain = {"backend": "single", "devices": 1, "transport": "auto", "knobs": {}, "oversubscribe": False}
    assert asked == made.replace(batch_per_device=batch, **plain)


def test_a_model_without_its_base_is_not_left_out_beside_one_that_has_it():
    table = table_of(*BOTH, ("horovod", 2, 32, "ok", 90.0), model=["cnn", "cnn", "mlp"])
    with pytest.raises(SpecError, match="weak scaling of mlp with 32 examples a device needs runs of backend 'single'"):
        stats.scaling(table)
    assert set(stats.scaling(table.assign(devices=[1, 2, 1])[:3])["model"]) == {"cnn"}


def test_a_base_missing_from_a_sweep_is_added_to_the_sweep():
    table = table_of(*BOTH[1:], sweep="s", round=0)
    with pytest.raises(SpecError) as caught:
        stats.scaling(table)
    assert str(caught.value).endswith("add backend 'single' with devices 1 and batch_per_device 32 to the sweep")
    assert "dcbench run" not in str(caught.value)


@pytest.mark.parametrize("column", ["model", "dataset", "transport", "compression", "knobs", "seed"])
def test_runs_of_joined_tables_with_an_empty_column_are_counted(column):
    found = stats.scaling(table_of(*BOTH, sweep="s", round=0, **{column: [None, None]})).set_index("backend")
    assert found.loc["horovod"].speedup.value == pytest.approx(1.5)


def test_a_transport_that_one_of_joined_tables_does_not_name_is_a_variant():
    rows = [*BOTH, ("horovod", 2, 32, "ok", 170.0)]
    mixed = by_backend(stats.scaling(table_of(*rows, transport=[None, "mpi", None])))
    assert mixed.loc[("horovod", "transport=unknown", 2)].speedup.value == pytest.approx(1.7)
    assert mixed.loc[("horovod", "transport=mpi", 2)].speedup.value == pytest.approx(1.5)


def test_a_base_that_always_failed_is_missing_too():
    table = table_of(("single", 1, 32, "failed", math.nan), ("horovod", 2, 32, "ok", 1.0))
    with pytest.raises(SpecError, match="on 1 device, and all of them failed"):
        stats.scaling(table)


def test_a_study_without_a_completed_run_gives_the_first_reason():
    table = table_of(*[(b, n, 32, "failed", math.nan) for b, n, *_ in BOTH], reason=["rank 1 died", "no memory"])
    with pytest.raises(SpecError, match=r"none of 2 runs was completed.*the first says: rank 1 died"):
        stats.scaling(table)
    with pytest.raises(SpecError, match="none of 0 runs was completed"):
        stats.scaling(table[:0])


def test_an_unknown_mode_is_refused():
    with pytest.raises(SpecError, match="unknown mode 'weird'"):
        stats.scaling(table_of(*BOTH), mode="weird")


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("machine", ["2 × A cores", "4 × B"], "machine 2 × A cores and 4 × B"),
        ("host", ["a", "b"], "host a and b"),
        ("keras_version", ["3.15.1", "3.14"], "keras_version 3.15.1 and 3.14"),
        ("device_type", ["gpu", "cpu"], "device_type gpu and cpu"),
        ("model_args", ["{}", '{"units": 9}'], 'model_args {} and {"units": 9}'),
        ("precision", ["float32", "mixed_float16"], "precision float32 and mixed_float16"),
        ("optimizer", ["sgd", "adam"], "optimizer sgd and adam"),
        ("steps", [100, 250], "steps 100 and 250"),
        ("steps", [100, None], "steps 100 and none"),
        ("epochs", [1.0, 2.0], "epochs 1 and 2"),
        ("jit_compile", [False, True], "jit_compile False and True"),
        ("clipnorm", [1.0, None], "clipnorm 1 and none"),
        ("global_clipnorm", [1.0, 2.0], "global_clipnorm 1 and 2"),
        ("clipvalue", [0.5, None], "clipvalue 0.5 and none"),
        ("weight_decay", [0.01, None], "weight_decay 0.01 and none"),
    ],
)
def test_runs_of_different_work_are_refused(column, values, found):
    with pytest.raises(SpecError) as caught:
        stats.scaling(table_of(*BOTH, **{column: values}))
    assert f"the table has {found}; keep the rows of one" in str(caught.value)


def test_machines_are_not_mixed_even_where_each_has_a_base():
    table = pd.concat([table_of(*BOTH, model=m, machine=m) for m in ("cnn", "mlp")])
    with pytest.raises(SpecError, match="machine cnn and mlp"):
        stats.scaling(table)


def test_equal_work_is_compared_over_seeds_and_a_version_that_only_some_need():
    same = dict.fromkeys(stats.SAME, "x") | {"epochs": None, "seed": [0, 1], "horovod_version": [None, "0.28.1"]}
    found = stats.scaling(table_of(*BOTH, **same)).set_index("backend")
    assert found.loc["horovod"].speedup.value == pytest.approx(1.5)


def test_the_message_lists_three_values_as_a_sentence():
    table = table_of(*BOTH, ("mirrored", 2, 32, "ok", 1.0), machine=["a", "b", "c"])
    with pytest.raises(SpecError, match="the table has machine a, b and c; keep"):
        stats.scaling(table)


def test_every_column_that_must_be_the_same_exists():
    columns = tidy(fake_study(1)).columns
    assert set(stats.SAME) <= set(columns)


def test_ten_thousand_runs_are_summarised_by_configuration():
    one = tidy(fake_study(5))
    table = pd.concat([one.assign(model=f"m{k}") for k in range(250)])
    found = stats.scaling(table)
    assert len(table) == 10_000
    assert len(found) == 250 * 7
    assert np.isfinite([e.low for e in found[found["devices"] > 1]["speedup"]]).all()


def test_a_model_of_which_every_run_failed_takes_nothing_from_the_others():
    good = table_of(("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0)).assign(model="cnn")
    bad = table_of(("single", 1, 32, "failed", math.nan), ("horovod", 2, 32, "failed", math.nan)).assign(model="own")
    found = stats.scaling(pd.concat([good, bad]))
    assert set(found["model"]) == {"cnn"} and len(found) == 2
    with pytest.raises(SpecError, match="none of 2 runs was completed"):
        stats.scaling(bad)
