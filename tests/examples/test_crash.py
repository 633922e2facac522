"""A run that is killed at random moments ends like one that nobody disturbed.

The 100 kills are those of ``python -m benchmarks.crash``.
"""

import pytest

pytest.importorskip("orbax.checkpoint")

# One server forks the children of both.
pytestmark = pytest.mark.xdist_group("crash")


@pytest.mark.parametrize(("devices", "kills"), [(1, 1), (8, 2)])
def test_a_run_under_sigkill_ends_bitwise_as_without(devices, kills):
    from benchmarks.crash import crash

    row = crash(kills, devices=devices, steps=12, every=2, seed=devices)
    assert row["kills"] == kills
    assert row["arrays"] == 19  # parameters, state, key, order
