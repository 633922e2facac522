"""What a mask is, what it is not, and what is said of the second."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk

PARAMS = {
    "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    "norm": {"scale": jnp.ones(2)},
}
IS_A_MASK = r"needs a mask: a tree of bools like the parameters or a prefix of it, a function of them, or a predicate; got "


def step(tx):
    return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]


def refused(error, words):
    return pytest.raises(error, match=f"^{words}$")


# ---- by_path and by_dtype --------------------------------------------------------------------------------------------


def test_by_path_means_what_any_of_its_patterns_fits():
    plain = gk.by_path("dense.*", "scale")
    assert plain(PARAMS | {"other": jnp.ones(1)}) == {
        "dense": {"kernel": True, "bias": True},
        "norm": {"scale": True},
        "other": False,
    }
    assert gk.by_path("^dense", r"\.bi", regex=True)("norm.bias", None)
    assert not gk.by_path("^dense", r"\.bi", regex=True)("norm.scale", None)
    assert [repr(gk.by_path("a", "b")), repr(gk.by_path("a", regex=True))] == [
        "by_path('a', 'b')",
        "by_path('a', regex=True)",
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gk.by_path(),
            r"by_path, patterns: needs at least one pattern; got none\. Such as by_path\('dense\.\*', 'norm\.\*'\)\.",
        ),
        (
            lambda: gk.by_path("bias", True),
            r"by_path, patterns\[1\]: needs patterns that are strings; got True\. Write regex=True\.",
        ),
        (
            lambda: gk.by_path(["a", "b"]),
            r"by_path, patterns\[0\]: needs patterns that are strings; got \['a', 'b'\]\. Such as by_path\(.*\)\.",
        ),
        (
            lambda: gk.by_dtype("flot16"),
            r"by_dtype, dtype: needs a dtype or a kind of dtypes; got 'flot16'\. Did you mean 'float16'\?",
        ),
        (
            lambda: gk.by_dtype(None),
            r"by_dtype, dtype: needs a dtype or a kind of dtypes; got None\. Such as 'bfloat16'\.",
        ),
        (
            lambda: gk.by_dtype(3),
            r"by_dtype, dtype: needs a dtype or a kind of dtypes; got 3\. Such as 'bfloat16'\.",
        ),
    ],
)
def test_what_is_no_pattern_and_no_dtype_is_refused(make, words):
    with refused(TypeError, words):
        make()


# ---- a predicate is a question, not an answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda p: p and gk.by_path("scale"),
        lambda p: p or gk.by_path("scale"),
        lambda p: not p,
        bool,
    ],
)
def test_a_predicate_has_no_truth(ask):
    words = r"by_rank\(at_least=2\): needs &, \| or ~ to be combined; got and, or, not or if, which ask for its truth\. Write a & b for a and b, .*\."
    with refused(TypeError, words):
        ask(gk.by_rank(2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: step(gk.masked(gk.adam(1e-3), gk.by_path)),
            r"masked, mask: needs a predicate; got the function by_path\. Call it: by_path\(\.\.\.\)\.",
        ),
        (
            lambda: gk.where(gk.by_rank, gk.sgd(1.0)),
            r"where, predicate: needs a predicate; got the function by_rank\. Call it: by_rank\(\.\.\.\)\.",
        ),
        (
            lambda: gk.by_function(gk.by_rank),
            r"by_function, function: needs a predicate; got the function by_rank\. Call it: .*",
        ),
        (
            lambda: gk.by_rank(2) & gk.by_path,
            r"every, predicates\[1\]: needs a predicate; got the function by_path\. Call it: .*",
        ),
        (
            lambda: gk.by_rank(2) | True,
            r"some, predicates\[1\]: needs a predicate, or a function of \(path, leaf\); got True\. Such as by_rank\(2\)\.",
        ),
        (
            lambda: gk.outside("bias"),
            r"outside, inner: needs a predicate, or a function of \(path, leaf\); got 'bias'\. Such as by_rank\(2\)\.",
        ),
        (
            lambda: step(gk.partition({"a": gk.sgd(1.0)}, {"a": gk.by_path})),
            r"partition, param_labels\['a'\]: needs a predicate; got .* Call it: .*",
        ),
        (
            lambda: gk.by_rank(2)("dense.kernel"),
            r"by_rank\(at_least=2\): needs a path and a leaf, or a tree of parameters; got the path 'dense.kernel' alone\.",
        ),
    ],
)
def test_what_is_no_predicate_is_refused(make, words):
    with refused(TypeError, words):
        make()


def test_a_predicate_answers_for_a_tree_which_optax_takes():
    matrices = gk.by_rank(2)
    tree = {"dense": {"kernel": True, "bias": False}, "norm": {"scale": False}}
    assert matrices(PARAMS) == tree
    assert matrices(jax.eval_shape(lambda: PARAMS)) == tree
    assert (~matrices & gk.by_path("dense.*"))({**PARAMS, "none": None}) == {
        "dense": {"kernel": False, "bias": True},
        "norm": {"scale": False},
        "none": None,
    }
    expected = step(optax.masked(optax.sgd(1.0), tree))
    for mask in (matrices(PARAMS), matrices.__call__, lambda params: matrices(params)):
        assert jax.tree.all(
            jax.tree.map(
                lambda a, b: bool((a == b).all()),
                step(optax.masked(optax.sgd(1.0), mask)),
                expected,
            )
        )
        decayed = step(optax.add_decayed_weights(0.5, mask))  # what optax.adamw does with its mask
        assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(decayed)] == [1.0, 1.5, 1.0]
    split = step(optax.partition({True: optax.sgd(1.0), False: optax.set_to_zero()}, matrices))
    assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(split)] == [0.0, -1.0, 0.0]


# ---- masks of the wrong type -----------------------------------------------------------------------------------------

RANKS = {"dense": {"kernel": 2, "bias": 1}, "norm": {"scale": 1}}


@pytest.mark.parametrize(
    "given", [lambda mask: mask, lambda mask: lambda params: mask], ids=["tree", "function"]
)
@pytest.mark.parametrize(
    "link",
    [lambda mask: gk.adamw(1e-3, mask=mask), lambda mask: gk.masked(gk.sgd(1.0), mask)],
    ids=["adamw", "masked"],
)
@pytest.mark.parametrize(
    ("mask", "path", "words"),
    [
        ("kernel", "mask", r"str 'kernel'\. Did you mean by_path\('kernel'\)\?"),
        ("dense", "mask", r"str 'dense'\. Did you mean by_path\('dense\.\*'\)\?"),
        ("kern", "mask", r"str 'kern'\. Did you mean by_path\('kern\*'\)\?"),
        ("head", "mask", r"str 'head'\. Did you mean by_path\('head'\)\?"),
        (
            ["kernel", "norm"],
            r"mask\.0",
            r"str 'kernel'\. Did you mean by_path\('kernel', 'norm\.\*'\)\?",
        ),
        (
            RANKS,
            r"mask\.dense\.bias",
            r"int 1\. Compare, as in x\.ndim >= 2, or write by_rank\(2\)\.",
        ),
        (
            {"dense": np.array(1.0), "norm": True},
            r"mask\.dense",
            r"ndarray array\(1\.\)\. Compare, .*",
        ),
        (
            {"dense": np.array([True, False]), "norm": True},
            r"mask\.dense",
            r"bool\[2\]\. A mask has one bool for a leaf, not one for a number\.",
        ),
        (
            {"dense": gk.by_rank(2), "norm": True},
            r"mask\.dense",
            r"by_rank\(at_least=2\)\. A predicate is a whole mask: join it with by_path .*",
        ),
        (
            {"dense": len, "norm": True},
            r"mask\.dense",
            r"builtin_function_or_method <built-in function len>\.",
        ),
    ],
    ids=range(10),
)
def test_a_mask_of_anything_but_bools_is_refused(mask, path, words, link, given):
    with refused(TypeError, rf"(add_decayed_weights|masked), {path}: {IS_A_MASK}{words}"):
        step(link(given(mask)))


@pytest.mark.parametrize(
    "yes",
    [True, np.bool_(True), np.array(True), jnp.array(True)],
    ids=lambda yes: type(yes).__name__,
)
def test_every_single_bool_is_a_bool(yes):
    for mask in (yes, {"dense": yes, "norm": yes}, lambda params: {"dense": yes, "norm": yes}):
        assert jax.tree.leaves(
            jax.tree.map(lambda u: float(u.ravel()[0]), step(gk.masked(gk.scale(2.0), mask)))
        ) == [2.0, 2.0, 2.0]


# ---- masks that mean nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "mend"),
    [
        (gk.by_path("dense"), r" Did you mean by_path\('dense\.\*'\)\?"),
        (gk.by_path("ense"), r" Did you mean by_path\('\*ense\.\*'\)\?"),
        (
            gk.by_path("dense", "norm", "head"),
            r" Did you mean by_path\('dense\.\*', 'norm\.\*', 'head'\)\?",
        ),
        (gk.by_path("dense") & gk.by_rank(2), r" Did you mean by_path\('dense\.\*'\)\?"),
        (gk.by_path("kernal"), ""),
        (gk.by_path("^kernel", regex=True), ""),
        (gk.by_path("kernel") & gk.by_rank(3), ""),
        (lambda path, leaf: False, ""),
    ],
    ids=range(8),
)
def test_a_mask_that_means_nothing_is_refused_with_the_wildcards_it_lacks(mask, mend):
    none = r"masked, mask: needs a mask that means at least one leaf; got .*, which means none of dense\.bias, dense\.kernel, norm\.scale\."
    with refused(ValueError, none + mend):
        gk.masked(gk.sgd(1.0), mask).init(PARAMS)


def test_groups_that_mean_nothing_are_refused_with_the_wildcards_they_lack():
    with refused(
        ValueError,
        r"where: .* got none for 'then'\. The labels in use are 'otherwise'\. Did you mean by_path\('dense\.\*'\)\?",
    ):
        gk.where(gk.by_path("dense"), gk.sgd(1.0)).init(PARAMS)
    two = {"a": gk.sgd(1.0), "b": gk.sgd(1.0)}
    with refused(
        ValueError,
        r"partition, dense.bias: .* got \[\]\. Make .* cover all\. Did you mean by_path\('dense\.\*'\)\?",
    ):
        gk.partition(two, {"a": gk.by_path("dense"), "b": gk.by_path("norm.*")}).init(PARAMS)
    with refused(
        ValueError,
        r"partition, dense.bias: .* got \['a', 'b'\]\. Make the predicates exclude one another and cover all\.",
    ):
        gk.partition(two, {"a": gk.by_rank(1), "b": gk.by_path("bias", "norm")}).init(PARAMS)


# ---- describe --------------------------------------------------------------------------------------------------------

KERNELS = gk.adamw(1e-3, mask=gk.by_path("kernel"))
GROUPS = gk.partition(
    {"a": KERNELS, "b": gk.sgd(0.1)}, {"a": gk.by_path("dense.*"), "b": gk.by_path("norm.*")}
)


def often(step):
    return step >= 1


WRAPPERS = {
    "MultiSteps": lambda inner: gk.MultiSteps(inner, 4),
    "guard": gk.guard,
    "apply_if_finite": lambda inner: gk.apply_if_finite(inner, 3),
    "conditionally_transform": lambda inner: gk.conditionally_transform(inner, often),
    "conditionally_mask": lambda inner: gk.conditionally_mask(inner, often),
    "lookahead": lambda inner: gk.lookahead(inner, 5, 0.5),
    "schedule_free": lambda inner: gk.schedule_free(inner, 0.1),
    "watch": lambda inner: gk.watch(inner, "grad_norm"),
    "cautious": gk.cautious,
    "split_real_and_imaginary": gk.split_real_and_imaginary,
}


def routes(tx, params=PARAMS):
    return {path: group.route for group in gk.describe(tx, params).groups for path in group.paths}


@pytest.mark.parametrize("name", WRAPPERS)
def test_describe_sees_masks_and_groups_inside_a_wrapper(name):
    wrap = WRAPPERS[name]
    assert routes(wrap(KERNELS)) == {
        "dense.kernel": (f"{name}.add_decayed_weights",),
        "dense.bias": (),
        "norm.scale": (),
    }
    assert routes(gk.chain(gk.clip(1.0), wrap(GROUPS))) == {
        "dense.kernel": (f"{name}.partition.a", f"{name}.partition.a.add_decayed_weights"),
        "dense.bias": (f"{name}.partition.a",),
        "norm.scale": (f"{name}.partition.b",),
    }
    with refused(
        ValueError,
        rf"{name}\.add_decayed_weights, mask: needs a mask that means at least one leaf; got by_path\('kernal'\), .*",
    ):
        gk.describe(wrap(gk.adamw(1e-3, mask=gk.by_path("kernal"))), PARAMS)


def test_describe_tells_the_arguments_of_a_wrapper_apart():
    tx = gk.sam(KERNELS, gk.masked(gk.sgd(0.1), gk.by_path("bias")))
    assert routes(tx) == {
        "dense.kernel": ("sam.optimizer.add_decayed_weights",),
        "dense.bias": ("sam.adv_optimizer.masked",),
        "norm.scale": (),
    }


def test_describe_sees_wrappers_in_wrappers_and_every_mask_of_a_penalty():
    penalties = (
        gk.add_l1_penalty(0.1, gk.by_path("scale")),
        gk.add_l2_penalty(0.1, gk.by_path("kernel")),
    )
    tx = gk.MultiSteps(gk.guard(gk.chain(*penalties, gk.freeze(gk.by_path("bias")))), 2)
    inside = "MultiSteps.guard"
    assert routes(tx) == {
        "norm.scale": (f"{inside}.add_l1_penalty",),
        "dense.kernel": (f"{inside}.add_l2_penalty",),
        "dense.bias": (f"{inside}.freeze",),
    }
    assert "MultiSteps.guard.freeze: 1 leaf, 2 parameters" in str(gk.describe(tx, PARAMS))


def test_describe_takes_trees_with_none_and_with_complex_leaves():
    assert routes(KERNELS, {**PARAMS, "function": None})["dense.kernel"] == ("add_decayed_weights",)
    tx = gk.split_real_and_imaginary(
        gk.masked(gk.masked(gk.clip(1.0), gk.by_path("w.*")), gk.by_rank(1))
    )
    params = {"w": jnp.ones(2, complex), "v": jnp.ones(2), "s": jnp.ones(())}
    outer = "split_real_and_imaginary.masked"
    assert routes(tx, params) == {"w": (outer, f"{outer}.masked"), "v": (outer,), "s": ()}


# ---- what passes -----------------------------------------------------------------------------------------------------


def test_the_leaves_outside_pass_unless_something_else_is_said():
    first = lambda tx: [
        float(leaf.ravel()[0]) for leaf in jax.tree.leaves(step(tx))
    ]  # dense.bias, dense.kernel, norm.scale
    assert (
        first(gk.where(gk.by_rank(2), gk.sgd(1.0)))
        == first(gk.masked(gk.sgd(1.0), gk.by_rank(2)))
        == [1.0, -1.0, 1.0]
    )
    still = [
        gk.where(gk.by_rank(2), gk.sgd(1.0), otherwise=gk.set_to_zero()),
        gk.chain(gk.masked(gk.sgd(1.0), gk.by_rank(2)), gk.freeze(~gk.by_rank(2))),
    ]
    assert first(still[0]) == first(still[1]) == [0.0, -1.0, 0.0]
