"""Mini-batches: exact and even permutations, the same however they are computed, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import stats

import gradkit as gk
from gradkit.data import epochs


@pytest.fixture(scope="module")
def orders():
    """The permutations of 2000 epochs of 100 samples."""
    return np.asarray(epochs(100, 100, 3)(np.arange(2000)))


def chance(counts):
    """The probability of counts as uneven as these, of equally likely cases."""
    expected = counts.sum() / counts.size
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1)


def test_each_epoch_is_a_permutation_of_its_own(orders):
    assert (np.sort(orders, axis=1) == np.arange(100)).all()
    assert len(np.unique(orders, axis=0)) == 2000


def test_every_sample_is_as_likely_in_every_place(orders):
    places = np.stack([np.bincount(column, minlength=100) for column in orders.T])
    assert chance(places) > 0.01
    assert min(chance(row) for row in places) > 1e-4


def test_what_follows_a_sample_is_any_other_one(orders):
    steps = (orders[:, 1:] - orders[:, :-1]) % 100
    assert chance(np.bincount(steps.ravel(), minlength=100)[1:]) > 0.01
    pairs = np.bincount((orders[:, :-1] * 100 + orders[:, 1:]).ravel(), minlength=100**2)
    assert chance(pairs.reshape(100, 100)[~np.eye(100, dtype=bool)]) > 0.01
    first, second = np.triu_indices(100, 1)
    inversions = (orders[:200, first] > orders[:200, second]).mean(axis=1)
    deviation = np.sqrt(100 * 99 * 205 / 72) / len(first)
    assert abs(inversions.mean() - 0.5) < 4 * deviation / np.sqrt(200)
    assert 0.8 < inversions.std() / deviation < 1.2


def test_neighbouring_epochs_and_keys_have_nothing_in_common(orders):
    assert abs((orders[1:] == orders[:-1]).sum(axis=1).mean() - 1) < 0.1  # of 100 places
    assert abs((epochs(100, 100, 4)(np.arange(2000)) == orders).sum(axis=1).mean() - 1) < 0.1


def test_all_permutations_of_few_samples_occur_equally_often():
    found = np.asarray(epochs(4, 4, 0)(np.arange(2400)))
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 24
    assert chance(counts) > 0.01


def test_an_epoch_of_many_samples_is_exact():
    batches = epochs(100_003, 1000, 0, drop_remainder=False)
    steps = np.arange(batches.steps_per_epoch)
    rows, where = np.asarray(batches(steps)), np.asarray(batches.where(steps))
    assert (np.sort(rows[where]) == np.arange(100_003)).all()
    # What fills the last batch is the beginning of the epoch.
    assert where.sum() == 100_003
    assert where[:-1].all()
    assert (rows[~where] == rows.ravel()[: (~where).sum()]).all()


def test_batches_are_the_same_in_every_way_to_compute_them():
    batches = epochs(70, 16, 5, num_epochs=2, drop_remainder=False)
    assert (batches.steps_per_epoch, len(batches)) == (5, 10)
    one_by_one = np.stack([np.asarray(rows) for rows in batches])
    steps = jnp.arange(10)
    scanned = jax.jit(lambda b, s: lax.scan(lambda _, i: (None, b(i)), None, s)[1])
    np.testing.assert_array_equal(batches(steps), one_by_one)
    np.testing.assert_array_equal(scanned(batches, steps), one_by_one)
    np.testing.assert_array_equal(scanned(batches, steps + 7)[:3], one_by_one[7:])  # resumed
    keys = jax.random.split(jax.random.key(5), 3)
    of_keys = jax.vmap(lambda key: epochs(70, 16, key, drop_remainder=False)(7))(keys)
    np.testing.assert_array_equal(
        of_keys[1], epochs(70, 16, jax.random.key_data(keys)[1], drop_remainder=False)(7)
    )
    assert [int(batches.epoch(i)) for i in (0, 4, 5, 9)] == [0, 0, 1, 1]
    assert batches.epoch(steps).tolist() == [0] * 5 + [1] * 5


def test_dropped_remainders_differ_between_epochs():
    batches = epochs(70, 16, 5)
    seen = np.asarray(batches(np.arange(8))).reshape(2, 64)
    assert batches.steps_per_epoch == 4
    assert all(len(set(epoch)) == 64 for epoch in seen)
    assert set(seen[0]) != set(seen[1])
    assert batches.where(3).all()


def test_the_shares_of_the_workers_make_up_the_batch():
    workers = 4
    whole = epochs(70, 16, 5, drop_remainder=False)
    step = jnp.arange(10)

    def share(i):
        mine = epochs(70, 16, 5, drop_remainder=False, shard=(i, workers))
        return mine(step), mine.where(step)

    rows, where = jax.vmap(share, out_axes=1)(jnp.arange(workers))
    np.testing.assert_array_equal(rows.reshape(10, 16), whole(step))
    np.testing.assert_array_equal(where.reshape(10, 16), whole.where(step))


def test_batch_and_stochastic_descent_are_the_extremes():
    whole, one = epochs(9, 9, 0), epochs(9, 1, 0)
    assert (whole.steps_per_epoch, one.steps_per_epoch) == (1, 9)
    assert sorted(whole(0).tolist()) == list(range(9))
    assert one(np.arange(9)).ravel().tolist() == whole(0).tolist()
    in_order = epochs(9, 4, shuffle=False, drop_remainder=False)
    assert in_order(5).tolist() == [8, 0, 1, 2]
    assert in_order.where(5).tolist() == [True, False, False, False]


def test_batches_are_taken_from_trees_on_the_host_and_on_the_device(tmp_path):
    x = np.arange(24.0, dtype=np.float32).reshape(12, 2)
    disk = np.memmap(tmp_path / "x", np.float32, "w+", shape=(12, 2))
    disk[:] = x
    batches = epochs(12, 4, 0)
    rows = np.asarray(batches(2))
    taken = batches.take({"host": x, "disk": disk, "device": jnp.asarray(x)}, 2)
    assert isinstance(taken["host"], np.ndarray)
    assert isinstance(taken["disk"], np.ndarray)
    assert isinstance(taken["device"], jax.Array)
    for batch in taken.values():
        np.testing.assert_array_equal(batch, x[rows])
    traced = jax.jit(lambda b, i: b.take((x, jnp.asarray(x)), i))(batches, 2)
    np.testing.assert_array_equal(traced[0], x[rows])
    np.testing.assert_array_equal(traced[1], x[rows])


def test_batches_print_as_the_call_and_compare_by_it():
    batches = epochs(70, 16, 5, num_epochs=2, drop_remainder=False, shard=(1, 2))
    text = "epochs(70, 16, 5, num_epochs=2, drop_remainder=False, shard=(1, 2))"
    assert repr(batches) == text
    assert eval(text) == batches
    assert hash(eval(text)) == hash(batches)
    assert repr(epochs(70, 16, shuffle=False)) == "epochs(70, 16, None, shuffle=False)"
    key = jax.random.split(jax.random.key(0))[0]
    assert repr(epochs(9, 3, key)) == f"epochs(9, 3, key={jax.random.key_data(key).tolist()})"
    assert epochs(9, 3, key) == epochs(9, 3, jax.random.key_data(key))
    different = [epochs(9, 3, 1), epochs(9, 1, 0), epochs(9, 3, shuffle=False), "epochs"]
    assert all(other != epochs(9, 3, 0) for other in different)
    assert bool(epochs(9, 3, 0))
    with pytest.raises(AttributeError):
        batches.n = 3
    again = jax.tree.unflatten(jax.tree.structure(batches), jax.tree.leaves(batches))
    assert again == batches


REFUSED = [
    (
        lambda: epochs(100, 128, 0),
        ValueError,
        "epochs: batch_size=128 is more than the 100 samples. Expected 1 <= batch_size <= 100.",
    ),
    (lambda: epochs(0, 1, 0), ValueError, "epochs: n=0 is out of range. Expected an integer >= 1."),
    (
        lambda: epochs(2**31, 1, 0),
        ValueError,
        "epochs: n=2147483648 is out of range. Expected n < 2**31. Index blocks of samples.",
    ),
    (
        lambda: epochs(4, 0, 0),
        ValueError,
        "epochs: batch_size=0 is out of range. Expected an integer >= 1.",
    ),
    (
        lambda: epochs(4, 2),
        TypeError,
        "epochs: key is None. Expected a seed or a random key. Without shuffling pass "
        "shuffle=False.",
    ),
    (
        lambda: epochs(4, 2, "seed"),
        TypeError,
        "epochs: key='seed' is not a random key. Expected a seed such as key=0, a random key, or "
        "the data of one.",
    ),
    (
        lambda: epochs(4, 2, jax.random.split(jax.random.key(0))),
        ValueError,
        "epochs: key is key<fry>[2]. Expected one random key. Map over several with jax.vmap.",
    ),
    (
        lambda: epochs(4, 2, 0, num_epochs=0),
        ValueError,
        "epochs: num_epochs=0 is out of range. Expected an integer >= 1.",
    ),
    (
        lambda: epochs(4, 2, 0, shuffle="yes"),
        TypeError,
        "epochs: shuffle='yes' is not a bool. Expected True or False.",
    ),
    (
        lambda: epochs(4, 2, 0, shard=3),
        TypeError,
        "epochs: shard=3 is not a pair. Expected (worker, workers).",
    ),
    (
        lambda: epochs(4, 2, 0, shard=(2, 2)),
        ValueError,
        "epochs: shard=(2, 2) is out of range. Expected a worker from 0 to 1.",
    ),
    (
        lambda: epochs(4, 3, 0, shard=(0, 2)),
        ValueError,
        "epochs: batch_size=3 cannot be shared among 2 workers. Expected a multiple of the number "
        "of workers.",
    ),
    (
        lambda: epochs(4, 2, 0, shard=(0.5, 2)),
        TypeError,
        "epochs: the worker 0.5 is not an integer. Expected an integer from 0 to 1.",
    ),
    (
        lambda: epochs(4, 2, 0, num_epochs=3)(6),
        ValueError,
        "epochs: step=6 is out of range. Expected 0 <= step <= 5.",
    ),
    (
        lambda: epochs(4, 2, 0).where(-1),
        ValueError,
        "epochs: step=-1 is out of range. Expected step >= 0.",
    ),
    (
        lambda: epochs(4, 2, 0)(0.5),
        TypeError,
        "epochs: step=0.5 is not an integer. Expected the number of a batch.",
    ),
    (
        lambda: len(epochs(4, 2, 0)),
        TypeError,
        "epochs: num_epochs=None has no last step. Pass num_epochs=, or take steps_per_epoch.",
    ),
    (
        lambda: epochs(4, 2, 0).take({"x": np.zeros((3, 2), np.float32)}, 0),
        ValueError,
        "take, x: this array is float32[3, 2]. Expected n=4 samples along its first axis.",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_step_on_the_device_is_not_read():
    batches = gk.data.epochs(70, 16, 5, num_epochs=1, drop_remainder=False)
    assert batches(jnp.arange(10)).shape == (10, 16)
