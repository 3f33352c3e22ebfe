"""The sentences that close a study, against numbers planted in records."""

import pandas as pd
import pytest
from fake_records import fake_record, fake_study, fake_sweep

from dcbench import findings, stats, store
from dcbench.stats import Estimate


@pytest.fixture(scope="module")
def sweep():
    return fake_sweep(counts=(1, 2), batches=(32, 64))


def constant(backend, devices, speed, repeats=5, **fields):
    """Make runs of one configuration whose throughput is `speed` and spreads a little, alike in each round."""
    records = []
    for k in range(repeats):
        record = fake_record(backend, devices, seed=k, **fields)
        record.metrics["throughput"] = speed * (1 + 0.01 * k)
        record.sweep = {"id": "s", "round": k, "canary": False}
        record.spec["seed"] = 0
        record.run_id = f"{record.spec_hash}-{k}"
        records.append(record)
    return records


def test_times_and_percent_carry_their_interval():
    assert Estimate(1.934, 1.901, 1.95, 5).times == "1.93× [1.90, 1.95]"
    assert Estimate(2.0, float("nan"), float("nan"), 1).times == "2.00×"
    assert findings.percent(Estimate(0.021, 0.011, 0.034, 5)) == "2 % [1, 3]"
    assert findings.percent(Estimate(0.5, float("nan"), float("nan"), 1)) == "50 %"


def test_scaling_says_gain_ceiling_and_what_communication_costs():
    runs = [*constant("single", 1, 100), *constant("independent", 2, 200), *constant("horovod", 2, 150)]
    assert findings.scaling(runs) == [
        "cnn on digits, 32 examples a device: horovod on 2 devices gives 1.50× [1.50, 1.50] the throughput of one; "
        "the ceiling is 2.00× [2.00, 2.00]; communication and waiting cost 25 % [25, 25]."
    ]


def test_scaling_without_a_ceiling_or_with_one_that_is_not_shown_to_be_higher_says_so():
    base = constant("single", 1, 100)
    (said,) = findings.scaling([*base, *constant("horovod", 2, 150)])
    assert said.endswith("the throughput of one; the ceiling was not measured.")
    noisy = constant("independent", 2, 150)
    for k, record in enumerate(noisy):
        record.metrics["throughput"] *= 1 + 0.1 * (-1) ** k
    (said,) = findings.scaling([*base, *constant("horovod", 2, 150), *noisy])
    assert "no cost of communication is shown (" in said


def test_a_backend_above_its_ceiling_is_not_a_negative_cost():
    runs = [*constant("single", 1, 100), *constant("independent", 2, 150), *constant("horovod", 2, 180)]
    (said,) = findings.scaling(runs)
    assert "it lies above that by 20 % [20, 20]" in said


def test_there_is_a_sentence_for_each_model_batch_and_backend(sweep):
    said = findings.scaling(sweep)
    assert [s.split(" on 2 devices")[0] for s in said] == [
        "cnn on digits, 32 examples a device: horovod", "cnn on digits, 32 examples a device: mirrored",
        "cnn on digits, 64 examples a device: horovod", "cnn on digits, 64 examples a device: mirrored",
    ]  # fmt: skip
    found = stats.scaling(store.tidy(sweep)).set_index(["batch", "backend", "devices"])
    assert found.loc[(32, "horovod", 2), "speedup"].times in said[0]


def test_strong_scaling_names_the_global_batch():
    said = findings.scaling(fake_sweep(counts=(1, 2), batches=(64,), mode="strong"), mode="strong")
    assert said[0].startswith("cnn on digits, 64 examples a step over all devices: horovod on 2 devices gives ")


def test_one_device_alone_says_nothing_about_scaling():
    assert findings.scaling(constant("single", 1, 100)) == [
        "No way of using several devices was measured, so nothing is said about scaling."
    ]


def test_choice_names_the_faster_way_and_whether_it_beats_one_process_at_the_same_global_batch():
    runs = [
        *constant("single", 1, 100),
        *constant("single", 1, 100, batch=64),
        *constant("single", 1, 160, batch=64, threads_per_device=2),
        *constant("mirrored", 2, 120),
        *constant("horovod", 2, 150),
    ]
    assert findings.choice(runs) == [
        "cnn on digits, 32 examples a device, horovod on 2 devices has 1.25× [1.25, 1.25] the throughput of mirrored: "
        "horovod on 2 devices is faster.",
        "cnn on digits, 32 examples a device, horovod on 2 devices makes 1.50× [1.50, 1.50] the steps a second of one "
        "device at the same global batch: worth having.",
        "cnn on digits, 32 examples a device, horovod on 2 devices makes 0.94× [0.94, 0.94] the steps a second of one "
        "process with 2 cores at the same global batch: not worth having.",
    ]


def test_choice_claims_nothing_where_the_interval_spans_one(sweep):
    equal = fake_sweep(counts=(1, 2), batches=(32,))
    for record in equal:
        if record.spec["backend"] in ("mirrored", "horovod") and record.spec["devices"] == 2:
            sign = 1 if record.spec["backend"] == "horovod" else -1
            record.metrics["throughput"] = 1500 * (1 + 0.05 * sign * (-1) ** record.sweep["round"])
    assert findings.choice(equal)[0].endswith(f": {stats.NO_DIFFERENCE}.")


def test_losses_tell_following_from_leaving_by_the_data():
    rows = [("horovod", 2e-7, 3e-6), ("horovod", 1e-7, 1e-6), ("independent", 0.1, 0.4), ("mirrored", 0.5, 3.0)]
    table = pd.DataFrame(rows, columns=["backend", "early_difference", "largest_difference"]).assign(model="cnn")
    same = "the loss of one device at the same global batch"
    assert findings.losses(table) == [
        f"cnn: horovod follows {same} within 2e-07 in the first steps and 3e-06 over all (relative).",
        f"cnn: independent leaves {same} by up to 0.1 in the first steps and 0.4 over all (relative).",
        f"cnn: mirrored leaves {same} by up to 0.5 in the first steps and 3 over all (relative).",
    ]
    assert findings.losses(pd.DataFrame()) == []


def test_timed_and_sought_part_the_records(sweep):
    search = fake_record(target_accuracy=0.9)
    canaries = [r for r in sweep if r.sweep["canary"]]
    assert findings.sought([*sweep, search]) == [search, *canaries]
    assert findings.sought(sweep) == []
    assert findings.timed([*sweep, search]) == sweep


def searches(**times):
    """Make runs of some configurations that sought 90 %, with their times (s; None where it was not reached)."""
    runs = []
    for name, seconds in times.items():
        backend, devices = name.split("_")
        fields = {"target_accuracy": 0.9, "steps": 400, "repeats": len(seconds)}
        for record, time_s in zip(constant(backend, int(devices), 100, **fields), seconds, strict=True):
            record.metrics.pop("time_to_target_s", None)
            if time_s is not None:
                record.metrics["time_to_target_s"] = time_s
            runs.append(record)
    return runs


def test_target_names_the_least_time_and_what_several_devices_bring():
    assert findings.target(searches(single_1=[4.0] * 5, horovod_2=[3.0] * 5)) == [
        "cnn on digits, 90% test accuracy: the least time is 3 [3, 3] s, of horovod on 2 devices; "
        "horovod on 2 devices is 1.33× [1.33, 1.33] as fast as one device: sooner."
    ]
    assert findings.target(searches(single_1=[4.0] * 5, horovod_2=[5.0] * 5))[0].endswith(
        "the least time is 4 [4, 4] s, of single on 1 device; "
        "horovod on 2 devices is 0.80× [0.80, 0.80] as fast as one device: later."
    )
    assert findings.target(searches(single_1=[4.0] * 5))[0].endswith("is 4 [4, 4] s, of single on 1 device.")
    assert findings.target([]) == []


def test_a_configuration_whose_other_runs_missed_the_target_does_not_come_first():
    (said,) = findings.target(searches(single_1=[1.0] * 5, horovod_2=[0.1, None, None, None, None]))
    assert "the least time is 1 [1, 1] s, of single on 1 device" in said
    assert said.endswith("1 of 2 configurations did not reach it in all of their runs.")
    (said,) = findings.target(searches(single_1=[None] * 5, horovod_2=[0.1, None, None, None, None]))
    assert said.endswith("none of 2 configurations reached it in all of its runs.")


def test_each_model_and_target_has_a_sentence_of_its_own():
    one = searches(single_1=[4.0] * 5)
    other = [fake_record(model="mlp", target_accuracy=0.5, seed=k, steps=400) for k in range(5)]
    said = findings.target([*one, *other])
    assert [s.split(":")[0] for s in said] == [
        "cnn on digits, 90% test accuracy", "mlp on digits, 50% test accuracy"
    ]  # fmt: skip


def test_datasets_transports_and_sizes_are_not_mixed():
    base = constant("single", 1, 100)
    gloo, mpi = constant("horovod", 2, 150, transport="gloo"), constant("horovod", 2, 30, transport="mpi")
    runs = [*base, *constant("independent", 2, 200), *gloo, *mpi, *constant("mirrored", 2, 100)]
    said = findings.scaling(runs)
    assert [s.split(": ")[1].split(" gives")[0] for s in said] == [
        "horovod (transport=gloo) on 2 devices", "mirrored on 2 devices", "horovod (transport=mpi) on 2 devices",
    ]  # fmt: skip
    assert all("the ceiling is 2.00× [2.00, 2.00]" in s for s in said)
    assert "horovod (transport=gloo) on 2 devices has 1.50×" in findings.choice(runs)[0]
    elsewhere = [*constant("single", 1, 100, dataset="mnist"), *constant("independent", 2, 120, dataset="mnist")]
    elsewhere += constant("mirrored", 2, 60, dataset="mnist")
    (said,) = [s for s in findings.scaling([*runs, *elsewhere]) if "mnist" in s]
    assert "gives 0.60× [0.60, 0.60]" in said and "the ceiling is 1.20× [1.20, 1.20]" in said


def test_unequal_numbers_of_devices_lose_no_way_and_no_model():
    runs = [*constant("single", 1, 100), *constant("independent", 4, 400), *constant("independent", 2, 200)]
    runs += [*constant("horovod", 2, 150), *constant("mirrored", 2, 120), *constant("mirrored", 4, 200)]
    said = findings.scaling(runs)
    assert any("mirrored on 4 devices gives 2.00×" in s for s in said)
    assert any("horovod on 2 devices gives 1.50×" in s for s in said)
    assert findings.choice(runs)[0].startswith("cnn on digits, 32 examples a device, horovod on 2 devices has 1.25×")


def test_cautions_tell_failures_few_repeats_and_drift():
    assert findings.cautions([]) == ["There are no runs."]
    calm = fake_sweep(counts=(1, 2))
    assert findings.cautions(calm) == ["Nothing was flagged."]
    few = findings.cautions(fake_sweep(counts=(1, 2), repeats=3))
    assert few == ["Some configurations have 3 runs: below 5 take the intervals as a hint."]
    drifted = findings.cautions(fake_sweep(counts=(1, 2), drift=0.8))
    assert any("0.80" in said or "20 %" in said for said in drifted), drifted
    lost = findings.cautions([*fake_study(5), fake_record("horovod", 2, status="failed")])
    assert any("1 of 41 runs failed" in said for said in lost)


def test_cautions_tell_unsteady_runs_and_steps_that_stand_out():
    runs = constant("single", 1, 100)
    for record in runs:
        (times,) = [s for s in record.samples if s.phase == "step_s"]
        times.values[:] = [1.0 + 0.01 * (i % 3) for i in range(len(times.values))]
    assert not [said for said in findings.cautions(runs) if "steady" in said or "stand out" in said]
    (times,) = [s for s in runs[0].samples if s.phase == "step_s"]
    times.values[:] = [1.0 + 0.1 * i for i in range(len(times.values))]
    said = findings.cautions(runs)[-1]
    assert said.startswith(f"1 of the runs, such as {runs[0].run_id}, never became steady")
    times.values[:] = [9.0 if i % 10 == 5 else 1.0 + 0.01 * (i % 3) for i in range(len(times.values))]
    said = findings.cautions(runs)[-1]
    assert said == "2.0% of the timed steps stand out from their run; they are counted, not dropped."
