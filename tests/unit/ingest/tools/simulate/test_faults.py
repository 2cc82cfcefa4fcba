"""The plan of a bad day."""

from itertools import islice

from ingest.tools.simulate.faults import KINDS, plan


def test_one_seed_one_plan():
    assert list(islice(plan(1, 8.0), 40)) == list(islice(plan(1, 8.0), 40))
    assert list(islice(plan(1, 8.0), 40)) != list(islice(plan(2, 8.0), 40))


def test_every_kind_comes_in_every_four():
    faults = list(islice(plan(1, 8.0), 40))
    for start in range(0, 40, 4):
        assert {fault.kind for fault in faults[start : start + 4]} == set(KINDS)


def test_times_scale_with_the_interval():
    for fault in islice(plan(3, 2.0), 200):
        assert 1.0 <= fault.after <= 3.0
        assert fault.lasting == 0.0 if fault.kind == "drop" else 0.5 <= fault.lasting <= 1.0
        assert 0 <= fault.choice < 1
