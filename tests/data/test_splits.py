"""Splits: partitions of the right sizes, by class and by group, and refusals."""

import jax
import numpy as np
import pytest

from gradkit.data import split

RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(6), [5, 5, 5, 9, 33, 43])


def test_the_parts_are_a_partition_that_the_key_decides():
    parts, again, other = (split(97, key) for key in (0, 0, 1))
    assert [len(part) for part in parts] == [77, 10, 10]
    assert sorted(np.concatenate(parts)) == list(range(97))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[1], other[1])
    in_order = split(10, None, {"train": 0.7, "dev": 0.1, "test": 0.2})
    assert {name: part.tolist() for name, part in in_order.items()} == {
        "train": [0, 1, 2, 3, 4, 5, 6],
        "dev": [7],
        "test": [8, 9],
    }


def test_stratified_parts_have_their_share_of_every_class():
    parts = split(RNG.permutation(Y), 0, stratify=True)
    assert [len(part) for part in parts] == [80, 10, 10]
    shuffled = RNG.permutation(Y)
    parts = split(shuffled, 0, (0.6, 0.25, 0.15), stratify=True)
    assert sorted(np.concatenate(parts)) == list(range(100))
    for share, part in zip((0.6, 0.25, 0.15), parts, strict=True):
        assert np.abs(np.bincount(shuffled[part], minlength=6) - share * np.bincount(Y)).max() < 1
        assert abs(len(part) - 100 * share) <= 1


def test_groups_stay_together():
    groups = RNG.permutation(np.repeat(list("abcdefghijklmnopqrst"), RNG.integers(3, 8, 20)))
    parts, other = (split(len(groups), key, groups=groups) for key in (0, 1))
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    names = [set(groups[part]) for part in parts]
    assert sum(map(len, names)) == 20
    assert names != [set(groups[part]) for part in other]
    for share, part in zip((0.8, 0.1, 0.1), parts, strict=True):
        assert abs(len(part) - share * len(groups)) <= 7  # the largest group


REFUSED = [
    (lambda: split(10, 0, (0.5, 0.2)), ValueError, "fractions=(0.5, 0.2) sum to 0.7. Expected the"),
    (
        lambda: split(10, 0, {"a": 1.2, "b": -0.2}),
        ValueError,
        "split: fractions['a']=1.2 is out of range. Expected 0 < fractions['a'] < 1.",
    ),
    (lambda: split(10, 0, 0.8), TypeError, "fractions=0.8 are not fractions. Expected a tuple"),
    (
        lambda: split(4, 0),
        ValueError,
        "split: part 2 has no samples: 0.1 of 4. Expected at least one sample in each part.",
    ),
    (
        lambda: split(4, 0, {"train": 0.95, "test": 0.05}),
        ValueError,
        "split: part 'test' has no samples: 0.05 of 4.",
    ),
    (
        lambda: split([0, 0, 0, 1], 0, (0.5, 0.5), stratify=True),
        ValueError,
        "split: class 1 has 1 samples for 2 parts. Expected a sample of each class for each part. "
        "Merge classes, or leave its samples out.",
    ),
    (lambda: split(9, 0, stratify=True), TypeError, "split: stratify=True with y=9. Expected a"),
    (lambda: split(Y / 2, 0, stratify=True), TypeError, "Expected a vector of integer labels."),
    (lambda: split(4, 0, (0.5, 0.5), groups=[0, 1]), ValueError, "groups is int32[2] for 4 samp"),
    (lambda: split(4, 0, (0.5, 0.5), groups=[1] * 4), ValueError, "2 parts are more than the 1 gr"),
    (
        lambda: split(Y, 0, stratify=True, groups=Y),
        ValueError,
        "split: groups and stratify are both given. Pass scikit-learn's StratifiedGroupKFold to",
    ),
    (lambda: split(0, 0), ValueError, "split: y=0 is out of range. Expected an integer >= 1."),
    (lambda: split("ab", 0), TypeError, "y='ab' has no samples"),
    (lambda: split(9, 0.5), TypeError, "split: key=0.5 is not a random key."),
    (lambda: jax.jit(lambda y: split(y, 0))(Y), TypeError, "y is traced. Expected known labels."),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
