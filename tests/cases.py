"""One record per public factory: every contract runs over them, and a factory without a record fails (tests/test_house.py).

A record says how to make the thing, with arguments that are not the defaults; which arguments it must refuse, and in what words; and
what it supports. The words are a regular expression, looked for in a message that must begin with the factory's name.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from gradkit._call import Call
from gradkit._schedule import Schedule
from gradkit._transform import Transform

Bad = tuple[Callable[[], Any], str]


@dataclass(frozen=True)
class Case:
    """A public factory and what is true of it."""

    name: str
    make: Callable[[], Any]
    bad: tuple[Bad, ...] = ()
    within: Callable[[Any], Any] = lambda tx: tx  # what the thing needs around it to run as an optimizer
    extras: Callable[[Any], dict[str, Any]] = lambda grads: {}  # the extra arguments it asks for
    complex: bool = True  # takes complex leaves; otherwise it must refuse them in words
    needs_params: bool = False
    stochastic: bool = False
    passes_nan: bool | None = True  # NaN in, NaN out; otherwise finite out; None: leaf by leaf
    reads_back: bool = True  # eval(repr(tx)) == tx

    def transform(self) -> Any:
        """The thing as an optimizer that runs."""
        return self.within(self.make())

    def __repr__(self) -> str:
        return self.name


def factories(kind: type[Call] = Call) -> dict[str, Any]:
    """Every public name that `gradkit._call.factory` made."""
    made = gk.chain.__code__
    public = {name: value for name, value in vars(gk).items() if inspect.isfunction(value) and value.__code__ is made}
    return {name: value for name, value in public.items() if issubclass(inspect.getclosurevars(value).nonlocals["kind"], kind)}


def cases(kind: type[Call]) -> list[Case]:
    """The records of one kind, those whose factory is there."""
    return [case for case in CASES if case.name in factories(kind)]


# ---- the shared tree -------------------------------------------------------------------------------------------------

SHAPES = {"matrix": (3, 2), "vector": (4,), "scalar": (), "empty": (0,)}


def tree_of(seed: int, dtype: Any = jnp.float32, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, jax.Array]:
    """A tree of normal numbers, of every kind of shape."""
    rng = np.random.default_rng(seed)

    def leaf(shape: tuple[int, ...]) -> jax.Array:
        x = rng.normal(size=shape)
        return jnp.asarray(x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x, dtype)

    return {name: leaf(shape) for name, shape in shapes.items()}


def zeros(dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    """The shared tree, all zero."""
    return {name: jnp.zeros(shape, dtype) for name, shape in SHAPES.items()}


def shrunk(call: Any) -> Any:
    """The same call with every hyperparameter changed, in range."""
    return jax.tree.map(lambda leaf: leaf * 0.75 if isinstance(leaf, float) else leaf, call)


def matrices_only(params: Any) -> Any:
    """A mask as a function of the tree."""
    return jax.tree.map(lambda p: np.ndim(p) == 2, params)


def harmonic(step: Any) -> Any:
    """A plain function of the step."""
    return 0.5 / (jnp.asarray(step, float) + 1.0)


def is_vector(path: str, leaf: Any) -> bool:
    """A question about a leaf."""
    return np.ndim(leaf) == 1


def label(path: str, leaf: Any) -> str:
    """A name for a leaf's group."""
    return "vector" if path.endswith("vector") else "other"


def slope(params: Any, grads: Any) -> Any:
    """A loss whose gradient is ``grads`` everywhere."""
    products = jax.tree.map(lambda p, g: jnp.sum((p * g.astype(p.dtype)).real), params, grads)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()))


def _halve_init(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


def _halve_update(updates: Any, state: Any, params: Any = None) -> Any:
    return jax.tree.map(lambda u: u / 2, updates), updates


# ---- what several factories refuse in the same words -----------------------------------------------------------------

DECAY = r"needs a decay in \[0, 1\)"
FRACTION = r"needs a number in \[0, 1\]"
AT_LEAST_0 = r"needs a finite number >= 0"
ABOVE_0 = r"needs a number > 0"
FINITE = r"needs a finite number"
DTYPE = r"needs a floating dtype"


def _named(name: str) -> Callable[..., Any]:
    return lambda *args, **kwargs: getattr(gk, name)(*args, **kwargs)


def adam_like(name: str, *lead: Any) -> tuple[Bad, ...]:
    """What every relative of Adam refuses."""
    factory = _named(name)
    return (
        (lambda: factory(*lead, b1=1.0), f"b1: {DECAY}"),
        (lambda: factory(*lead, b2=-0.1), f"b2: {DECAY}"),
        (lambda: factory(*lead, eps=-1e-8), f"eps: {AT_LEAST_0}"),
    )


def rate(name: str) -> tuple[Bad, ...]:
    """What every optimizer refuses for a rate."""
    factory = _named(name)
    return (
        (lambda: factory(-0.1), AT_LEAST_0),
        (lambda: factory(float("inf")), AT_LEAST_0),
        (lambda: factory("fast"), "needs"),
        (lambda: factory(0.1, nonsense=1), "nonsense"),
    )


def penalty(name: str) -> tuple[Bad, ...]:
    """What every penalty refuses."""
    factory = _named(name)
    return (lambda: factory(-0.1), f"penalty: {AT_LEAST_0}; got -0.1"), (lambda: factory(float("nan")), f"penalty: {AT_LEAST_0}")


STRUCTURE = [
    Case(
        "chain",
        lambda: gk.chain(gk.clip_by_global_norm(0.5), gk.ema(0.8), gk.scale(-0.1)),
        bad=((lambda: gk.chain(gk.scale(1.0), 3), r"transforms\[1\]: needs transforms; got 3"),),
    ),
    Case(
        "named_chain",
        lambda: gk.named_chain(("speed", gk.trace(0.8)), ("rate", gk.scale(-0.1))),
        bad=(
            (lambda: gk.named_chain(("a", gk.scale(1.0)), ("a", gk.scale(2.0))), r"needs unique names; got 'a' 2 times"),
            (lambda: gk.named_chain(("a", None)), r"needs transforms; got None"),
        ),
    ),
    Case("identity", lambda: gk.identity(), bad=((lambda: gk.identity(1.0), "too many positional arguments"),)),
    Case(
        "GradientTransformation",
        lambda: gk.GradientTransformation(_halve_init, _halve_update),
        bad=((lambda: gk.GradientTransformation(_halve_init), "update"),),
        reads_back=False,
    ),
]

AVERAGES = [
    Case("latest", lambda: gk.latest(), bad=((lambda: gk.latest(0.9), "too many positional arguments"),)),
    Case(
        "ema",
        lambda: gk.ema(0.8, nesterov=True),
        bad=(
            (lambda: gk.ema(1.0), f"decay: {DECAY}; got 1.0"),
            (lambda: gk.ema(float("nan")), f"decay: {DECAY}"),
            (lambda: gk.ema("0.9"), f"decay: {DECAY}"),
            (lambda: gk.ema(None), f"decay: {DECAY}"),
            (lambda: gk.ema(0.9, accumulator_dtype="int8"), DTYPE),
            (lambda: gk.ema(0.9, debiased=True), "Did you mean 'debias'"),
        ),
    ),
    Case(
        "trace",
        lambda: gk.trace(0.8, nesterov=True),
        bad=(
            (lambda: gk.trace(1.5), f"decay: {FRACTION}; got 1.5"),
            (lambda: gk.trace(-0.1), f"decay: {FRACTION}"),
            (lambda: gk.trace(0.9, accumulator_dtype="int32"), DTYPE),
        ),
    ),
    Case(
        "total",
        lambda: gk.total(0.25),
        bad=(
            (lambda: gk.total(float("inf")), f"initial_value: {FINITE}"),
            (lambda: gk.total(accumulator_dtype="int8"), DTYPE),
        ),
    ),
    Case(
        "peak",
        lambda: gk.peak(gk.ema(0.8)),
        bad=(
            (lambda: gk.peak(0.9), "average"),
            (lambda: gk.peak(gk.latest(), accumulator_dtype="int8"), DTYPE),
        ),
        complex=False,
    ),
    Case(
        "fading_peak",
        lambda: gk.fading_peak(0.8, 1e-3),
        bad=(
            (lambda: gk.fading_peak(1.0), f"decay: {DECAY}"),
            (lambda: gk.fading_peak(0.9, -1.0), f"eps: {AT_LEAST_0}"),
        ),
        complex=False,
    ),
    Case(
        "variance",
        lambda: gk.variance(0.8, debias=True),
        bad=(
            (lambda: gk.variance(1.0), f"decay: {DECAY}"),
            (lambda: gk.variance(0.9, initial_value=-1.0), f"initial_value: {AT_LEAST_0}"),
        ),
        within=lambda metric: gk.precondition(gk.latest(), metric, eps_root=0.1),
        complex=False,
    ),
]

TRANSFORMS = [
    Case(
        "precondition",
        lambda: gk.precondition(gk.ema(0.8), gk.total(0.1), 1e-3, 1e-4),
        bad=(
            (lambda: gk.precondition(gk.latest(), gk.total(), -1e-8), f"eps: {AT_LEAST_0}"),
            (lambda: gk.precondition(gk.latest(), gk.total(), 0.0, -1e-8), f"eps_root: {AT_LEAST_0}"),
            (lambda: gk.precondition(gk.latest(), gk.total(), order=3), "order: needs order 1 or 2; got 3"),
            (lambda: gk.precondition(0.9, gk.total()), "moment"),
        ),
    ),
    Case(
        "clip",
        lambda: gk.clip(0.5, -0.25),
        bad=(
            (lambda: gk.clip(0.0), f"max_delta: {ABOVE_0}"),
            (lambda: gk.clip(1.0, 2.0), "needs min_delta < max_delta; got 2.0 and 1.0"),
            (lambda: gk.clip(1.0, float("nan")), f"min_delta: {FINITE}"),
        ),
        complex=False,
    ),
    Case(
        "clip_by_global_norm",
        lambda: gk.clip_by_global_norm(0.5),
        bad=(
            (lambda: gk.clip_by_global_norm(0.0), f"max_norm: {ABOVE_0}; got 0.0"),
            (lambda: gk.clip_by_global_norm(float("nan")), f"max_norm: {ABOVE_0}"),
        ),
    ),
    Case("clip_by_block_rms", lambda: gk.clip_by_block_rms(0.5), bad=((lambda: gk.clip_by_block_rms(-1.0), ABOVE_0),)),
    Case(
        "adaptive_grad_clip",
        lambda: gk.adaptive_grad_clip(0.1, 1e-2),
        bad=(
            (lambda: gk.adaptive_grad_clip(0.0), f"clipping: {ABOVE_0}"),
            (lambda: gk.adaptive_grad_clip(0.1, -1.0), "eps: needs"),
        ),
        needs_params=True,
    ),
    Case("scale", lambda: gk.scale(-0.5), bad=((lambda: gk.scale(float("inf")), f"step_size: {FINITE}"), (lambda: gk.scale(None), "step_size: needs"))),
    Case(
        "scale_by_learning_rate",
        lambda: gk.scale_by_learning_rate(gk.function_schedule(harmonic), flip_sign=False),
        bad=((lambda: gk.scale_by_learning_rate(-0.1), f"learning_rate: {AT_LEAST_0}; got -0.1"),),
        reads_back=False,
    ),
    Case("scale_by_schedule", lambda: gk.scale_by_schedule(harmonic), bad=((lambda: gk.scale_by_schedule("fast"), "needs"),), reads_back=False),
    Case("set_to_zero", lambda: gk.set_to_zero(), bad=((lambda: gk.set_to_zero(1.0), "too many positional arguments"),), passes_nan=False),
    Case(
        "add_decayed_weights",
        lambda: gk.add_decayed_weights(0.1, matrices_only),
        bad=(
            (lambda: gk.add_decayed_weights(float("nan")), "weight_decay: needs"),
            (lambda: gk.add_decayed_weights("much"), "weight_decay: needs"),
        ),
        needs_params=True,
        reads_back=False,
    ),
    Case("add_l2_penalty", lambda: gk.add_l2_penalty(0.1, gk.by_rank(1)), bad=penalty("add_l2_penalty"), needs_params=True),
    Case("add_l1_penalty", lambda: gk.add_l1_penalty(0.1, gk.by_path("vector")), bad=penalty("add_l1_penalty"), needs_params=True),
    Case(
        "add_elastic_net_penalty",
        lambda: gk.add_elastic_net_penalty(0.1, 0.2, ~gk.by_rank(2)),
        bad=((lambda: gk.add_elastic_net_penalty(-0.1, 0.2), f"l1: {AT_LEAST_0}"), (lambda: gk.add_elastic_net_penalty(0.1, -0.2), f"l2: {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "add_smoothed_l1_penalty",
        lambda: gk.add_smoothed_l1_penalty(0.1, 1e-3),
        bad=(*penalty("add_smoothed_l1_penalty"), (lambda: gk.add_smoothed_l1_penalty(0.1, -1.0), f"eps: {AT_LEAST_0}")),
        needs_params=True,
    ),
    Case(
        "scale_by_adam",
        lambda: gk.scale_by_adam(0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(
            *adam_like("scale_by_adam"),
            (lambda: gk.scale_by_adam(mu_dtype="int8"), DTYPE),
            (lambda: gk.scale_by_adam(eps_root=-1.0), f"eps_root: {AT_LEAST_0}"),
        ),
    ),
    Case("scale_by_amsgrad", lambda: gk.scale_by_amsgrad(0.8, 0.9, 1e-3, 1e-4), bad=adam_like("scale_by_amsgrad")),
    Case("scale_by_adamax", lambda: gk.scale_by_adamax(0.8, 0.9, 1e-3), bad=adam_like("scale_by_adamax")),
    Case(
        "scale_by_rms",
        lambda: gk.scale_by_rms(0.8, 1e-3, 0.1, eps_in_sqrt=False, bias_correction=True),
        bad=(
            (lambda: gk.scale_by_rms(1.0), f"decay: {DECAY}"),
            (lambda: gk.scale_by_rms(0.9, -1.0), f"eps: {AT_LEAST_0}"),
            (lambda: gk.scale_by_rms(0.9, 1e-8, -1.0), "initial_"),
        ),
    ),
    Case(
        "scale_by_stddev",
        lambda: gk.scale_by_stddev(0.8, 1e-3, 0.1),
        bad=((lambda: gk.scale_by_stddev(1.0), f"decay: {DECAY}"), (lambda: gk.scale_by_stddev(0.9, -1.0), f"eps: {AT_LEAST_0}")),
        complex=False,
    ),
    Case(
        "scale_by_rss",
        lambda: gk.scale_by_rss(0.2, 1e-3),
        bad=((lambda: gk.scale_by_rss(-0.1), f"initial_accumulator_value: {AT_LEAST_0}"), (lambda: gk.scale_by_rss(0.1, -1.0), f"eps: {AT_LEAST_0}")),
    ),
    Case(
        "scale_by_adadelta",
        lambda: gk.scale_by_adadelta(0.8, 1e-3),
        bad=((lambda: gk.scale_by_adadelta(1.0), f"rho: {DECAY}"), (lambda: gk.scale_by_adadelta(0.9, -1.0), f"eps: {AT_LEAST_0}")),
    ),
    Case("scale_by_sign", lambda: gk.scale_by_sign(), bad=((lambda: gk.scale_by_sign(1.0), "too many positional arguments"),)),
    Case(
        "normalize_by_update_norm",
        lambda: gk.normalize_by_update_norm(2.0, 1e-3),
        bad=(
            (lambda: gk.normalize_by_update_norm(1.0, -1.0), f"eps: {AT_LEAST_0}"),
            (lambda: gk.normalize_by_update_norm(float("nan")), "scale_factor: needs"),
        ),
    ),
    Case("centralize", lambda: gk.centralize(), bad=((lambda: gk.centralize(1.0), "too many positional arguments"),)),
    Case("zero_nans", lambda: gk.zero_nans(), bad=((lambda: gk.zero_nans(1.0), "too many positional arguments"),), passes_nan=False),
    Case(
        "add_noise",
        lambda: gk.add_noise(0.1, 0.5, 3),
        bad=(
            (lambda: gk.add_noise(-0.1, 0.5, 0), f"eta: {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, -0.5, 0), f"gamma: {AT_LEAST_0}"),
            (lambda: gk.add_noise(0.1, 0.5), "missing a required argument: 'key'"),
        ),
        stochastic=True,
    ),
]

ROUTES = [
    Case("masked", lambda: gk.masked(gk.ema(0.8), gk.by_rank(1)), bad=((lambda: gk.masked(0.5, True), "inner: needs a transform; got 0.5"),)),
    Case(
        "partition",
        lambda: gk.partition({"fast": gk.trace(0.8), "slow": gk.scale(0.1)}, {"fast": gk.by_rank(1), "slow": ~gk.by_rank(1)}),
        bad=((lambda: gk.partition({"fast": 0.5}, {"fast": gk.by_rank(0)}), "needs a transform; got 0.5"),),
    ),
    Case(
        "multi_transform",
        lambda: gk.multi_transform({"vector": gk.trace(0.8), "other": gk.scale(0.1)}, label),
        bad=((lambda: gk.multi_transform({"fast": 0.5}, {"fast": gk.by_rank(0)}), "needs a transform; got 0.5"),),
        reads_back=False,
    ),
    Case(
        "where",
        lambda: gk.where(gk.by_rank(2), gk.ema(0.8), gk.scale(0.1)),
        bad=((lambda: gk.where(gk.by_rank(2), 0.5), "needs a transform; got 0.5"),),
    ),
    Case("freeze", lambda: gk.freeze(gk.by_path("vector")), bad=((lambda: gk.freeze(), "missing a required argument: 'mask'"),), passes_nan=None),
]

OPTIMIZERS = [
    Case("sgd", lambda: gk.sgd(0.1, 0.8, True), bad=(*rate("sgd"), (lambda: gk.sgd(0.1, 1.5), FRACTION))),
    Case(
        "adagrad",
        lambda: gk.adagrad(0.1, 0.2, 1e-3),
        bad=(*rate("adagrad"), (lambda: gk.adagrad(0.1, -1.0), "initial_accumulator_value: needs")),
    ),
    Case(
        "rmsprop",
        lambda: gk.rmsprop(0.1, 0.8, 1e-3, centered=True, momentum=0.7, nesterov=True),
        bad=(*rate("rmsprop"), (lambda: gk.rmsprop(0.1, 1.0), f"decay: {DECAY}")),
        complex=False,
    ),
    Case("adadelta", lambda: gk.adadelta(0.1, 0.8, 1e-3), bad=(*rate("adadelta"), (lambda: gk.adadelta(0.1, 1.0), f"rho: {DECAY}"))),
    Case(
        "adam",
        lambda: gk.adam(0.1, 0.8, 0.9, 1e-3, 1e-4, nesterov=True),
        bad=(*rate("adam"), *adam_like("adam", 0.1), (lambda: gk.adam(0.1, eps_root=-1.0), f"eps_root: {AT_LEAST_0}")),
    ),
    Case(
        "adamw",
        lambda: gk.adamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("adamw"), *adam_like("adamw", 0.1)),
        needs_params=True,
    ),
    Case("adamax", lambda: gk.adamax(0.1, 0.8, 0.9, 1e-3), bad=(*rate("adamax"), *adam_like("adamax", 0.1))),
    Case(
        "adamaxw",
        lambda: gk.adamaxw(0.1, 0.8, 0.9, 1e-3, 0.1),
        bad=(*rate("adamaxw"), *adam_like("adamaxw", 0.1)),
        needs_params=True,
    ),
    Case("nadam", lambda: gk.nadam(0.1, 0.8, 0.9, 1e-3), bad=(*rate("nadam"), *adam_like("nadam", 0.1))),
    Case(
        "nadamw",
        lambda: gk.nadamw(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1),
        bad=(*rate("nadamw"), *adam_like("nadamw", 0.1)),
        needs_params=True,
    ),
    Case("amsgrad", lambda: gk.amsgrad(0.1, 0.8, 0.9, 1e-3), bad=(*rate("amsgrad"), *adam_like("amsgrad", 0.1))),
    Case(
        "momentum",
        lambda: gk.momentum(0.1, 0.8, True),
        bad=(*rate("momentum"), (lambda: gk.momentum(0.1, 1.0), f"decay: {DECAY}")),
    ),
    Case(
        "nesterov",
        lambda: gk.nesterov(0.1, 0.8),
        bad=(*rate("nesterov"), (lambda: gk.nesterov(0.1, 1.5), f"momentum: {FRACTION}")),
        extras=lambda grads: {"value_fn": lambda params: slope(params, grads)},
        needs_params=True,
    ),
    Case("sign_sgd", lambda: gk.sign_sgd(0.1), bad=rate("sign_sgd")),
]

PREDICATES = [
    Case("by_path", lambda: gk.by_path("layers.*.kernel"), bad=((lambda: gk.by_path("bias", rgx=True), "Did you mean 'regex'"),)),
    Case("by_rank", lambda: gk.by_rank(1, 2), bad=((lambda: gk.by_rank(-1), "at_least: needs a whole number >= 0; got -1"),)),
    Case("by_size", lambda: gk.by_size(2, 6), bad=((lambda: gk.by_size(0.5), "at_least: needs a whole number >= 0; got 0.5"),)),
    Case("by_dtype", lambda: gk.by_dtype("float32"), bad=((lambda: gk.by_dtype(), "missing a required argument: 'dtype'"),)),
    Case("by", lambda: gk.by(is_vector), bad=((lambda: gk.by(), "missing a required argument: 'function'"),), reads_back=False),
    Case("every", lambda: gk.by_path("a") & gk.by_rank(1), bad=((lambda: gk.every(predicate=1), "unexpected keyword"),)),
    Case("some", lambda: gk.by_path("a") | gk.by_rank(1), bad=((lambda: gk.some(predicate=1), "unexpected keyword"),)),
    Case("outside", lambda: ~gk.by_path("a"), bad=((lambda: gk.outside(), "missing a required argument: 'inner'"),)),
]


def _line() -> Any:
    return gk.linear_schedule(0.5, 0.1, 10)


def value_checks(name: str, *lead: Any, at: int = 0) -> tuple[Bad, ...]:
    """What every schedule refuses where a value stands: what is no finite number, and another schedule."""
    factory = _named(name)

    def with_value(value: Any) -> Callable[[], Any]:
        return lambda: factory(*lead[:at], value, *lead[at + 1 :])

    return ((with_value(float("nan")), FINITE), (with_value("fast"), "needs"))


def length_checks(name: str, *lead: Any, at: int, least: int = 1) -> tuple[Bad, ...]:
    """What every schedule refuses for a length."""
    factory, words = _named(name), f"needs a whole number >= {least}"

    def with_length(value: Any) -> Callable[[], Any]:
        return lambda: factory(*lead[:at], value, *lead[at + 1 :])

    return ((with_length(least - 1), f"{words}; got {least - 1}"), (with_length(-5), f"{words}; got -5"), (with_length(2.5), f"{words}; got 2.5"))


def _decay_case(name: str, bad_rate: float) -> Case:
    lead = (0.5, 4, 0.5)
    return Case(
        name,
        lambda: _named(name)(0.5, 4, 0.5, 2, True, 0.05),
        bad=(
            *value_checks(name, *lead),
            *length_checks(name, *lead, at=1),
            *length_checks(name, *lead, 0, at=3, least=0),
            (lambda: _named(name)(0.5, 4, bad_rate), "decay_rate: needs"),
        ),
    )


_PERIOD = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 2, "decay_steps": 8}

SCHEDULES = [
    Case("sum_schedule", lambda: gk.sum_schedule(_line(), 0.25), bad=((lambda: gk.sum_schedule("a"), "needs numbers and schedules; got 'a'"),)),
    Case("product_schedule", lambda: gk.product_schedule(_line(), 0.25), bad=((lambda: gk.product_schedule(), "needs at least one term"),)),
    Case("function_schedule", lambda: gk.function_schedule(harmonic), bad=((lambda: gk.function_schedule(3), "needs a function"),), reads_back=False),
    Case("constant_schedule", lambda: gk.constant_schedule(0.5), bad=value_checks("constant_schedule", 0.5)),
    Case(
        "linear_schedule",
        lambda: gk.linear_schedule(0.5, 0.1, 10, 3),
        bad=(
            *value_checks("linear_schedule", 0.5, 0.1, 10),
            *length_checks("linear_schedule", 0.5, 0.1, 10, at=2),
            *length_checks("linear_schedule", 0.5, 0.1, 10, 0, at=3, least=0),
            (lambda: gk.linear_schedule(_line(), 0.1, 10), "init_value: needs a number"),
        ),
    ),
    Case(
        "polynomial_schedule",
        lambda: gk.polynomial_schedule(0.5, 0.1, 2.5, 10, 3),
        bad=(*length_checks("polynomial_schedule", 0.5, 0.1, 2.0, 10, at=3), (lambda: gk.polynomial_schedule(0.5, 0.1, 0.0, 10), f"power: {ABOVE_0}")),
    ),
    Case(
        "cosine_decay_schedule",
        lambda: gk.cosine_decay_schedule(0.5, 10, 0.1, 1.5),
        bad=(*value_checks("cosine_decay_schedule", 0.5, 10), *length_checks("cosine_decay_schedule", 0.5, 10, at=1)),
    ),
    _decay_case("exponential_decay", 0.0),
    _decay_case("natural_exponential_decay", -1.0),
    _decay_case("inverse_time_decay", -1.0),
    Case(
        "inverse_sqrt_schedule",
        lambda: gk.inverse_sqrt_schedule(0.5, 4),
        bad=(*value_checks("inverse_sqrt_schedule", 0.5), *length_checks("inverse_sqrt_schedule", 0.5, 4, at=1, least=0)),
    ),
    Case(
        "piecewise_constant_schedule",
        lambda: gk.piecewise_constant_schedule(0.5, {3: 0.5, 8: 0.25}),
        bad=(
            *value_checks("piecewise_constant_schedule", 0.5),
            (lambda: gk.piecewise_constant_schedule(0.5, {-1: 0.5}), "needs a whole number >= 0; got -1. A boundary is a step"),
            (lambda: gk.piecewise_constant_schedule(0.5, {3: -0.5}), rf"boundaries_and_scales\[3\]: {AT_LEAST_0}"),
            (lambda: gk.piecewise_constant_schedule(0.5, [3]), "needs a dict of boundary: scale"),
        ),
    ),
    Case(
        "piecewise_interpolate_schedule",
        lambda: gk.piecewise_interpolate_schedule("cosine", 0.5, {3: 0.5, 8: 0.25}),
        bad=((lambda: gk.piecewise_interpolate_schedule("cubic", 0.5, {3: 0.5}), "interpolate_type: needs one of 'linear', 'cosine'; got 'cubic'"),),
    ),
    Case(
        "linear_onecycle_schedule",
        lambda: gk.linear_onecycle_schedule(20, 0.5, 0.25, 0.75, 10.0, 100.0),
        bad=(
            *length_checks("linear_onecycle_schedule", 20, 0.5, at=0),
            (lambda: gk.linear_onecycle_schedule(20, 0.5, 0.9, 0.5), "needs pct_start <= pct_final; got 0.9 and 0.5"),
            (lambda: gk.linear_onecycle_schedule(20, 0.5, div_factor=0.0), f"div_factor: {ABOVE_0}"),
        ),
    ),
    Case(
        "cosine_onecycle_schedule",
        lambda: gk.cosine_onecycle_schedule(20, 0.5, 0.25, 10.0, 100.0),
        bad=(*length_checks("cosine_onecycle_schedule", 20, 0.5, at=0), (lambda: gk.cosine_onecycle_schedule(20, 0.5, 1.5), f"pct_start: {FRACTION}")),
    ),
    Case(
        "join_schedules",
        lambda: gk.join_schedules([_line(), 0.25, gk.constant_schedule(0.125)], [3, 8]),
        bad=(
            (lambda: gk.join_schedules([_line()], [3]), "needs one boundary fewer than schedules; got 1 for 1"),
            (lambda: gk.join_schedules([_line(), 0.1, 0.2], [8, 3]), "needs boundaries that do not fall"),
            (lambda: gk.join_schedules([_line(), "a"], [3]), r"schedules\[1\]: needs schedules, functions of the step and numbers; got 'a'"),
            (lambda: gk.join_schedules([_line(), 0.1], [-3]), r"boundaries\[0\]: needs a whole number >= 0; got -3"),
        ),
    ),
    Case(
        "linear_warmup",
        lambda: gk.linear_warmup(_line(), 4),
        bad=((lambda: gk.linear_warmup("a", 4), "schedule: needs a schedule"), *length_checks("linear_warmup", 0.5, 4, at=1, least=0)),
    ),
    Case(
        "warmup_constant_schedule", lambda: gk.warmup_constant_schedule(0.1, 0.5, 4), bad=length_checks("warmup_constant_schedule", 0.1, 0.5, 4, at=2, least=0)
    ),
    Case(
        "warmup_cosine_decay_schedule",
        lambda: gk.warmup_cosine_decay_schedule(0.1, 0.5, 4, 20, 0.05, 1.5),
        bad=(
            *length_checks("warmup_cosine_decay_schedule", 0.1, 0.5, 4, 20, at=2, least=0),
            *length_checks("warmup_cosine_decay_schedule", 0.1, 0.5, 4, 20, at=3),
            (lambda: gk.warmup_cosine_decay_schedule(0.1, 0.5, 20, 20), "needs decay_steps > warmup_steps; got 20 and 20"),
        ),
    ),
    Case(
        "warmup_exponential_decay_schedule",
        lambda: gk.warmup_exponential_decay_schedule(0.1, 0.5, 4, 5, 0.5, 2, True, 0.05),
        bad=length_checks("warmup_exponential_decay_schedule", 0.1, 0.5, 4, 5, 0.5, at=2, least=0),
    ),
    Case(
        "warmup_stable_decay_schedule",
        lambda: gk.warmup_stable_decay_schedule(0.1, 0.5, 3, 4, 5, 0.05, "1-sqrt"),
        bad=(
            *length_checks("warmup_stable_decay_schedule", 0.1, 0.5, 3, 4, 5, at=3, least=0),
            (lambda: gk.warmup_stable_decay_schedule(0.1, 0.5, 3, 4, 5, cooldown="fast"), "cooldown: needs one of"),
        ),
    ),
    Case(
        "triangular_schedule",
        lambda: gk.triangular_schedule(0.1, 0.5, 4, 0.75),
        bad=(*length_checks("triangular_schedule", 0.1, 0.5, 4, at=2), (lambda: gk.triangular_schedule(0.1, 0.5, 4, 0.0), f"decay_rate: {ABOVE_0}")),
    ),
    Case(
        "warm_restarts_schedule",
        lambda: gk.warm_restarts_schedule(0.5, 4, 2, 0.75, 0.1),
        bad=(
            *length_checks("warm_restarts_schedule", 0.5, 4, at=1),
            (lambda: gk.warm_restarts_schedule(0.5, 4, 0), "t_mul: needs a whole number >= 1; got 0"),
            (lambda: gk.warm_restarts_schedule(0.5, 4, 1.5), "t_mul: needs a whole number >= 1"),
            (lambda: gk.warm_restarts_schedule(0.5, 4, 2, 0.0), f"m_mul: {ABOVE_0}"),
        ),
    ),
    Case(
        "sgdr_schedule",
        lambda: gk.sgdr_schedule([_PERIOD, {**_PERIOD, "peak_value": 0.25}]),
        bad=(
            (lambda: gk.sgdr_schedule([]), "needs at least one period; got none"),
            (lambda: gk.sgdr_schedule(3), "needs a list of dicts; got 3"),
            (lambda: gk.sgdr_schedule([{**_PERIOD, "decay_steps": 1}]), "needs decay_steps > warmup_steps"),
        ),
    ),
    Case("per_epoch", lambda: gk.per_epoch(_line(), 5), bad=((lambda: gk.per_epoch("a", 5), "schedule: needs"), *length_checks("per_epoch", 0.5, 5, at=1))),
]

CASES = [*STRUCTURE, *AVERAGES, *TRANSFORMS, *ROUTES, *OPTIMIZERS, *PREDICATES, *SCHEDULES]

TRANSFORM_CASES, SCHEDULE_CASES = cases(Transform), cases(Schedule)
