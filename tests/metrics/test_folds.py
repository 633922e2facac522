"""Folds beside scikit-learn's, mapped over, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradkit import metrics as ours

theirs = pytest.importorskip("sklearn.model_selection")

RNG = np.random.default_rng(0)
Y = RNG.integers(3, size=23)
GROUPS = RNG.integers(7, size=23)
KINDS = {
    "plain": ({}, theirs.KFold(4)),
    "stratified": ({"stratify": True}, theirs.StratifiedKFold(4)),
    "grouped": ({"groups": GROUPS}, theirs.GroupKFold(4)),
}


def rows(folds):
    """The pairs of indices without what fills the rows."""
    train, train_where, test, test_where = map(np.asarray, folds)
    return [
        (a[b].tolist(), c[d].tolist())
        for a, b, c, d in zip(train, train_where, test, test_where, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_folds_in_order_are_those_of_scikit_learn(kind):
    options, splitter = KINDS[kind]
    groups = options.get("groups")
    pairs = list(splitter.split(Y[:, None], Y, groups))
    wanted = [(train.tolist(), test.tolist()) for train, test in pairs]
    assert rows(ours.k_fold(Y, 4, **options)) == wanted
    assert rows(ours.as_folds(splitter, Y, groups)) == wanted
    assert rows(ours.as_folds(pairs)) == wanted
    if kind == "plain":
        assert rows(ours.k_fold(23, 4)) == wanted


@pytest.mark.parametrize("stratify", [False, True])
def test_shuffled_folds_are_a_partition_that_the_key_decides(stratify):
    found, again, other = (rows(ours.k_fold(Y, 4, stratify=stratify, key=i)) for i in (0, 0, 1))
    assert found == again != other != rows(ours.k_fold(Y, 4, stratify=stratify))
    assert sorted(i for _, test in found for i in test) == list(range(23))
    for train, test in found:
        assert sorted(train + test) == list(range(23))
        if stratify:
            share = np.bincount(Y[test], minlength=3) - np.bincount(Y, minlength=3) / 4
            assert np.abs(share).max() < 1


def test_a_fit_of_all_folds_at_once_is_that_of_each_by_itself():
    x = RNG.normal(size=(23, 2)).astype(np.float32)
    y = x @ np.float32([1, -2]) + RNG.normal(size=23).astype(np.float32)

    def error(fold):
        weight = fold.train_where.astype(jnp.float32)[:, None]
        a, b = jnp.asarray(x)[fold.train], jnp.asarray(y)[fold.train]
        w = jnp.linalg.solve(a.T @ (weight * a) + jnp.eye(2), a.T @ (weight[:, 0] * b))
        miss = jnp.asarray(y)[fold.test] - jnp.asarray(x)[fold.test] @ w
        return jnp.mean(miss**2, where=fold.test_where)

    wanted = []
    for train, test in KINDS["grouped"][1].split(x, y, GROUPS):
        w = np.linalg.solve(x[train].T @ x[train] + np.eye(2), x[train].T @ y[train])
        wanted.append(np.mean((y[test] - x[test] @ w) ** 2))
    found = jax.jit(jax.vmap(error))(ours.k_fold(y, 4, groups=GROUPS))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


REFUSED = [
    (lambda: ours.k_fold(3, 4), ValueError, "k_fold: n_splits=4 is more than the 3 samples"),
    (lambda: ours.k_fold(Y, 1), ValueError, "n_splits=1 is out of range"),
    (lambda: ours.k_fold(0, 2), ValueError, "y=0 is out of range"),
    (lambda: ours.k_fold("ab", 2), TypeError, "y='ab' has no samples"),
    (lambda: ours.k_fold(9, 2, stratify=True), TypeError, "stratify=True with y=9"),
    (lambda: ours.k_fold(Y / 2, 2, stratify=True), TypeError, "Expected integer labels"),
    (
        lambda: ours.k_fold([0, 0, 0, 1], 2, stratify=True),
        ValueError,
        "class 1 has 1 samples for n_splits=2",
    ),
    (lambda: ours.k_fold(4, 3, groups=[0, 0, 1, 1]), ValueError, "more than the 2 groups"),
    (lambda: ours.k_fold(4, 2, groups=[0, 1]), ValueError, "groups is .* for 4 samples"),
    (lambda: ours.k_fold(4, 2, groups=[0, 0, 1, 1], key=0), ValueError, "groups and key are both"),
    (lambda: jax.jit(ours.k_fold)(Y), TypeError, "y is traced"),
    (lambda: ours.as_folds(3), TypeError, "splits=3 has no splits"),
    (lambda: ours.as_folds([]), ValueError, "splits is empty"),
    (lambda: ours.as_folds([([0, 1], [1])]), ValueError, "sample 1 is in both parts of split 0"),
    (lambda: ours.as_folds([([0, 1], [])]), ValueError, "split 0 is not a pair of indices"),
    (lambda: ours.as_folds([([0, 1], [-1])]), ValueError, "split 0 has a negative index"),
    (lambda: ours.as_folds([3]), ValueError, "split 0 is not a pair"),
    (lambda: ours.as_folds(theirs.KFold(2)), TypeError, "y=None has no samples"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
