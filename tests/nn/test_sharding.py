"""Eight virtual devices against one.

The devices must exist before JAX starts, so one process of its own computes all facts.
"""

from pathlib import Path

import pytest

from tests.eight_devices import facts_of

# One process computes all facts: the tests that read them stay on one worker.
pytestmark = pytest.mark.xdist_group("nn on eight devices")
DROPS = ["dropout", "channels", "path", "block", "alpha", "gaussian", "noise", "pool"]
DROPS += ["nnx", "linen", "gradient", "samples", "a rate per example"]


@pytest.fixture(scope="module")
def facts():
    return facts_of(Path(__file__).with_name("on_eight_devices.py"))


def test_there_are_eight_devices(facts):
    assert facts["devices"]["count"] == 8


@pytest.mark.parametrize("way", ["jit", "shard_map"])
@pytest.mark.parametrize("mask", ["masked", "whole", "nothing"])
def test_synchronized_batch_norm_is_that_of_one_device(facts, way, mask):
    assert facts[f"{way} {mask}"]["distance"] < 2e-5


def test_statistics_are_finite_when_everything_is_masked(facts):
    assert facts["shard_map nothing"]["finite"] == 1


def test_unequal_masked_counts_weigh_as_they_should(facts):
    assert facts["oracle"]["mean"] < 1e-5
    assert facts["oracle"]["var"] < 1e-5


@pytest.mark.parametrize(
    "name", ["groups", "layer norm over devices", "one value per device is enough together"]
)
def test_named_axes_reduce_over_the_devices_named(facts, name):
    assert facts[name]["distance"] < 1e-5


@pytest.mark.parametrize("name", ["dropout", "path", "alpha"])
def test_the_mask_is_the_same_whatever_the_sharding(facts, name):
    assert facts[f"mask {name}"]["distance"] == 0
    assert facts[f"mask {name}"]["eager"] < 1e-6


@pytest.mark.parametrize(
    "name", ["ghost", "ghost masked", "group", "running", "nnx", "layer masked"]
)
def test_shardings_that_are_part_of_the_types_change_nothing(facts, name):
    assert facts[f"explicit {name}"]["distance"] < 2e-4
    assert facts[f"explicit {name}"]["typed"] == 1


def test_one_value_per_channel_in_a_group_of_devices_is_refused(facts):
    assert facts["groups of one device"]["one"] == 1
    assert facts["groups of one device"]["two"] == 0


@pytest.mark.parametrize("name", DROPS)
def test_explicit_sharding_keeps_the_mask_and_the_sharding(facts, name):
    assert facts[f"drop {name}"]["distance"] < 1e-6
    assert facts[f"drop {name}"]["same"] == 1


def test_explicit_sharding_within_a_shard_map(facts):
    assert facts["one axis by hand"]["same"] == 1
