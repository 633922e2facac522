"""Masks: what predicates select and print, what is refused, and which masks may select nothing."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradkit as gk
from gradkit import masks

PARAMS = {
    "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    "norm": {"scale": jnp.ones(2)},
}
A_MASK = (
    r"Expected a tree of bools like the parameters or a prefix of it, a function of the "
    r"parameters that returns such a tree, or a predicate\."
)
A_PREDICATE = r"Expected a predicate such as by_rank\(2\)\."


def step(tx):
    return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]


def refused(error, words):
    return pytest.raises(error, match=f"^{words}$")


# ---- by_path, by_rank, by_dtype ------------------------------------------------------


def test_by_path_selects_what_any_of_its_patterns_matches():
    plain = gk.by_path("dense.*", "scale")
    assert plain(PARAMS | {"other": jnp.ones(1)}) == {
        "dense": {"kernel": True, "bias": True},
        "norm": {"scale": True},
        "other": False,
    }
    assert gk.by_path("^dense", r"\.bi", regex=True)("norm.bias", None)
    assert not gk.by_path("^dense", r"\.bi", regex=True)("norm.scale", None)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (masks.by_path, TypeError, r"by_path: no pattern was given\. Expected one or more .*"),
        (
            lambda: gk.by_path("bias", True),
            TypeError,
            r"by_path: True is not a pattern\. Expected .* Write regex=True\.",
        ),
        (
            lambda: gk.by_path(["a", "b"]),
            TypeError,
            r"by_path: \['a', 'b'\] is not a pattern\. Expected .* such as by_path\(.*\)\.",
        ),
        (
            lambda: gk.by_path("(", regex=True),
            ValueError,
            r"by_path: '\(' is not a regular expression: .*",
        ),
        (
            lambda: gk.by_rank(2, 1),
            ValueError,
            r"by_rank: at_most=1 is out of range\. Expected at_most >= 2\.",
        ),
        (
            lambda: gk.masks.by_dtype("flot16"),
            TypeError,
            r"by_dtype: dtype='flot16' is not a dtype\. Expected .* Did you mean 'float16'\?",
        ),
        (
            lambda: gk.masks.by_dtype(None),
            TypeError,
            r"by_dtype: dtype=None is not a dtype\. Expected a dtype such as 'bfloat16', or .*",
        ),
        (
            lambda: gk.masks.by_dtype(3),
            TypeError,
            r"by_dtype: dtype=3 is not a dtype\. Expected a dtype such as 'bfloat16', or .*",
        ),
    ],
)
def test_patterns_ranks_and_dtypes_are_checked_when_a_predicate_is_made(make, error, words):
    with refused(error, words):
        make()


# ---- operators -----------------------------------------------------------------------

A, B, C = gk.by_rank(2), gk.by_path("head.*"), gk.masks.by_dtype(jnp.bfloat16)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (A & ~B, "by_rank(2) & ~by_path('head.*')"),
        (A & B | C, "by_rank(2) & by_path('head.*') | masks.by_dtype('bfloat16')"),
        ((A | B) & C, "(by_rank(2) | by_path('head.*')) & masks.by_dtype('bfloat16')"),
        (A & (B & C), "by_rank(2) & by_path('head.*') & masks.by_dtype('bfloat16')"),
        (A | (B | C), "by_rank(2) | by_path('head.*') | masks.by_dtype('bfloat16')"),
        (~(A | B), "~(by_rank(2) | by_path('head.*'))"),
        (~(A & ~~B), "~(by_rank(2) & ~~by_path('head.*'))"),
        (gk.by_rank(1, 1), "by_rank(1, at_most=1)"),
        (gk.masks.by_size(at_most=3), "masks.by_size(at_most=3)"),
        (gk.by_path("a", regex=True), "by_path('a', regex=True)"),
    ],
)
def test_a_predicate_prints_as_the_expression_that_makes_it(made, text):
    assert repr(made) == text
    assert eval(text, vars(gk)) == made
    assert pickle.loads(pickle.dumps(made)) == made


def test_operators_select_the_intersection_the_union_and_the_complement():
    sees = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    vector, named = gk.by_rank(1, 1), gk.by_path("a")
    assert (vector & named)(sees) == {"a": False, "b": False}
    assert (vector | named)(sees) == {"a": True, "b": True}
    assert (~vector)(sees) == {"a": True, "b": False}
    assert (vector & named) & A == vector & (named & A)


@pytest.mark.parametrize(
    "ask",
    [
        lambda p: p and gk.by_path("scale"),
        lambda p: p or gk.by_path("scale"),
        lambda p: not p,
        bool,
    ],
)
def test_a_predicate_has_no_truth_value(ask):
    words = r"by_rank\(2\): a predicate has no truth value, .* Write a & b for a and b, .*\."
    with refused(TypeError, words):
        ask(gk.by_rank(2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: step(gk.masked(gk.adam(1e-3), gk.by_path)),
            rf"masked: mask=by_path is not a predicate, .* {A_PREDICATE} Call .*by_path\(.*\)\.",
        ),
        (
            lambda: gk.masks.by_function(gk.by_rank),
            rf"by_function: function=by_rank is not a predicate, .* {A_PREDICATE} Call .*",
        ),
        (
            lambda: gk.masks.by_function(lambda path: True),
            r"by_function: function=<lambda> is not a function of \(path, leaf\)\. Expected .*",
        ),
        (
            lambda: gk.by_rank(2) & gk.by_path,
            rf"by_rank\(2\) & by_path: by_path is not a predicate\. {A_PREDICATE} Call .*",
        ),
        (
            lambda: gk.by_rank(2) | True,
            rf"by_rank\(2\) \| True: True is not a predicate\. {A_PREDICATE}",
        ),
        (
            lambda: gk.by_rank(2) & (lambda path, leaf: True),
            rf"by_rank\(2\) & <lambda>: .* {A_PREDICATE} Write by_function\(f\) for .*\.",
        ),
        (
            lambda: gk.by_rank(2)("dense.kernel"),
            r"by_rank\(2\): the path 'dense\.kernel' was given without a leaf\. Expected .*\.",
        ),
        (
            lambda: gk.masks.by_function(lambda path, leaf: "yes")(PARAMS),
            r"dense\.bias: masks\.by_function\(.*\) returned 'yes'\. Expected one bool, .*\.",
        ),
    ],
)
def test_what_is_not_a_predicate_is_refused(make, words):
    with refused(TypeError, words):
        make()


def test_a_predicate_by_values_is_refused_in_a_trace():
    positive = gk.masks.by_function(lambda path, leaf: (leaf > 0).all())
    assert positive({"w": jnp.ones(2)}) == {"w": True}
    with pytest.raises(
        TypeError, match=r"w: masks\.by_function\(.*\) returned bool\[\]\. Expected one"
    ):
        jax.eval_shape(positive, {"w": jnp.ones(2)})


def test_a_predicate_applied_to_a_tree_gives_a_mask_that_optax_takes():
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


# ---- masks of the wrong type ---------------------------------------------------------

RANKS = {"dense": {"kernel": 2, "bias": 1}, "norm": {"scale": 1}}


@pytest.mark.parametrize("how", ["tree", "function"])
@pytest.mark.parametrize(
    "wrap",
    [lambda mask: gk.adamw(1e-3, mask=mask), lambda mask: gk.masked(gk.sgd(1.0), mask)],
    ids=["adamw", "masked"],
)
@pytest.mark.parametrize(
    ("mask", "place", "words"),
    [
        ("kernel", "", rf"='kernel' .* {A_MASK} (Did you mean|Write) by_path\('kernel'\)[.?]"),
        ("kernal", "", r"='kernal' .* (Did you mean by_path\('kernel'\)\?|Write .*'kernal'\)\.)"),
        ("dense", "", r"='dense' .* (Did you mean by_path\('dense\.\*'\)\?|Write .*'dense'\)\.)"),
        ("kern", "", r"='kern' .* (Did you mean by_path\('kern\*'\)\?|Write .*'kern'\)\.)"),
        (["kernel", "norm"], r"\.0", r"='kernel' .* by_path\('kernel', 'norm\.\*'\)\?"),
        (RANKS, r"\.dense\.bias", r"=1 .* Compare, as in x\.ndim >= 2, or write by_rank\(2\)\."),
        (0.5, "", rf"=0\.5 .* {A_MASK}( Compare, .*)?"),
        ({"dense": np.array(1.0), "norm": True}, r"\.dense", r"=array\(1\.\) .* Compare, .*"),
        (
            {"dense": np.array([True, False]), "norm": True},
            r"\.dense",
            r"=bool\[2\] .* Expected one bool for each leaf, not one for each element\.",
        ),
        (
            {"dense": gk.by_rank(2), "norm": True},
            r"\.dense",
            r"=by_rank\(2\) .* A predicate is a whole mask: combine it with .*",
        ),
        ({"dense": len, "norm": True}, r"\.dense", r"=len .*"),
    ],
    ids=range(11),
)
def test_a_mask_of_anything_but_bools_is_refused(mask, place, words, wrap, how):
    given, name = (mask, "mask") if how == "tree" else (lambda params: mask, r"mask\(params\)")
    where = r"(adamw|adamw\.add_decayed_weights|masked)"
    with refused(TypeError, rf"{where}: {name}{place}{words}"):
        step(wrap(given))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (None, TypeError, rf"mask is None\. {A_MASK}"),
        (
            lambda path, leaf: True,
            TypeError,
            rf"mask=<lambda> is not a function of one argument\. {A_MASK} Write by_function.*",
        ),
        (
            {"dense": True},
            ValueError,
            r"mask has no entry for norm\.scale\. Expected a tree like .*",
        ),
        (
            {"dense": True, "norm": True, "x": False},
            ValueError,
            r"mask has the entry x, which the parameters lack\. Expected .*",
        ),
        ({"dense": None, "norm": True}, ValueError, r"mask has no entry for dense\.bias\. .*"),
    ],
    ids=range(5),
)
def test_a_mask_that_does_not_fit_the_parameters_is_refused(mask, error, words):
    with refused(error, words):
        masks.resolve(mask, PARAMS)


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


# ---- masks that select nothing -------------------------------------------------------

NONE = {"dense": {"kernel": False, "bias": False}, "norm": {"scale": False}}


@pytest.mark.parametrize(
    "mask",
    [
        False,
        NONE,
        lambda params: NONE,
        gk.by_rank(3),
        gk.by_path("kernel") & gk.by_rank(3),
        gk.masks.by_function(lambda path, leaf: False),
    ],
    ids=range(6),
)
def test_a_mask_may_select_no_leaf(mask):
    assert masks.resolve(mask, PARAMS) == NONE
    assert jax.tree.leaves(jax.tree.map(jnp.sum, step(gk.masked(gk.sgd(1.0), mask)))) == [2, 4, 2]
    step(gk.adamw(1e-3, mask=mask))


@pytest.mark.parametrize(
    ("mask", "words", "fix"),
    [
        (
            gk.by_path("dense"),
            r"mask=by_path\('dense'\)",
            r" Did you mean by_path\('dense\.\*'\)\?",
        ),
        (gk.by_path("ense"), r"mask=by_path\('ense'\)", r" .* by_path\('\*ense\.\*'\)\?"),
        (
            gk.by_path("dense", "norm", "head"),
            r"mask=by_path\('dense', 'norm', 'head'\)",
            r" Did you mean by_path\('dense\.\*', 'norm\.\*', 'head'\)\?",
        ),
        (gk.by_path("kernal"), r"mask=by_path\('kernal'\)", r" Did you mean by_path\('kernel'\)\?"),
        (gk.by_path("danse.*"), r"mask=.*", r" Did you mean by_path\('dense\.\*'\)\?"),
        (gk.by_path("danse"), r"mask=.*", r" Did you mean by_path\('dense\.\*'\)\?"),
        (gk.by_path("dense.kernal"), r"mask=.*", r" Did you mean by_path\('dense\.kernel'\)\?"),
        (gk.by_path("zzz"), r"mask=.*", ""),
        (gk.by_path("^kernel", regex=True), r"mask=.*", ""),
    ],
    ids=range(9),
)
def test_a_pattern_that_matches_nothing_is_refused_with_what_was_meant(mask, words, fix):
    paths = r"Available paths: dense\.bias, dense\.kernel, norm\.scale\."
    with refused(ValueError, rf"masked: {words} matches no parameter\. {paths}{fix}"):
        gk.masked(gk.sgd(1.0), mask).init(PARAMS)
    # also inside a predicate that selects something
    inside = rf"masked: by_path\(.*\) matches no parameter \(in mask=.*\)\. {paths}{fix}"
    with refused(ValueError, inside):
        gk.masked(gk.sgd(1.0), gk.by_rank(1) & ~mask).init(PARAMS)


def test_a_pattern_must_match_in_the_whole_tree_not_in_a_group():
    group = {"dense": {"kernel": None, "bias": PARAMS["dense"]["bias"]}, "norm": {"scale": None}}
    mask = gk.by_path("kernel") | gk.by_rank(2)
    assert jax.tree.leaves(masks.resolve(mask, group, whole=PARAMS)) == [False]
    with pytest.raises(ValueError, match="matches no parameter"):
        masks.resolve(mask, group)
    with pytest.raises(ValueError, match="matches no parameter"):
        masks.resolve(gk.by_path("kernal"), group, whole=PARAMS)
    assert masks.resolve(gk.by_path("kernal"), {}) == {}


def test_a_long_list_of_paths_is_cut():
    many = {f"layer_{i}": jnp.ones(1) for i in range(20)}
    with pytest.raises(ValueError, match=r"Available paths: layer_0, .*layer_15, …\. Did you mean"):
        masks.resolve(gk.by_path("layers_3"), many)


# ---- labels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"dense": {"kernel": "a", "bias": "b"}, "norm": "b"},
        lambda params: jax.tree.map(lambda p: "a" if p.ndim == 2 else "b", params),
        gk.masks.by_function(lambda path, leaf: "a" if path.endswith("kernel") else "b"),
        {"a": gk.by_rank(2), "b": ~gk.by_rank(2)},
        {"a": gk.by_rank(2), "b": gk.by_rank(1, 1), "unused": gk.by_rank(3)},
    ],
    ids=range(5),
)
def test_labels_are_trees_functions_of_the_tree_or_predicates(given):
    expected = {"dense": {"kernel": "a", "bias": "b"}, "norm": {"scale": "b"}}
    assert masks.labels(given, PARAMS) == expected


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (
            {"a": gk.by_path("dense.*"), "b": gk.by_path("nrom.*")},
            ValueError,
            r"param_labels\['b'\]=by_path\('nrom\.\*'\) matches no .* by_path\('norm\.\*'\)\?",
        ),
        (
            {"a": gk.by_rank(2)},
            ValueError,
            r"dense\.bias: no predicate of param_labels matches this parameter\. .* cover all .*",
        ),
        (
            {"a": gk.by_rank(1, 1), "b": gk.by_path("bias")},
            ValueError,
            r"dense\.bias: the predicates of 'a', 'b' match this parameter\. Expected .* one\. .*",
        ),
        (
            {"a": gk.by_rank(2), "b": "rest"},
            TypeError,
            r"param_labels\['b'\]='rest' is not a predicate\. Expected .*",
        ),
        ({"a": gk.by_path}, TypeError, r"param_labels\['a'\]=by_path is not a predicate, .*"),
        (
            lambda path, leaf: "a",
            TypeError,
            r"param_labels=<lambda> is not a function of one argument\. .* Write by_function.*",
        ),
        ({"dense": "a"}, ValueError, r"param_labels has no entry for norm\.scale\. Expected .*"),
    ],
    ids=range(7),
)
def test_labels_that_do_not_fit_are_refused(given, error, words):
    with refused(error, words):
        masks.labels(given, PARAMS)


# ---- describe ------------------------------------------------------------------------

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
    "stacked": gk.stacked,
    "split_real_and_imaginary": gk.split_real_and_imaginary,
}


def routes(tx, params=PARAMS):
    return {path: group.route for group in gk.describe(tx, params).groups for path in group.paths}


# The name of the part of each wrapper, which is the key of its state; None where it is all of it.
PARTS = {
    "MultiSteps": "opt",
    "lookahead": "fast_optimizer",
    "schedule_free": "base_optimizer",
    "cautious": None,
    "stacked": None,
    "split_real_and_imaginary": None,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_describe_sees_masks_and_groups_inside_a_wrapper(name):
    wrap, part = WRAPPERS[name], PARTS.get(name, "inner")
    prefix, inside = (f"{part}.", f"{name}.{part}") if part else ("", name)
    assert routes(wrap(KERNELS)) == {
        "dense.kernel": (f"{prefix}add_decayed_weights",),
        "dense.bias": (),
        "norm.scale": (),
    }
    assert routes(gk.chain(gk.clip(1.0), wrap(GROUPS))) == {
        "dense.kernel": (f"{inside}.a", f"{inside}.a.add_decayed_weights"),
        "dense.bias": (f"{inside}.a",),
        "norm.scale": (f"{inside}.b",),
    }
    words = rf"^{name}[a-z_.]*\.add_decayed_weights: mask=by_path\('kernal'\) matches no parameter"
    with pytest.raises(ValueError, match=words):
        gk.describe(wrap(gk.adamw(1e-3, mask=gk.by_path("kernal"))), PARAMS)


def test_describe_tells_the_arguments_of_a_wrapper_apart():
    tx = gk.sam(KERNELS, gk.masked(gk.sgd(0.1), gk.by_path("bias")))
    assert routes(tx) == {
        "dense.kernel": ("optimizer.add_decayed_weights",),
        "dense.bias": ("adv_optimizer",),
        "norm.scale": (),
    }


def test_describe_sees_wrappers_in_wrappers_and_every_mask_of_a_penalty():
    penalties = (
        gk.add_l1_penalty(0.1, gk.by_path("scale")),
        gk.add_l2_penalty(0.1, gk.by_path("kernel")),
    )
    tx = gk.MultiSteps(gk.guard(gk.chain(*penalties, gk.freeze(gk.by_path("bias")))), 2)
    inside = "opt.inner"
    assert routes(tx) == {
        "norm.scale": (f"{inside}.add_l1_penalty",),
        "dense.kernel": (f"{inside}.add_l2_penalty",),
        "dense.bias": (f"{inside}.freeze",),
    }
    assert "opt.inner.freeze: 1 leaf, 2 parameters" in str(gk.describe(tx, PARAMS))


def test_describe_takes_trees_with_none_and_with_complex_leaves():
    assert routes(KERNELS, {**PARAMS, "function": None})["dense.kernel"] == ("add_decayed_weights",)
    tx = gk.split_real_and_imaginary(
        gk.masked(gk.masked(gk.clip(1.0), gk.by_path("w.*")), gk.by_rank(1))
    )
    params = {"w": jnp.ones(2, complex), "v": jnp.ones(2), "s": jnp.ones(())}
    assert routes(tx, params) == {"w": ("masked", "clip"), "v": ("masked",), "s": ()}


# ---- what passes ---------------------------------------------------------------------


def test_the_leaves_outside_a_mask_pass_unless_they_are_frozen():
    first = lambda tx: [
        float(leaf.ravel()[0]) for leaf in jax.tree.leaves(step(tx))
    ]  # dense.bias, dense.kernel, norm.scale
    assert (
        first(gk.where(gk.by_rank(2), gk.sgd(1.0), gk.identity()))
        == first(gk.masked(gk.sgd(1.0), gk.by_rank(2)))
        == [1.0, -1.0, 1.0]
    )
    still = [
        gk.where(gk.by_rank(2), gk.sgd(1.0), otherwise=gk.set_to_zero()),
        gk.chain(gk.masked(gk.sgd(1.0), gk.by_rank(2)), gk.freeze(~gk.by_rank(2))),
    ]
    assert first(still[0]) == first(still[1]) == [0.0, -1.0, 0.0]
