"""A short soak: faults are skipped and counted once, nothing leaks, averages stay right."""

import pytest

from benchmarks import soak


@pytest.mark.parametrize("kind", ["guard", "apply_if_finite"])
def test_training_under_faults_is_that_of_the_accepted_steps(kind):
    found = soak.run(kind, 1000, every=250)  # which asserts the counts, clocks and buffers
    assert found.skipped > 50
    assert found.spikes > 5
    assert found.refused == 7 * found.round_trips == 28
    assert max(found.errors.values()) < 1e-4, found.errors
