"""Optimizers and training steps on eight virtual devices against one.

The devices must exist before JAX starts, so one process of its own computes all facts.
"""

from pathlib import Path

import pytest

from tests.core.on_eight_devices import MAKERS, SHARDS, SPREAD
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


@pytest.mark.parametrize("kind", SPREAD)
def test_a_state_spread_over_the_data_axis_trains_as_one_device_does(facts, kind):
    fact = facts[f"zero {kind}"]
    assert fact["distances"].keys() == set(SPREAD[kind])
    assert max(fact["distances"].values()) < 1e-6
    assert fact["placed"]
    assert fact["traces"] == 1


def test_a_state_is_spread_by_the_first_dimension_that_divides(facts):
    fact = facts["zero Auto"]
    # b, n, s, w: of 16, none, 8 over "model", and 16 by 8 over "model".
    assert fact["specs"] == ["P('data',)", "P()", "P(('model', 'data'),)", "P('data', 'model')"]
    assert all(fact["followed"])
    assert all(share < 0.25 for share in fact["share"].values())  # four devices, and scalars


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_a_step_takes_the_sharding_of_a_spread_state(facts, kind):
    fact = facts[f"step {kind}"]
    assert fact["distance"] < 1e-6
    assert fact["traces"] == 1


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_the_placement_of_a_step_counts_bytes_and_collectives(facts, kind):
    fact = facts[f"step {kind}"]
    assert fact["devices"] == 8
    assert fact["param_bytes"] == 4 * (16 * 8 + 16 + 8 + 1)
    # An eighth of two moments; the moments of the scalar, the step, and the two log_unseen.
    assert fact["state_bytes"] == 2 * 4 * (16 + 2 + 1 + 1) + 4 + 2 * 4
    assert fact["collectives"]["all-gather"] >= 3  # of the updates of w, b and s
    assert fact["collectives"]["all-reduce"] >= 1  # of the gradients
    assert fact["moved"] == []
    assert fact["wrong"] == (
        "param_bytes is 612, more than 600; the collectives are "
        f"{fact['collectives']}, not {{'all-to-all': 1}}"
    )


def test_the_placement_of_a_step_names_what_it_moves(facts):
    assert facts["step moves"]["moved"] == ["params['w']"]


@pytest.mark.parametrize("name", SHARDS)
def test_a_transform_of_shards_takes_the_norms_of_the_whole_arrays(facts, name):
    assert facts["shards"]["distances"][name] < 1e-6
    assert facts["shards"]["moved"] > 1e-8


def test_outside_of_shard_map_sharded_is_its_inner_transform(facts):
    assert facts["shards"]["outside"] == 0


def test_without_sharded_the_norms_are_those_of_the_shards(facts):
    right, wrong = facts["shards clipped"]["norms"]
    assert right == pytest.approx(1.0, rel=1e-6)
    assert wrong == pytest.approx(8**0.5, rel=1e-6)  # eight shards, each of norm 1


def test_sharded_refuses_axes_that_are_not_mapped_and_untyped_shards(facts):
    assert facts["shards refused"]["messages"] == [
        "sharded: axis_name='expert' is not mapped by the shard_map around this call. Expected one "
        "of 'data', 'model'.",
        "sharded: shard_map(check_vma=False) does not say which arrays are shards. Call "
        "jax.shard_map with check_vma=True, the default.",
    ]


def test_a_saved_state_goes_to_another_number_of_devices_and_back(facts):
    fact = facts["restored"]
    assert fact["notes"] == ["", "1 device to 8", "8 devices to 1"]
    assert fact["same"]
    assert fact["placed"]
    assert fact["devices"] == 1
