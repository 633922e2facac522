"""What is true of every factory call: it is data that prints, compares, hashes and pickles."""

import pickle
import re

import jax
import pytest

import gradkit as gk
from gradkit._call import Call
from tests.cases import cases, shrunk

every = pytest.mark.parametrize("case", cases(Call), ids=repr)


@every
def test_repr_is_the_code_that_made_it(case):
    call = case.make()
    # What is not at the top level prints with its module.
    assert re.match(rf"(\w+\.)?{case.name}\(", repr(call))
    if case.reads_back:
        assert eval(repr(call), dict(vars(gk))) == call


@every
def test_equal_calls_are_equal_and_hash_alike(case):
    one, other = case.make(), case.make()
    assert one == other
    assert hash(one) == hash(other)
    assert {one: "found"}[other] == "found"
    if jax.tree.leaves(one) and any(isinstance(leaf, float) for leaf in jax.tree.leaves(one)):
        assert shrunk(one) != one
        assert hash(shrunk(one)) != hash(one)
    assert one != object()


@every
def test_it_is_a_pytree_of_its_numbers(case):
    call = case.make()
    leaves, structure = jax.tree.flatten(call)
    assert structure.unflatten(leaves) == call
    assert all(
        isinstance(leaf, (float, complex, jax.Array)) or hasattr(leaf, "dtype") for leaf in leaves
    )
    assert structure.unflatten([object()] * len(leaves)) is not None, "unflatten runs no checks"
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(call)]
    assert len(set(paths)) == len(paths)


@every
def test_it_pickles(case):
    call = case.make()
    back = pickle.loads(pickle.dumps(call))
    assert back == call
    assert back is not call


@every
def test_arguments_read_as_attributes_and_replace_changes_one(case):
    call = case.make()
    for name, value in call.arguments.items():
        if hasattr(
            type(call), name
        ):  # GradientTransformation(init, update): the methods stand before the arguments
            continue
        assert getattr(call, name) == value
        assert name in dir(call)
        if isinstance(value, float):
            changed = call.replace(**{name: value / 2})
            assert getattr(changed, name) == value / 2
            assert changed.replace(**{name: value}) == call
            assert getattr(call, name) == value
    with pytest.raises(AttributeError, match=f"{case.name} has no argument 'learnin_rate'"):
        _ = call.learnin_rate
    with pytest.raises(
        ValueError,
        match=f"{case.name}: replace: 'learnin_rate' matches no argument",
    ):
        call.replace(learnin_rate=1.0)


@every
def test_bad_arguments_are_refused_in_words(case):
    assert case.bad, "record what the factory must refuse"
    for make, words in case.bad:
        with pytest.raises((ValueError, TypeError), match=words) as error:
            make()
        message = str(error.value)
        assert message.startswith(case.name), "the message names the factory"
        assert re.search(
            r" (is|are|has|keeps|cannot) |got an unexpected keyword|missing a required", message
        ), f"{message} says what is wrong"
