"""Bad calls of every layer and function: each message names the place and what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradkit as gk
import gradkit.nn as gnn
from gradkit.nn import functional as F  # noqa: N812
from gradkit.nn import linen as gln

X = jnp.ones((4, 5, 6))
IMAGE = jnp.ones((4, 6, 6, 2))
KEY = jax.random.key(0)
MEAN, VAR = jnp.zeros(6), jnp.ones(6)
BATCH = F.moments(X, (0, 1))
SCHEDULE = gk.linear_schedule(0.0, 0.5, 10)

# What all normalizations share: (keyword arguments, words of the message).
NORM = [
    ({"epsilon": -1.0}, "epsilon", "-1.0"),
    ({"epsilon": "small"}, "epsilon='small' is not a number"),
    ({"epsilon": None}, "epsilon=None is not a number"),
    ({"epsilon": True}, "epsilon=True is not a number"),
    ({"epsilon": SCHEDULE}, "epsilon=", "is a schedule", "epsilon=schedule(step)"),
    ({"epsilon": jnp.ones(6)}, "epsilon has the shape [6]"),
    ({"dtype": "float33"}, "dtype='float33' is not a floating dtype"),
    ({"dtype": jnp.int32}, "dtype=", "is not a floating dtype"),
    ({"dtype": 3}, "dtype=3 is not a floating dtype"),
]
ARRAYS = [
    ({"scale": "ones"}, "scale='ones' is not an array"),
    ({"scale": jnp.ones(5)}, "scale has the shape [5]. Expected [6]"),
    ({"scale": [[1.0], 2.0]}, "scale=[[1.0], 2.0] is not an array"),
]
MASKS = [
    ({"mask": jnp.ones((4, 5, 1))}, "mask has the dtype float32. Expected booleans", "mask > 0"),
    ({"mask": jnp.ones((4, 5, 1), int)}, "mask has the dtype int32"),
    (
        {"mask": jnp.ones((4, 5), bool)},
        "mask of shape [4, 5] does not broadcast",
        "mask[..., None]",
    ),
    ({"mask": "all"}, "mask='all' is not an array"),
]
AXES = [
    (3, "=3 is out of range for an input of 3 dimensions. Expected -3 <= "),
    (1.5, "=1.5 is not an axis. Expected an integer"),
    ("channels", "='channels' is not an axis"),
    (None, "=None is not an axis"),
    (True, "=True is not an axis"),
    ((1, 1), "=(1, 1) names an axis twice"),
    ((2, -1), "=(2, -1) names an axis twice"),
]
INPUTS = [
    (None, "x=None is not an array of numbers"),
    ("input", "x='input' is not an array of numbers"),
    ([[1.0], [1.0, 2.0]], "x=[[1.0], [1.0, 2.0]] is not an array"),
    ({"x": 1}, "x={'x': 1} is not an array"),
    (jax.random.split(KEY), "is not an array of numbers"),
]
NORMS = {
    "batch_norm": (lambda x=X, **k: F.batch_norm(x, **k), "axis"),
    "layer_norm": (lambda x=X, **k: F.layer_norm(x, **k), "reduction_axes"),
    "rms_norm": (lambda x=X, **k: F.rms_norm(x, **k), "feature_axes"),
    "group_norm": (lambda x=X, **k: F.group_norm(x, **{"num_groups": 2, **k}), "reduction_axes"),
    "instance_norm": (lambda x=X, **k: F.instance_norm(x, **k), "feature_axes"),
    "filter_response_norm": (lambda x=X, **k: F.filter_response_norm(x, **k), "axis"),
    "global_response_norm": (lambda x=X, **k: F.global_response_norm(x, **k), "axis"),
    "apply_statistics": (lambda x=X, **k: F.apply_statistics(x, MEAN, VAR, **k), "axis"),
    "batch_renorm": (lambda x=X, **k: F.batch_renorm(x, MEAN, VAR, **k), "axis"),
    "ghost_batch_norm": (
        lambda x=X, **k: F.ghost_batch_norm(x, **{"ghost_batch_size": 2, **k}),
        "axis",
    ),
    "weight_norm": (lambda kernel=X, **k: F.weight_norm(kernel, **k), "feature_axes"),
    "standardize_weight": (lambda kernel=X, **k: F.standardize_weight(kernel, **k), "feature_axes"),
    "spectral_norm": (lambda kernel=X, **k: F.spectral_norm(kernel, jnp.ones((1, 6)), **k), None),
}


def check_refused(calls):
    """Every (place, call, words) is refused by a message of ours; all failures in one report."""
    wrong = []
    for place, call, words in calls:
        try:
            call()
            wrong.append(f"{place}: accepted, expected {words}")
        except (ValueError, TypeError) as error:
            message = str(error)
            if not message.startswith((f"{place}: ", f"{place}, ", f"{place}.")):
                wrong.append(f"{place}: not of ours, {type(error).__name__}: {message}")
            wrong.extend(f"{place}: {w!r} not in {message!r}" for w in words if w not in message)
        except Exception as error:
            wrong.append(f"{place}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("place", NORMS)
def test_what_all_normalizations_refuse(place):
    norm, axis = NORMS[place]
    weight = place in ("weight_norm", "standardize_weight", "spectral_norm")
    rows = list(NORM)
    if place != "spectral_norm":
        rows += ARRAYS
    if not weight and place != "apply_statistics":
        rows += MASKS
    calls = [(place, lambda a=arguments: norm(**a), words) for arguments, *words in rows]
    if axis:
        several = [
            row for row in AXES if row[0] is not None or place not in ("group_norm", "weight_norm")
        ]
        calls += [
            (place, lambda a=bad: norm(**{axis: a}), [f"{axis}{words}"]) for bad, words in several
        ]
    name = "kernel" if weight else "x"
    calls += [
        (place, lambda a=bad: norm(a), [words.replace("x=", f"{name}=", 1)])
        for bad, words in INPUTS
    ]
    check_refused(calls)


FUNCTIONS = [
    # ---- normalizations
    ("layer_norm", lambda: F.layer_norm(X, reduction_axes=()), ["reduction_axes=() is empty"]),
    ("rms_norm", lambda: F.rms_norm(X, reduction_axes=[]), ["reduction_axes=() is empty"]),
    (
        "layer_norm",
        lambda: F.layer_norm(jnp.float32(1.0)),
        ["axis", "out of range", "0 dimensions"],
    ),
    (
        "layer_norm",
        lambda: F.layer_norm(X, axis_name="batch"),
        ["axis_name='batch' is not a mapped"],
    ),
    (
        "batch_norm",
        lambda: F.batch_norm(X, axis_name="batch"),
        ["axis_name='batch' is not a mapped"],
    ),
    (
        "batch_norm",
        lambda: F.batch_norm(X, axis_index_groups=[[0, 1]]),
        ["axis_index_groups=[[0, 1]] has no axis", "axis_name"],
    ),
    (
        "batch_norm",
        lambda: jax.vmap(
            lambda x: F.batch_norm(x, axis_name="b", axis_index_groups=2), axis_name="b"
        )(X),
        ["axis_index_groups=2 is not a list of groups"],
    ),
    ("batch_norm", lambda: F.batch_norm(X[:1, :1]), ["[1, 1, 6] has one value per channel"]),
    (
        "instance_norm",
        lambda: F.instance_norm(X, feature_axes=0),
        ["feature_axes=0 is the first axis"],
    ),
    (
        "global_response_norm",
        lambda: F.global_response_norm(X, axis=0),
        ["axis=0 is the first axis"],
    ),
    ("filter_response_norm", lambda: F.filter_response_norm(X, axis=-3), ["axis=-3 is the first"]),
    (
        "filter_response_norm",
        lambda: F.filter_response_norm(X, threshold=jnp.ones(5)),
        ["threshold has the shape [5]"],
    ),
    ("ghost_batch_norm", lambda: F.ghost_batch_norm(X, axis=0, ghost_batch_size=2), ["first axis"]),
    (
        "ghost_batch_norm",
        lambda: F.ghost_batch_norm(X, ghost_batch_size=3),
        ["ghost_batch_size=3 does not divide the batch of 4"],
    ),
    (
        "ghost_batch_norm",
        lambda: F.ghost_batch_norm(X, ghost_batch_size=0),
        ["ghost_batch_size", "0"],
    ),
    ("ghost_batch_norm", lambda: F.ghost_batch_norm(X, ghost_batch_size="2"), ["ghost_batch_size"]),
    (
        "group_norm",
        lambda: F.group_norm(X, num_groups=4),
        ["num_groups=4 does not divide the 6 channels. Expected one of 1, 2, 3, 6"],
    ),
    ("group_norm", lambda: F.group_norm(X, num_groups=0), ["num_groups", "0"]),
    ("group_norm", lambda: F.group_norm(X, num_groups="two"), ["num_groups", "'two'"]),
    ("group_norm", lambda: F.group_norm(X, num_groups=1.5), ["num_groups", "1.5"]),
    (
        "group_norm",
        lambda: F.group_norm(X, num_groups=2, group_size=3),
        ["num_groups=2 and group_size=3 do not fit together", "num_groups=None"],
    ),
    (
        "group_norm",
        lambda: F.group_norm(X, num_groups=2, reduction_axes=1),
        ["reduction_axes=1 lacks the last axis"],
    ),
    (
        "group_norm",
        lambda: F.group_norm(X[0, 0], num_groups=2),
        ["x has the shape [6]. Expected [batch, ..., channels]. Add a batch axis: x[None]"],
    ),
    ("apply_statistics", lambda: F.apply_statistics(X, None, VAR), ["mean=None is not an array"]),
    ("apply_statistics", lambda: F.apply_statistics(X, MEAN, VAR[:5]), ["var has the shape [5]"]),
    ("batch_renorm", lambda: F.batch_renorm(X, MEAN, None), ["var=None is not an array"]),
    (
        "batch_renorm",
        lambda: F.batch_renorm(X, MEAN, VAR, r_max=0.5),
        ["r_max=0.5 is out of range. Expected r_max >= 1", "batch normalization"],
    ),
    ("batch_renorm", lambda: F.batch_renorm(X, MEAN, VAR, d_max=-1), ["d_max", "-1"]),
    (
        "batch_renorm",
        lambda: F.batch_renorm(X, MEAN, VAR, r_max="big"),
        ["r_max='big' is not a number"],
    ),
    # ---- moments
    ("moments", lambda: F.moments(None, 0), ["x=None is not an array"]),
    ("moments", lambda: F.moments(X, (0, 0)), ["axes=(0, 0) names an axis twice"]),
    ("moments", lambda: F.moments(X, 0, mask=X), ["mask has the dtype float32"]),
    ("moments", lambda: F.moments(X, 0, keepdims=1), ["keepdims=1 is not a bool"]),
    ("merge", lambda: F.merge((1, 2, 3)), ["parts=(1, 2, 3) is not a Moments"]),
    ("merge", lambda: F.merge(BATCH, axis=2), ["axis=2 is out of range"]),
    ("running", lambda: F.running(MEAN, VAR, (1, 2, 3), 0.9), ["batch=(1, 2, 3) is not a Moments"]),
    ("running", lambda: F.running(MEAN, VAR, BATCH, 1.5), ["momentum", "1.5"]),
    ("running", lambda: F.running(MEAN, VAR, BATCH, "slow"), ["momentum='slow' is not a number"]),
    ("running", lambda: F.running(MEAN, VAR, BATCH, 0.9, unbiased="yes"), ["unbiased='yes'"]),
    (
        "running",
        lambda: F.running(MEAN[:1], VAR[:1], BATCH, 0.9),
        ["mean has the shape [1]. Expected [6], the shape of the moments of the batch"],
    ),
    # ---- weights
    (
        "spectral_norm",
        lambda: F.spectral_norm(X, jnp.ones(6)),
        ["u has the shape [6]. Expected [1, 6]"],
    ),
    ("spectral_norm", lambda: F.spectral_norm(X[0, 0], MEAN), ["kernel has the shape [6]"]),
    ("spectral_norm", lambda: F.spectral_norm(X, None), ["u=None is not an array"]),
    ("spectral_norm", lambda: F.spectral_norm(X, jnp.ones((1, 6)), n_steps=-1), ["n_steps", "-1"]),
    (
        "spectral_norm",
        lambda: F.spectral_norm(X, jnp.ones((1, 6)), n_steps="1"),
        ["n_steps", "'1'"],
    ),
    (
        "fold_batch_norm",
        lambda: F.fold_batch_norm(X, None, jnp.ones(5), VAR),
        ["mean has the shape [5]. Expected one value per output of the kernel [4, 5, 6]"],
    ),
    ("fold_batch_norm", lambda: F.fold_batch_norm(None, None, MEAN, VAR), ["kernel=None is not"]),
    (
        "fold_batch_norm",
        lambda: F.fold_batch_norm(X, None, None, VAR),
        ["mean=None is not an array"],
    ),
    ("fold_batch_norm", lambda: F.fold_batch_norm(X, "b", MEAN, VAR), ["bias='b' is not an array"]),
    (
        "fold_batch_norm",
        lambda: F.fold_batch_norm(X, None, MEAN, VAR, epsilon=-1),
        ["epsilon", "-1"],
    ),
    # ---- dropout
    ("keep_mask", lambda: F.keep_mask(KEY, 1.5, (2,)), ["rate", "1.5"]),
    ("keep_mask", lambda: F.keep_mask(None, 0.5, (2,)), ["key=None"]),
    ("keep_mask", lambda: F.keep_mask(KEY, 0.5, 2), ["shape=2 is not a shape"]),
    (
        "dropout",
        lambda: F.dropout(IMAGE, 0.5, KEY, broadcast_dims=(4,)),
        ["broadcast_dims=4 is out of"],
    ),
    ("dropout", lambda: F.dropout(IMAGE, 0.5, KEY, broadcast_dims=(1, 1)), ["names an axis twice"]),
    ("dropout", lambda: F.dropout(IMAGE, 0.5, KEY, broadcast_dims=None), ["broadcast_dims=None"]),
    ("dropout", lambda: F.dropout(IMAGE, 0.5, KEY, classic="yes"), ["classic='yes' is not a bool"]),
    (
        "dropout",
        lambda: F.dropout(IMAGE, jnp.ones(4) / 2, KEY),
        ["rate has 1 axes", "the 4 of the input"],
    ),
    (
        "drop_block",
        lambda: F.drop_block(IMAGE[0, 0], 0.5, KEY, block_size=2),
        ["x has the shape [6, 2]"],
    ),
    ("drop_block", lambda: F.drop_block(IMAGE, 0.5, KEY, block_size=0), ["block_size", "0"]),
    ("drop_block", lambda: F.drop_block(IMAGE, 0.5, KEY, block_size=2.5), ["block_size", "2.5"]),
    (
        "drop_block",
        lambda: F.drop_block(IMAGE, jnp.full((4, 1, 1, 1), 0.5), KEY, block_size=2),
        ["rate has the shape [4, 1, 1, 1]. Expected one number"],
    ),
    # ---- pooling
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (2,), key=KEY),
        ["window_shape=(2,) and strides"],
    ),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, 2, key=KEY),
        ["window_shape=2 is not a sequence"],
    ),
    ("stochastic_pool", lambda: F.stochastic_pool(IMAGE, (0, 2), key=KEY), ["window_shape", "0"]),
    ("stochastic_pool", lambda: F.stochastic_pool(IMAGE, (2, 2), (1,), key=KEY), ["strides=(1,)"]),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (2, 2), (-1, 1), key=KEY),
        ["strides", "-1"],
    ),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (9, 2), key=KEY),
        ["is larger than the padded"],
    ),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (2, 2), padding="FULL", key=KEY),
        ["'FULL'"],
    ),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (2, 2), padding=1, key=KEY),
        ["padding=1 does not fit 2 axes of positions"],
    ),
    (
        "stochastic_pool",
        lambda: F.stochastic_pool(IMAGE, (2, 2), padding=((1, 1), (-1, 0)), key=KEY),
        ["padding=((1, 1), (-1, 0)) does not fit"],
    ),
    # ---- Monte Carlo dropout
    ("mc_predict", lambda: gnn.mc_predict(lambda x, key: x, X, 0, KEY), ["samples", "0"]),
    ("mc_predict", lambda: gnn.mc_predict(lambda x, key: x, X, "3", KEY), ["samples", "'3'"]),
    (
        "mc_predict",
        lambda: gnn.mc_predict(lambda x, key: x, X, 3, None),
        ["key=None: the samples need"],
    ),
    ("mc_predict", lambda: gnn.mc_predict("model", X, 3, KEY), ["model='model' is not a model"]),
    (
        "mc_predict",
        lambda: gnn.mc_predict(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), jnp.ones((1, 2)), 3, KEY),
        ["model has no random keys in its state", "rngs=nnx.Rngs(0)"],
    ),
]


def test_bad_calls_of_functions_are_refused():
    check_refused(FUNCTIONS)


NOISES = {
    "dropout": F.dropout,
    "drop_path": F.drop_path,
    "drop_block": lambda x, rate, key=None, **k: F.drop_block(x, rate, key, block_size=2, **k),
    "alpha_dropout": F.alpha_dropout,
    "gaussian_dropout": F.gaussian_dropout,
    "gaussian_noise": F.gaussian_noise,
    "stochastic_pool": lambda x, rate, key=None, **k: F.stochastic_pool(x, (2, 2), key=key, **k),
}


@pytest.mark.parametrize("place", NOISES)
def test_what_all_noise_refuses(place):
    drop = NOISES[place]
    name = "stddev" if place == "gaussian_noise" else "rate"
    calls = [
        (lambda: drop(None, 0.5, KEY), ["x=None is not an array"]),
        (lambda: drop("x", 0.5, KEY), ["x='x' is not an array"]),
        (
            lambda: drop(IMAGE.astype(int), 0.5, KEY),
            ["x has the dtype int32. Expected a floating dtype. Cast it first: x.astype"],
        ),
        (lambda: drop(IMAGE > 0, 0.5, KEY), ["x has the dtype bool"]),
        (lambda: drop(IMAGE, 0.5), ["key=None", "needs a random key", "key=jax.random.key(seed)"]),
        (lambda: drop(IMAGE, 0.5, 0.5), ["key=0.5 is not a random key"]),
        (lambda: drop(IMAGE, 0.5, "seed"), ["key='seed' is not a random key"]),
        (lambda: drop(IMAGE, 0.5, True), ["key=True is not a random key"]),
        (lambda: drop(IMAGE, 0.5, jnp.ones(2)), ["key=float32[2] is not a random key"]),
        (lambda: drop(IMAGE, 0.5, jnp.ones(3, jnp.uint32)), ["is not the data of a random key"]),
        (
            lambda: drop(IMAGE, 0.5, jax.random.split(KEY, 3)),
            ["key holds 3 keys. Expected one key"],
        ),
        (lambda: drop(IMAGE, 0.5, KEY, deterministic=1), ["deterministic=1 is not a bool"]),
        (lambda: drop(IMAGE, 0.5, KEY, deterministic="no"), ["deterministic='no' is not a bool"]),
        (lambda: drop(IMAGE, 0.5, KEY, deterministic=None), ["deterministic=None is not a bool"]),
        (
            lambda: jax.jit(lambda flag: drop(IMAGE, 0.3, KEY, deterministic=flag))(True),
            ["deterministic is a traced value", "static argument"],
        ),
    ]
    if place != "stochastic_pool":
        calls += [
            (lambda: drop(IMAGE, -0.5, KEY), [name, "-0.5"]),
            (lambda: drop(IMAGE, float("nan"), KEY), [name, "nan"]),
            (lambda: drop(IMAGE, None, KEY), [f"{name}=None is not a number"]),
            (lambda: drop(IMAGE, "half", KEY), [f"{name}='half' is not a number"]),
            (lambda: drop(IMAGE, True, KEY), [f"{name}=True is not a number"]),
            (lambda: drop(IMAGE, SCHEDULE, KEY), [f"{name}=", "is a schedule"]),
            (
                lambda: drop(IMAGE, lambda step: 0.1, KEY),
                ["is a schedule", f"{name}=schedule(step)"],
            ),
            (
                lambda: drop(IMAGE, jnp.full((3, 1, 1, 1), 0.5), KEY),
                [f"{name} of shape [3, 1, 1, 1]"],
            ),
        ]
    if place not in ("stochastic_pool", "gaussian_noise"):
        calls += [(lambda: drop(IMAGE, 1.5, KEY), ["rate", "1.5"])]
    check_refused([(place, *call) for call in calls])


def rngs():
    return nnx.Rngs(0)


def dense():
    return nnx.Linear(6, 4, rngs=rngs())


def trained_norm():
    return gnn.BatchNorm(4, rngs=rngs())


LAYERS = [
    # ---- NNX: constructors
    ("BatchNorm", lambda: gnn.BatchNorm(0, rngs=rngs()), ["num_features", "0"]),
    ("BatchNorm", lambda: gnn.BatchNorm("six", rngs=rngs()), ["num_features", "'six'"]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, rngs=0), ["rngs=0 is not an nnx.Rngs"]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, dtype="float33", rngs=rngs()), ["dtype='float33'"]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, param_dtype=int, rngs=rngs()), ["param_dtype="]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, axis="c", rngs=rngs()), ["axis='c' is not an axis"]),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, use_bias="no", rngs=rngs()),
        ["use_bias='no' is not a bool"],
    ),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, scale_init=1.0, rngs=rngs()),
        ["scale_init=1.0 is not an"],
    ),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, momentum="m", rngs=rngs()),
        ["momentum='m' is not a number"],
    ),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, use_running_average=2, rngs=rngs()),
        ["use_running_average=2"],
    ),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, unbiased_running_var=1, rngs=rngs()),
        ["unbiased_running_var=1"],
    ),
    (
        "BatchRenorm",
        lambda: gnn.BatchRenorm(4, r_max=0.5, rngs=rngs()),
        ["r_max=0.5 is out of range"],
    ),
    ("BatchRenorm", lambda: gnn.BatchRenorm(4, d_max=-1, rngs=rngs()), ["d_max", "-1"]),
    (
        "GhostBatchNorm",
        lambda: gnn.GhostBatchNorm(4, ghost_batch_size=0, rngs=rngs()),
        ["ghost_batch_size"],
    ),
    (
        "LayerNorm",
        lambda: gnn.LayerNorm(6, reduction_axes="last", rngs=rngs()),
        ["reduction_axes='last'"],
    ),
    ("GroupNorm", lambda: gnn.GroupNorm(6, num_groups=None, rngs=rngs()), ["num_groups=None"]),
    (
        "FrozenBatchNorm",
        lambda: gnn.FrozenBatchNorm(6, use_scale=None),
        ["use_scale=None is not a bool"],
    ),
    ("FilterResponseNorm", lambda: gnn.FilterResponseNorm(6, use_threshold=1), ["use_threshold=1"]),
    ("FilterResponseNorm", lambda: gnn.FilterResponseNorm(1.5), ["num_features", "1.5"]),
    (
        "GlobalResponseNorm",
        lambda: gnn.GlobalResponseNorm(6, param_dtype="g3"),
        ["param_dtype='g3'"],
    ),
    (
        "WeightNorm",
        lambda: gnn.WeightNorm("layer", rngs=rngs()),
        ["layer_instance='layer' is not a layer"],
    ),
    (
        "WeightNorm",
        lambda: gnn.WeightNorm(dense(), variable_filter=3, rngs=rngs()),
        ["variable_filter=3"],
    ),
    (
        "WeightNorm",
        lambda: gnn.WeightNorm(dense(), feature_axes=2, rngs=rngs()),
        ["feature_axes=2 is out"],
    ),
    (
        "WeightNorm",
        lambda: gnn.WeightNorm(dense(), feature_axes=(1, 1), rngs=rngs()),
        ["axis twice"],
    ),
    (
        "SpectralNorm",
        lambda: gnn.SpectralNorm(dense(), n_steps="3", rngs=rngs()),
        ["n_steps", "'3'"],
    ),
    (
        "SpectralNorm",
        lambda: gnn.SpectralNorm(None, rngs=rngs()),
        ["layer_instance=None is not a layer"],
    ),
    (
        "WeightStandardization",
        lambda: gnn.WeightStandardization(3),
        ["layer_instance=3 is not a layer"],
    ),
    (
        "WeightStandardization",
        lambda: gnn.WeightStandardization(dense(), feature_axes=None),
        ["feature_axes=None is not an axis"],
    ),
    ("Dropout", lambda: gnn.Dropout(SCHEDULE), ["is a schedule", "rate=schedule(step)"]),
    ("Dropout", lambda: gnn.Dropout("half"), ["rate='half' is not a number"]),
    ("Dropout", lambda: gnn.Dropout(0.3, deterministic="no"), ["deterministic='no' is not a bool"]),
    (
        "Dropout",
        lambda: gnn.Dropout(0.3, broadcast_dims="hw"),
        ["broadcast_dims='hw' is not an axis"],
    ),
    ("Dropout", lambda: gnn.Dropout(0.3, classic=1), ["classic=1 is not a bool"]),
    ("Dropout", lambda: gnn.Dropout(0.3, rng_collection=3), ["rng_collection=3 is not a name"]),
    (
        "Dropout",
        lambda: gnn.Dropout(0.3, rngs=nnx.Rngs(params=0)),
        ["rngs has no stream 'dropout', only params", "Pass rngs=nnx.Rngs(dropout=0)"],
    ),
    ("GaussianNoise", lambda: gnn.GaussianNoise(lambda step: 0.1 * step), ["is a schedule"]),
    ("DropBlock", lambda: gnn.DropBlock(0.3, block_size=0), ["block_size", "0"]),
    ("AlphaDropout", lambda: gnn.AlphaDropout(0.3, broadcast_dims=1.5), ["broadcast_dims=1.5"]),
    ("DropConnect", lambda: gnn.DropConnect(dense, 0.3), ["layer_instance=", "is not a layer"]),
    ("StochasticPool", lambda: gnn.StochasticPool(2), ["window_shape=2 is not a sequence"]),
    (
        "StochasticPool",
        lambda: gnn.StochasticPool((2, 2), padding=1),
        ["padding=1 is not a padding"],
    ),
    ("StochasticPool", lambda: gnn.StochasticPool((2, 2), padding="FULL"), ["padding", "'FULL'"]),
    # ---- NNX: calls
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, use_running_average=None, rngs=rngs())(X),
        ["use_running_average=None in the layer and in the call", "model.eval()"],
    ),
    ("BatchNorm", lambda: gnn.BatchNorm(6, rngs=rngs())(X, "yes"), ["use_running_average='yes'"]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, rngs=rngs())(None), ["x=None is not an array"]),
    ("BatchNorm", lambda: gnn.BatchNorm(6, rngs=rngs())(X, mask=X), ["mask has the dtype float32"]),
    (
        "BatchNorm",
        lambda: gnn.BatchNorm(6, rngs=rngs())(jnp.ones((1, 6))),
        ["one value per channel"],
    ),
    ("BatchNorm.batch_norm", lambda: gnn.BatchNorm(5, rngs=rngs())(X), ["scale has the shape [5]"]),
    ("FrozenBatchNorm", lambda: gnn.FrozenBatchNorm(6)("x"), ["x='x' is not an array"]),
    ("LayerNorm", lambda: gnn.LayerNorm(6, rngs=rngs())(X, mask=[1.0] * 6), ["mask has the dtype"]),
    ("Dropout", lambda: gnn.Dropout(0.5, rngs=rngs())(X, rate=SCHEDULE), ["is a schedule"]),
    ("Dropout", lambda: gnn.Dropout(0.5, rngs=rngs())(X, rate="x"), ["rate='x' is not a number"]),
    ("Dropout", lambda: gnn.Dropout(0.5, rngs=rngs())(None), ["x", "None"]),
    ("DropPath", lambda: gnn.DropPath(0.3)(X, rngs=nnx.Rngs()), ["rngs has no stream. Expected"]),
    (
        "SpectralNorm",
        lambda: gnn.SpectralNorm(dense(), rngs=rngs())(X, "no"),
        ["update_stats='no'"],
    ),
    # ---- Linen
    ("Dropout", lambda: gln.Dropout(0.3).apply({}, X, (1,)), ["deterministic=(1,) is not a bool"]),
    (
        "AlphaDropout",
        lambda: gln.AlphaDropout(0.3, deterministic=(1,)).apply({}, X),
        ["deterministic=(1,) is not a bool"],
    ),
    (
        "StochasticPool",
        lambda: gln.StochasticPool((2, 2)).apply({}, X, 1),
        ["deterministic=1 is not"],
    ),
    (
        "Dropout",
        lambda: gln.Dropout(SCHEDULE, deterministic=False).apply({}, X, rngs={"dropout": KEY}),
        ["is a schedule"],
    ),
    (
        "Dropout",
        lambda: gln.Dropout(0.5).apply({}, X, deterministic=False, rng=0.5),
        ["key=0.5 is not"],
    ),
    (
        "Dropout",
        lambda: gln.Dropout(0.5, deterministic=True).apply({}, X, deterministic=True),
        ["deterministic is given both to the layer and to the call"],
    ),
    (
        "DropConnect",
        lambda: gln.DropConnect(3, 0.5).init(KEY, X, deterministic=True),
        ["layer_instance=3 is not a layer"],
    ),
    (
        "DropConnect",
        lambda: gln.DropConnect(linen.Dense(4), 0.5, variable_filter=1).init(
            {"params": KEY, "dropout": KEY}, X, deterministic=False
        ),
        ["variable_filter=1 is not a filter"],
    ),
    ("LayerNorm", lambda: gln.LayerNorm(epsilon=-1.0).init(KEY, X), ["epsilon", "-1.0"]),
    ("LayerNorm", lambda: gln.LayerNorm(dtype="float33").init(KEY, X), ["dtype='float33'"]),
    ("LayerNorm", lambda: gln.LayerNorm(param_dtype="int32").init(KEY, X), ["param_dtype='int32'"]),
    ("LayerNorm", lambda: gln.LayerNorm(feature_axes=(2, 2)).init(KEY, X), ["names an axis twice"]),
    (
        "LayerNorm",
        lambda: gln.LayerNorm(use_scale="yes").init(KEY, X),
        ["use_scale='yes' is not a bool"],
    ),
    ("LayerNorm", lambda: gln.LayerNorm(scale_init="ones").init(KEY, X), ["scale_init='ones'"]),
    ("BatchNorm", lambda: gln.BatchNorm(False, momentum=2.0).init(KEY, X), ["momentum", "2.0"]),
    ("BatchNorm", lambda: gln.BatchNorm(False).init(KEY, None), ["x=None is not an array"]),
    ("BatchNorm", lambda: gln.BatchNorm(False, axis=5).init(KEY, X), ["axis=5 is out of range"]),
    (
        "BatchRenorm",
        lambda: gln.BatchRenorm(False, r_max=0.5).init(KEY, X),
        ["r_max=0.5 is out of range"],
    ),
    (
        "GhostBatchNorm",
        lambda: gln.GhostBatchNorm(False, ghost_batch_size=0).init(KEY, X),
        ["ghost_batch_size", "0"],
    ),
    (
        "GhostBatchNorm",
        lambda: gln.GhostBatchNorm(False, ghost_batch_size=2, axis_name="b").init(KEY, X),
        ["axis_name='b' cannot be used with sub-batches"],
    ),
    (
        "GroupNorm",
        lambda: gln.GroupNorm(num_groups=4).init(KEY, X),
        ["num_groups=4 does not divide"],
    ),
    (
        "WeightStandardization",
        lambda: gln.WeightStandardization(linen.Dense(4), variable_filter="kernel").init(KEY, X),
        ["variable_filter='kernel' is not a filter"],
    ),
    (
        "SpectralNorm",
        lambda: gln.SpectralNorm(linen.Dense(4), n_steps=-1).init(KEY, X, update_stats=True),
        ["n_steps", "-1"],
    ),
    # ---- folding
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(
            nnx.Einsum("ab,bc->ac", (6, 4), (4,), rngs=rngs()), trained_norm()
        ),
        ["layer of type Einsum", "nnx.Linear, nnx.LinearGeneral, nnx.Conv, nnx.ConvTranspose"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(nnx.LoRALinear(6, 4, lora_rank=2, rngs=rngs()), trained_norm()),
        ["layer of type LoRALinear cannot be folded"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(gnn.WeightNorm(dense(), rngs=rngs()), trained_norm()),
        ["layer of type WeightNorm"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(nnx.Sequential(dense()), trained_norm()),
        ["layer of type Sequential"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(trained_norm(), trained_norm()),
        ["layer of type BatchNorm", "second argument", "functional.fold_batch_norm"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(None, trained_norm()),
        ["layer of type NoneType"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(nnx.LinearGeneral(6, (3, 4), rngs=rngs()), trained_norm()),
        ["out_features=(3, 4) and batch_axis={}", "one output axis and no batch axis"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(
            nnx.LinearGeneral(6, 4, batch_axis={0: 3}, use_bias=False, rngs=rngs()), trained_norm()
        ),
        ["out_features=(4,) and batch_axis={0: 3}"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(
            nnx.ConvTranspose(6, 4, (3, 3), transpose_kernel=True, rngs=rngs()), trained_norm()
        ),
        ["layer has transpose_kernel=True"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(dense(), gnn.BatchNorm(4, axis=1, rngs=rngs())),
        ["batch_norm has axis=1"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(dense(), gnn.LayerNorm(4, rngs=rngs())),
        ["batch_norm of type LayerNorm is not a batch normalization"],
    ),
    (
        "fold_batch_norm",
        lambda: gnn.fold_batch_norm(dense(), gnn.BatchNorm(5, rngs=rngs())),
        ["mean has"],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({}, {}, {}),
        [
            "layer has no variables. Expected kernel, at most bias",
            "in the order layer, norm, statistics",
        ],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({"Dense_0": {}}, {}, {}),
        ["layer has Dense_0"],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({"kernel": 0, "lora_b": 0}, {}, {}),
        ["layer has kernel, lora_b"],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({"kernel": 0}, {"mean": 0, "var": 0}, {"scale": 0}),
        ["norm has mean, var. Expected at most scale and bias"],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({"kernel": 0}, {"scale": 0}, {}),
        ["statistics has no variables. Expected mean and var"],
    ),
    (
        "fold_batch_norm",
        lambda: gln.fold_batch_norm({"kernel": 0}, gln.BatchNorm(), {}),
        ["norm is a BatchNorm. Expected the variables of one layer, by name"],
    ),
]


def test_bad_layers_and_bad_calls_of_layers_are_refused():
    check_refused(LAYERS)


def test_linen_names_what_is_missing_from_its_variables():
    layer = gln.BatchNorm()
    variables = layer.init(jax.random.key(0), X, use_running_average=False)
    params = {"params": variables["params"]}
    check_refused(
        [
            (
                "BatchNorm",
                lambda: layer.apply(params, X, use_running_average=True),
                ["batch_stats are missing from the variables. Expected the running statistics"],
            ),
            (
                "BatchNorm",
                lambda: layer.apply(variables, X, use_running_average=False),
                ["batch_stats are not mutable", "Call apply(..., mutable=['batch_stats'])"],
            ),
            (
                "BatchNorm",
                lambda: layer.apply(variables, X),
                ["use_running_average is given neither to the layer nor to the call"],
            ),
        ]
    )
    layer.init(jax.random.key(0), X[:1, :1], use_running_average=False)  # one example is enough


def test_an_unknown_argument_is_refused_by_name():
    for norm in (F.layer_norm, F.batch_norm):
        with pytest.raises(
            TypeError, match=r"_norm\(\) got an unexpected keyword argument 'axis_nam'"
        ):
            norm(X, axis_nam="batch")


def test_habits_are_accepted():
    assert F.layer_norm([[1, 3]], epsilon=0.0).tolist() == [[-1.0, 1.0]]
    assert F.layer_norm(np.ones((2, 3)), dtype="bfloat16").dtype == jnp.bfloat16
    assert F.layer_norm(X, mask=np.ones(6, bool), epsilon=np.float64(1e-3)).shape == X.shape
    assert F.moments(X, np.int64(0), mask=[True] * 6).mean.shape == (5, 6)
    for key in (3, np.int32(3), jnp.int32(3), jax.random.PRNGKey(3)):
        np.testing.assert_array_equal(F.dropout(X, 0.5, key), F.dropout(X, 0.5, jax.random.key(3)))
    assert F.dropout(X, 0.5, KEY, deterministic=np.bool_(True)) is X
    assert gnn.Dropout(1, rngs=rngs())(X).sum() == 0


def test_the_table_can_fail():
    with pytest.raises(AssertionError, match="accepted"):
        check_refused([("layer_norm", lambda: F.layer_norm(X), ["epsilon"])])
    with pytest.raises(AssertionError, match="not of ours"):
        check_refused([("layer_norm", lambda: jnp.ones(3).reshape(2), ["shape"])])
