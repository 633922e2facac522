"""Optimizers and training steps on eight virtual devices against one.

The devices must exist before JAX starts, so one process of its own computes all facts.
"""

from pathlib import Path

import pytest

from tests.core.on_eight_devices import MAKERS
from tests.eight_devices import facts_of

# One process computes all facts: the tests that read them stay on one worker.
pytestmark = pytest.mark.xdist_group("core on eight devices")


@pytest.fixture(scope="module")
def facts():
    return facts_of(Path(__file__).with_name("on_eight_devices.py"))


def test_there_are_eight_devices(facts):
    assert facts["devices"]["count"] == 8


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_on_an_explicit_mesh_is_that_of_one_device(facts, name):
    fact = facts[f"explicit {name}"]
    assert "error" not in fact
    assert fact["distance"] < (2e-2 if name == "compensated" else 2e-5)
    assert fact["traces"] == 1


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_has_the_sharding_of_the_parameters(facts, name):
    assert facts[f"explicit {name}"]["typed"]
    assert facts[f"explicit {name}"]["traced_init"]


def test_a_step_takes_and_returns_the_shardings_that_it_is_given(facts):
    assert facts["shardings"]["distance"] < 1e-5
    assert facts["shardings"]["traces"] == 1
    assert facts["shardings"]["placed"]
    assert facts["shardings"]["devices"] == 8


def test_the_best_weights_of_a_run_are_sharded_as_they_were(facts):
    fact = facts["stopping"]
    assert fact["distance"] < 1e-5
    assert fact["placed"]
    assert fact["steps"][0] == fact["steps"][1] < 9
    assert fact["best"][0] == fact["best"][1] > 0


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_each_device_orthogonalizes_its_share_of_the_matrices(facts, kind):
    fact = facts[f"spread {kind}"]
    assert fact["distance"] < 2e-6
    assert fact["share"] < 0.2  # two of fifteen products, and what is not spread
    assert fact["rows"] == [16, 16]  # one of zeros
    assert fact["local"] == [2, 2]


def test_the_mesh_may_be_given(facts):
    assert facts["spread mesh"]["distance"] < 2e-6


def test_one_sharding_may_stand_for_a_whole_tree(facts):
    assert facts["prefix"]["distance"] < 1e-5
    assert facts["prefix"]["placed"]


def test_batches_are_taken_and_augmented_where_they_are(facts):
    assert facts["data"]["distance"] < 1e-5
    assert facts["data"]["typed"]


def test_a_plan_says_what_each_device_holds(facts):
    fact = facts["plan"]
    assert fact["params"] == [True] * 8
    assert fact["state"] == [fact["expected"]]
    assert fact["in_place"]
    assert fact["measured"] > 0
    assert fact["replicated"]
    assert fact["lost"]["w"].startswith("it is placed as P(), and returned as P('data'")


def test_a_saved_state_goes_to_another_number_of_devices_and_back(facts):
    fact = facts["restored"]
    assert fact["notes"] == ["", "1 device to 8", "8 devices to 1"]
    assert fact["same"]
    assert fact["placed"]
    assert fact["devices"] == 1
