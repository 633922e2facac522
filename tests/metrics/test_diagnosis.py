"""Bias and variance, read from errors and learning curves."""

import jax
import numpy as np
import pytest

from gradkit.metrics import bias_variance

# The four cases of the textbook, with the error that people reach.
TEXTBOOK = [
    (0.01, 0.11, 0.0, "high variance"),
    (0.15, 0.16, 0.0, "high bias"),
    (0.15, 0.30, 0.0, "high bias and high variance"),
    (0.005, 0.01, 0.0, "low bias and low variance"),
    (0.15, 0.16, 0.14, "low bias and low variance"),
]


@pytest.mark.parametrize(("train", "dev", "target", "words"), TEXTBOOK)
def test_the_cases_of_the_textbook_are_told_apart(train, dev, target, words):
    found = bias_variance(train, dev, target)
    assert str(found).partition(":")[0] == words
    assert found.bias == train - target
    assert found.variance == dev - train
    for number in (train, dev, target):
        assert f"{number:.4g}" in str(found)


def test_of_curves_the_last_points_are_averaged():
    train, dev = np.array([0.5, 0.2, 0.1], np.float32), [0.6, 0.3, 0.2]
    assert bias_variance(train, dev).train_error == pytest.approx(0.1)
    found = bias_variance(train, dev, last=2, tolerance=0.2)
    assert (found.train_error, found.dev_error) == pytest.approx((0.15, 0.25))
    assert not found.high_bias
    assert not found.high_variance


REFUSED = [
    (lambda: bias_variance([], 0.1), ValueError, "train_error is"),
    (lambda: bias_variance(np.ones((2, 2)), 0.1), ValueError, "Expected a number or a vector"),
    (lambda: bias_variance("low", 0.1), TypeError, "train_error='low' is not an error"),
    (lambda: bias_variance(0.1, [0.1, np.nan]), ValueError, "dev_error=nan is not finite"),
    (
        lambda: bias_variance(0.1, [0.1, 0.2], last=3),
        ValueError,
        "last=3 is more than the 2 points",
    ),
    (lambda: bias_variance(0.1, 0.2, last=0), ValueError, "last=0 is out of range"),
    (lambda: bias_variance(0.1, 0.2, tolerance=-1.0), ValueError, "tolerance=-1.0 is out of range"),
    (lambda: jax.jit(bias_variance)(0.1, 0.2), TypeError, "is traced"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()
