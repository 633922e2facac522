"""Bad calls written by hand, and habits that are accepted: the tables of `test_bad_calls`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradkit as gk
from gradkit.parity import compare


class Bad(NamedTuple):
    """A call that is refused: the name that begins its message, and what it names (a pattern)."""

    where: str
    names: str
    call: Callable[[], Any]
    text: str = ""


P = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
G = {"w": jnp.full((2, 3), 0.5), "b": jnp.ones(3)}
OTHER = {"w": jnp.ones((2, 3)), "bias": jnp.ones(3)}
WIDE = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
ADAM = gk.adam(1e-3)
STATE = ADAM.init(P)
STEPS = gk.MultiSteps(gk.sgd(0.1), 2)
PLATEAU = gk.reduce_on_plateau()
EMA = gk.chain(gk.sgd(0.1), gk.weight_ema(0.5))
SCHEDULE = gk.linear_schedule(1.0, 0.0, 10)
BY = gk.by_path("w")


def loss(params: Any) -> Any:
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def _named(where: str, names: str, *calls: Callable[[], Any]) -> list[Bad]:
    return [Bad(where, names, call, f"{where} ({names}) #{i}") for i, call in enumerate(calls)]


TREES = (
    None,
    "weights",
    ADAM,
    gk.adam,
    (gk.adam,)[0],
    {1: jnp.ones(1), "a": jnp.ones(1)},
    {"w": "x"},
)
INTEGERS = {"w": jnp.ones((2, 3), int), "b": jnp.ones(3)}

# ---- init, update, apply -------------------------------------------------------------------------

BAD: list[Bad] = [
    *_named("adam", "params", *(lambda t=t: ADAM.init(t) for t in TREES[:4])),
    *_named("adam", "w", lambda: ADAM.init({"w": "x"}), lambda: ADAM.init(INTEGERS)),
    *_named("adam", "w", lambda: ADAM.init({"w": jnp.ones(2, bool)})),
    *_named("adam", "w|random key", lambda: ADAM.init({"w": jax.random.key(0)})),
    *_named("adam", "updates", *(lambda t=t: ADAM.update(t, STATE, P) for t in TREES[:4])),
    *_named(
        "adam", "updates|parameter", *(lambda t=t: ADAM.update(t, STATE, P) for t in ([], "", 1.0))
    ),
    *_named("adam", "w|b", lambda: ADAM.update({"w": "x", "b": G["b"]}, STATE, P)),
    *_named(
        "adam",
        "b",
        lambda: ADAM.update(OTHER, STATE, P),
        lambda: ADAM.update({"w": G["w"]}, STATE, P),
    ),
    *_named(
        "adam", "w", lambda: ADAM.update(WIDE, STATE, P), lambda: ADAM.update(INTEGERS, STATE, P)
    ),
    *_named(
        "adam",
        "b",
        lambda: ADAM.update(G, STATE, OTHER),
        lambda: ADAM.update(list(G.values()), STATE, P),
    ),
    *_named("adam", "w", lambda: ADAM.update(G, STATE, WIDE), lambda: ADAM.update(WIDE, STATE)),
    *_named("adam", "w", lambda: ADAM.update({**G, "w": G["w"] * 1j}, STATE, P)),
    *_named("adam", "order", lambda: ADAM.update(G, P, STATE), lambda: ADAM.update(STATE, G, P)),
    *_named("adam", "order", lambda: ADAM.update(P, G, STATE), lambda: ADAM.update(STATE, P, G)),
    *_named("adam", "order", lambda: ADAM.apply(G, P, STATE), lambda: ADAM.apply(STATE, P, G)),
    *_named(
        "adam", "order|state", lambda: ADAM.apply(P, G, STATE), lambda: ADAM.apply(STATE, G, P)
    ),
    *_named(
        "adam",
        "state",
        *(lambda s=s: ADAM.update(G, s, P) for s in (None, (), 0, "s", P, ADAM, {}, [], 1.5)),
    ),
    *_named(
        "adam", "state", *(lambda s=s: ADAM.apply(P, s, G) for s in (None, (), 0, "s", P, ADAM, {}))
    ),
    *_named(
        "adam", "state", lambda: ADAM.update(G, gk.adam, P), lambda: ADAM.update(G, STATE.inner, P)
    ),
    *_named("adam", "state|scale_by_adam", lambda: ADAM.update(G, ADAM.init(OTHER), P)),
    *_named("adam", "state|scale_by_adam", lambda: ADAM.update(G, ADAM.init(WIDE), P)),
    *_named("adam", "state|scale_by_adam", lambda: ADAM.update(G, ADAM.init({"w": P["w"]}), P)),
    *_named(
        "adam", "state|scale_by_adam", lambda: ADAM.update(G, gk.sgd(0.1, momentum=0.9).init(P), P)
    ),
    *_named("adam", "state|scale_by_adam", lambda: ADAM.update(G, gk.lion(0.1).init(P), P)),
    *_named("adam", "state|scale_by_adam", lambda: ADAM.update(G, gk.sgd(0.1).init(P), P)),
    *_named(
        "adam",
        "state|scale_by_adam",
        lambda: ADAM.update(G, gk.chain(ADAM, gk.trace(0.9)).init(P), P),
    ),
    *_named(
        "adam", "state|scale_by_adam", lambda: ADAM.update(G, gk.scale_by_amsgrad().init(P), P)
    ),
    *_named(
        "adam",
        "state|scale_by_adam",
        lambda: ADAM.update(G, gk.adam(1e-3, mu_dtype="bfloat16").init(P), P),
    ),
    *_named("adam", "state", lambda: ADAM.update(G, STEPS.init(P), P)),
    *_named(
        "adam",
        "state|step",
        *(
            lambda s=s: ADAM.update(G, STATE._replace(step=s), P)
            for s in ("a", None, jnp.ones(2), 1.5)
        ),
    ),
    *_named(
        "adam",
        "state|inner",
        *(lambda s=s: ADAM.update(G, STATE._replace(inner=s), P) for s in ("a", None, [], 3, P)),
    ),
    *_named(
        "adam",
        "state",
        lambda: ADAM.update(G, {"step": 0}, P),
        lambda: ADAM.update(G, {"step": 0, "inner": P}, P),
    ),
    *_named(
        "adam",
        "average|moment",
        lambda: ADAM.update(G, _changed("moment", "average", jnp.ones(7)), P),
    ),
    *_named(
        "adam", "average|moment", lambda: ADAM.update(G, _changed("moment", "average", "x"), P)
    ),
    *_named("adam", "params", *(lambda t=t: ADAM.apply(t, STATE, G) for t in TREES[:4])),
    *_named("adam", "updates|grads", *(lambda t=t: ADAM.apply(P, STATE, t) for t in TREES[:4])),
    *_named("adam", "w", lambda: ADAM.apply(WIDE, STATE, G), lambda: ADAM.apply(P, STATE, WIDE)),
    *_named("adam", "b", lambda: ADAM.apply(OTHER, STATE, G), lambda: ADAM.apply(P, STATE, OTHER)),
    *_named("adam", "w", lambda: ADAM.apply(INTEGERS, STATE, INTEGERS)),
    *_named("adamw", "params", lambda: gk.adamw(1e-3).update(G, gk.adamw(1e-3).init(P))),
    *_named("MultiSteps", "state|opt", lambda: STEPS.update(G, gk.MultiSteps(ADAM, 2).init(P), P)),
    *_named(
        "MultiSteps",
        "state",
        lambda: STEPS.update(G, STATE, P),
        lambda: STEPS.update(G, STEPS.init(OTHER), P),
    ),
    *_named(
        "masked", "matches no parameter", lambda: gk.masked(gk.trace(0.9), gk.by_path("x")).init(P)
    ),
    *_named("masked", "mask", lambda: gk.masked(gk.trace(0.9), OTHER).init(P)),
    *_named("masked", "mask", lambda: gk.masked(gk.trace(0.9), {"w": True, "bias": False}).init(P)),
    *_named("masked", "mask", lambda: gk.masked(gk.trace(0.9), {"w": "yes", "b": "no"}).init(P)),
    *_named(
        "masked",
        "mask",
        lambda: gk.masked(gk.trace(0.9), lambda p: jax.tree.map(jnp.any, p)).update(
            G, gk.masked(gk.trace(0.9), {"w": True, "b": True}).init(P), "x"
        ),
    ),
]


def _changed(part: str, field: str, value: Any) -> Any:
    kept = STATE.inner["scale_by_adam"]
    kept = {**kept, part: {**kept[part], field: value}}
    return STATE._replace(inner={"scale_by_adam": kept})


# ---- extra arguments -----------------------------------------------------------------------------

BAD += [
    *_named(
        "reduce_on_plateau",
        "value",
        *(
            lambda v=v: PLATEAU.update(G, PLATEAU.init(P), P, value=v)
            for v in ("x", jnp.ones(3), 1j, None, [1.0], {}, ADAM, jnp.ones((1, 1)))
        ),
    ),
    *_named("reduce_on_plateau", "value", lambda: PLATEAU.update(G, PLATEAU.init(P), P)),
    *_named("reduce_on_plateau", "valu", lambda: PLATEAU.update(G, PLATEAU.init(P), P, valu=1.0)),
    *_named("polyak_sgd", "value", lambda: gk.polyak_sgd().update(G, gk.polyak_sgd().init(P), P)),
    *_named(
        "polyak_sgd",
        "value",
        *(
            lambda v=v: gk.polyak_sgd().update(G, gk.polyak_sgd().init(P), P, value=v)
            for v in ("x", jnp.ones(3), 1j, None)
        ),
    ),
    *_named(
        "momo",
        "value",
        *(
            lambda v=v: gk.momo().update(G, gk.momo().init(P), P, value=v)
            for v in ("x", jnp.ones(3), 1j, None)
        ),
    ),
    *_named(
        "adam",
        "los",
        lambda: ADAM.update(G, STATE, P, los=1.0),
        lambda: ADAM.apply(P, STATE, G, los=1.0),
    ),
    *_named("adam", "momentum", lambda: ADAM.update(G, STATE, P, momentum=1.0)),
    *_named("adam", "step", lambda: ADAM.update(G, STATE, P, step=1)),
    *_named("adam", "learning_rate", lambda: ADAM.update(G, STATE, P, learning_rate=1.0)),
    *_named(
        "sam",
        "value_fn|grad_fn|extra|opaque",
        lambda: _sam().update(G, _sam().init(P), P, grad_fn=3),
    ),
    *_named(
        "sam",
        "value_fn|grad_fn|extra",
        lambda: _sam().update(G, _sam().init(P), P, value_fn="loss"),
    ),
    *_named(
        "sophia",
        "hessian|obj_fn|value_fn",
        lambda: gk.sophia(0.1).update(G, gk.sophia(0.1).init(P), P),
    ),
    *_named("guard", "value", lambda: _guard().update(G, _guard().init(P), P, value=jnp.ones(3))),
    *_named("guard", "value", lambda: _guard().update(G, _guard().init(P), P)),
    *_named(
        "hutchinson_estimator_diag_hessian",
        "obj_fn",
        lambda: _hessian(),
        lambda: _hessian(obj_fn="f"),
    ),
    *_named("hutchinson_estimator_diag_hessian", "obj_fn|value_fn", lambda: _hessian(value_fn=3)),
    *_named("lbfgs", "value", lambda: _search(value=None), lambda: _search(value=jnp.ones(3))),
    *_named("lbfgs", "value", lambda: _search(value=1j), lambda: _search(value="low")),
    *_named("lbfgs", "grad", lambda: _search(grad=None), lambda: _search(grad=OTHER)),
    *_named("lbfgs", "grad.*w", lambda: _search(grad=WIDE)),
    *_named(
        "lbfgs",
        "value_fn",
        *(
            lambda f=f: _search(value_fn=f)
            for f in (
                None,
                3,
                gk.adam,
                lambda p: p["w"],
                lambda p: (loss(p), 1.0),
                lambda p: loss(p).astype(complex),
                lambda p: jnp.int32(3),
                lambda p: "low",
                lambda p, batch: loss(p),
            )
        ),
    ),
    *_named("lbfgs", "data", lambda: _search(data=1.0)),
    *_named("lbfgs", "'x'", lambda: _search(value_fn=lambda p, *, x: loss(p) * x)),
    *_named(
        "value_and_grad_from_state",
        "value_fn",
        *(lambda f=f: gk.value_and_grad_from_state(f) for f in (None, 3.0, gk.adam)),
    ),
    *_named(
        "value_and_grad_from_state",
        "state",
        *(
            lambda s=s: gk.value_and_grad_from_state(loss)(P, state=s)
            for s in (None, STATE, gk.lbfgs(linesearch=None).init(P))
        ),
    ),
    *_named("value_and_grad_from_state", "2 line searches", lambda: _stored(SEARCH, SEARCH)),
    *_named(
        "value_and_grad_from_state",
        "store_grad",
        lambda: _stored(gk.scale_by_backtracking_linesearch(3)),
    ),
    *_named(
        "value_and_grad_from_state", "leaves", lambda: _stored(gk.masked(SEARCH, gk.by_path("w")))
    ),
    *_named(
        "nnls",
        "A",
        *(lambda a=a: gk.nnls(a, jnp.ones(2), 3) for a in ("A", jnp.ones(2), 1j * np.ones((2, 2)))),
    ),
    *_named("nnls", "b", lambda: gk.nnls(jnp.ones((2, 3)), jnp.ones(3), 3)),
    *_named("nnls", "b", lambda: gk.nnls(jnp.ones((2, 3)), jnp.float32(1), 3)),
    *_named("nnls", "iters", *(lambda n=n: gk.nnls(P["w"], jnp.ones(2), n) for n in (0, 2.5))),
    *_named("nnls", "L", *(lambda n=n: gk.nnls(P["w"], jnp.ones(2), 3, L=n) for n in (0.0, "x"))),
]
SEARCH = gk.scale_by_zoom_linesearch(3)


def _search(**changes: Any) -> Any:
    """An update of L-BFGS, with some of what its line search takes changed."""
    extras = {"value": 1.0, "grad": G, "value_fn": loss, **changes}
    return gk.lbfgs().update(G, gk.lbfgs().init(P), P, **extras)


def _stored(*searches: Any) -> Any:
    return gk.value_and_grad_from_state(loss)(P, state=gk.chain(*searches).init(P))


def _hessian(**extras: Any) -> Any:
    tx = gk.hutchinson_estimator_diag_hessian()
    return tx.update(G, tx.init(P), P, **extras)


def _sam() -> Any:
    return gk.sam(gk.sgd(0.1), gk.sgd(0.1), opaque_mode=True)


def _guard() -> Any:
    return gk.guard(gk.sgd(0.1), max_value=1.0)


# ---- calls as data -------------------------------------------------------------------------------

TWO = gk.chain(gk.trace(0.9), gk.trace(0.5))
THREE_RATES = gk.adam(jnp.array([1e-3, 1e-2, 1e-1]))
BAD += [
    *_named("adam", "lr|learning_rate", lambda: gk.adam(lr=1.0), lambda: gk.adam(1.0, alpha=1.0)),
    *_named("adam", "beta1|b1", lambda: gk.adam(1.0, beta1=0.9), lambda: gk.adam(1.0, bl=0.9)),
    *_named("adam", "learning_rate", lambda: gk.adam(), lambda: gk.adam(learning_rate=1.0, lr=1.0)),
    *_named("adam", "argument", lambda: gk.adam(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
    *_named(
        "adam",
        "learning_rte",
        lambda: ADAM.replace(learning_rte=1.0),
        lambda: ADAM.replace({"learning_rte": 1.0}),
    ),
    *_named("chain", "decay", lambda: TWO.replace(decay=0.5)),
    *_named(
        "adam",
        "learning_rate",
        lambda: ADAM.replace(learning_rate="fast"),
        lambda: ADAM.replace(learning_rate=-1.0),
    ),
    *_named(
        "adam",
        "b1",
        lambda: ADAM.replace(b1=1.5),
        lambda: ADAM.replace(b1=None),
        lambda: ADAM.replace(b1=gk.adam),
    ),
    *_named(
        "adam",
        "changes|replace",
        *(lambda v=v: ADAM.replace(v) for v in (3, "learning_rate", [("b1", 0.5)])),
    ),
    *_named("adam", "replace", lambda: ADAM.replace({3: 0.5})),
    *_named("chain", "decay|trace_1", lambda: TWO.replace({"trace_1.decay": 2.0})),
    *_named("chain", "trace_7", lambda: TWO.replace({"trace_7.decay": 0.2})),
    *_named("adam", "learning_rate", lambda: setattr(gk.adam(1.0), "learning_rate", 2.0)),
    *_named("adam", "b3", lambda: setattr(gk.adam(1.0), "b3", 2.0), lambda: ADAM.b3),
    *_named("adam", "lr", lambda: ADAM.lr),
    *_named(
        "linear_schedule",
        "init_value",
        lambda: setattr(gk.linear_schedule(1.0, 0.0, 3), "init_value", 2.0),
    ),
    *_named("linear_schedule", "rate", lambda: SCHEDULE.rate),
    *_named("adam", "learning_rate", lambda: THREE_RATES.update(G, THREE_RATES.init(P), P)),
    *_named("adam", "vmap", lambda: THREE_RATES.update(G, THREE_RATES.init(P), P)),
    *_named("adam", "learning_rate", lambda: THREE_RATES.apply(P, STATE, G)),
    *_named("adam", "1|index", lambda: ADAM[3], lambda: ADAM["init"]),
    *_named(
        "chain",
        r"transforms\[0\]",
        *(
            lambda v=v: gk.chain(v)
            for v in (
                3,
                "adam",
                None,
                gk.adam,
                [ADAM],
                (ADAM,),
                SCHEDULE,
                len,
                BY,
                P,
                jnp.ones(3),
                object(),
            )
        ),
    ),
    *_named(
        "chain",
        r"transforms\[1\]",
        *(
            lambda v=v: gk.chain(gk.identity(), v)
            for v in (3, "adam", None, gk.adam, [ADAM], 0.1, {}, gk.masks)
        ),
    ),
    *_named(
        "named_chain",
        "transforms|pair",
        *(
            lambda v=v: gk.named_chain(v)
            for v in (3, ADAM, ("a",), ("a", ADAM, 1), (3, ADAM), "ab", None)
        ),
    ),
    *_named(
        "named_chain",
        "'a'|transforms",
        lambda: gk.named_chain(("a", 3)),
        lambda: gk.named_chain(("a", ADAM), ("a", ADAM)),
    ),
    *_named(
        "GradientTransformation",
        "init",
        lambda: gk.GradientTransformation(3, 4),
        lambda: gk.GradientTransformation("i", len),
    ),
    *_named(
        "GradientTransformation",
        "update",
        lambda: gk.GradientTransformation(len, 4),
        lambda: gk.GradientTransformation(len),
    ),
    *_named("GradientTransformation", "update|returned", lambda: _foreign(lambda u, s, p: u)),
    *_named("GradientTransformation", "update|returned", lambda: _foreign(lambda u, s, p: (s, u))),
    *_named("GradientTransformation", "update|argument", lambda: _foreign(lambda u: u)),
    *_named(
        "stateless",
        "f",
        *(lambda v=v: gk.stateless(v) for v in (3, "f", None, ADAM, lambda: 0, lambda a: a)),
    ),
    *_named(
        "stateless_with_tree_map",
        "f",
        *(lambda v=v: gk.stateless_with_tree_map(v) for v in (3, "f", None, ADAM)),
    ),
    *_named("broken", "returned", lambda: gk.transform(_broken)()),
    *_named("init", "parameter|init", lambda: gk.transform(_hiding)),
    *_named("transform", "function", *(lambda v=v: gk.transform(v) for v in (3, "f", None))),
    *_named("schedule", "function", *(lambda v=v: gk.schedule(v) for v in (3, "f", None))),
]


def _foreign(update: Any) -> Any:
    tx = gk.GradientTransformation(lambda params: (), update)
    return tx.update(G, tx.init(P), P)


def broken(a: float = 1.0) -> Any:
    """A factory that returns neither a rule nor a transform."""
    return 3


_broken = broken


def _hiding(init: float = 1.0) -> Any:
    return gk.identity()


_hiding.__name__ = "init"

# ---- training steps ------------------------------------------------------------------------------


class Model:
    """A leaf that is no array."""


def _step(params: Any, function: Any = loss, **options: Any) -> Any:
    step = gk.make_step(function, ADAM, donate=False, **options)
    return step(params, STATE)


BAD += [
    *_named(
        "make_step",
        "loss_fn",
        *(lambda v=v: gk.make_step(v, ADAM) for v in ("loss", 3, None, ADAM, gk.adam, P)),
    ),
    *_named(
        "make_step",
        "tx",
        *(
            lambda v=v: gk.make_step(loss, v)
            for v in (gk.adam, "adam", 3, None, loss, SCHEDULE, STATE)
        ),
    ),
    *_named("make_step", "loss_fn|tx", lambda: gk.make_step(ADAM, loss)),
    *_named(
        "make_step",
        "has_aux",
        lambda: gk.make_step(loss, ADAM, "yes"),
        lambda: gk.make_step(loss, ADAM, 2),
    ),
    *_named(
        "make_step",
        "donate",
        lambda: gk.make_step(loss, ADAM, donate="no"),
        lambda: gk.make_step(loss, ADAM, donate=None),
    ),
    *_named("make_step", "extras|vlue", lambda: gk.make_step(loss, ADAM, extras=("vlue",))),
    *_named(
        "make_step",
        "extras",
        lambda: gk.make_step(loss, ADAM, extras=3),
        lambda: gk.make_step(loss, ADAM, extras=[3]),
    ),
    *_named("make_step", "static_argnames", lambda: gk.make_step(loss, ADAM, static_argnames=3)),
    *_named("make_step", "static_argnames", lambda: gk.make_step(loss, ADAM, static_argnames=[0])),
    *_named("make_step", "in_shardings", lambda: gk.make_step(loss, ADAM, in_shardings=3)),
    *_named(
        "make_step",
        "params|w",
        *(
            lambda v=v: _step(v)
            for v in (INTEGERS, {"w": Model()}, {"w": "x"}, {"w": P["w"], "f": jnp.ones(2, bool)})
        ),
    ),
    *_named(
        "make_step", "params", *(lambda v=v: _step(v) for v in ("x", {1: P["w"], "a": P["w"]}))
    ),
    *_named(
        "make_step",
        "loss",
        *(
            lambda v=v: _step(P, lambda p: v)
            for v in (jnp.ones(3), "x", None, (1.0, 2.0), {"loss": 1.0})
        ),
    ),
    *_named(
        "make_step",
        "loss",
        lambda: _step(P, lambda p: jnp.sum(p["w"]).astype(int)),
        lambda: _step(P, lambda p: loss(p).astype("complex64")),
    ),
    *_named("make_step", "loss|aux", lambda: _step(P, has_aux=True)),
    *_named(
        "make_step",
        "argument|loss",
        lambda: gk.make_step(lambda p, x: loss(p), ADAM, donate=False)(P, STATE),
    ),
    *_named("make_step", "state|order", lambda: gk.make_step(loss, ADAM, donate=False)(STATE, P)),
    *_named("adam", "state", lambda: gk.make_step(loss, ADAM, donate=False)(P, None)),
    *_named("adam", "state", lambda: gk.make_step(loss, ADAM, donate=False)(P, P)),
    *_named("adam", "learning_rte", lambda: gk.make_step(loss, ADAM).replace(learning_rte=1.0)),
    *_named(
        "adam", "learning_rate", lambda: gk.make_step(loss, ADAM).replace(learning_rate="fast")
    ),
    *_named(
        "apply_updates", "w", lambda: gk.apply_updates(P, WIDE), lambda: gk.apply_updates(WIDE, G)
    ),
    *_named(
        "apply_updates",
        "b",
        lambda: gk.apply_updates(P, OTHER),
        lambda: gk.apply_updates(P, {"w": G["w"]}),
    ),
    *_named(
        "apply_updates",
        "w",
        lambda: gk.apply_updates(P, {**G, "w": G["w"] * 1j}),
        lambda: gk.apply_updates({"w": "x"}, {"w": 1.0}),
    ),
    *_named(
        "apply_updates",
        "updates",
        *(
            lambda v=v: gk.apply_updates(P, v)
            for v in ("x", ADAM, gk.adam, {1: 1.0, "a": 2.0}, STATE)
        ),
    ),
    *_named(
        "apply_updates",
        "params",
        *(lambda v=v: gk.apply_updates(v, G) for v in ("x", ADAM, gk.adam, {1: 1.0, "a": 2.0})),
    ),
    *_named(
        "apply_updates",
        "rounding",
        *(lambda v=v: gk.apply_updates(P, G, rounding=v) for v in ("up", None, 3, True)),
    ),
    *_named(
        "apply_updates",
        "key",
        *(
            lambda v=v: gk.apply_updates(P, G, rounding="stochastic", key=v)
            for v in (None, "k", 1.5, jnp.ones(2), [1], True)
        ),
    ),
]

# ---- what reads transforms and states ------------------------------------------------------------

NO_TX = (3, "adam", None, gk.adam, SCHEDULE, STATE, BY, loss)
NO_STATE = (3, "state", None, (), P, ADAM, jnp.ones(3), [STATE])
BAD += [
    *_named("hyperparameters", "tx", *(lambda v=v: gk.hyperparameters(v, STATE) for v in NO_TX)),
    *_named(
        "hyperparameters", "state", *(lambda v=v: gk.hyperparameters(ADAM, v) for v in NO_STATE)
    ),
    *_named("hyperparameters", "tx|state", lambda: gk.hyperparameters(STATE, ADAM)),
    *_named(
        "logged_values",
        "state",
        *(lambda v=v: gk.logged_values(v) for v in (ADAM, gk.adam, 3, "x", None, SCHEDULE, loss)),
    ),
    *_named(
        "has_updated",
        "state",
        *(lambda v=v: gk.has_updated(v) for v in (ADAM, gk.adam, 3, "x", None, STATE, P, ())),
    ),
    *_named("eval_params", "tx", *(lambda v=v: gk.eval_params(v, STATE, P) for v in NO_TX)),
    *_named("eval_params", "evaluation weights", lambda: gk.eval_params(ADAM, STATE, P)),
    *_named(
        "eval_params",
        "state",
        *(lambda v=v: gk.eval_params(EMA, v, P) for v in (3, "state", None, (), P, ADAM, STATE)),
    ),
    *_named(
        "eval_params",
        "params|state|w|b",
        *(
            lambda v=v: gk.eval_params(EMA, EMA.init(P), v)
            for v in (3, "p", ADAM, OTHER, WIDE, None)
        ),
    ),
    *_named(
        "eval_params",
        "state|order|w",
        lambda: gk.eval_params(EMA, P, EMA.init(P)),
        lambda: gk.eval_params(EMA, EMA.init(WIDE), P),
    ),
    *_named("describe", "tx", *(lambda v=v: gk.describe(v, P) for v in NO_TX)),
    *_named(
        "describe",
        "params",
        *(lambda v=v: gk.describe(ADAM, v) for v in (None, "p", ADAM, gk.adam, {1: 1.0, "a": 1.0})),
    ),
    *_named("", "w", lambda: gk.describe(ADAM, {"w": "x"}), lambda: gk.describe(ADAM, INTEGERS)),
    *_named("walk", "tx", *(lambda v=v: list(gk.inspect.walk(v)) for v in NO_TX)),
    *_named(
        "walk",
        "state",
        *(lambda v=v: list(gk.inspect.walk(ADAM, v)) for v in (3, "s", (), P, ADAM, jnp.ones(3))),
    ),
    *_named("as_optax", "tx", *(lambda v=v: gk.as_optax(v) for v in NO_TX)),
    *_named(
        "with_extra_args_support",
        "tx|transforms",
        *(lambda v=v: gk.with_extra_args_support(v) for v in NO_TX),
    ),
    *_named(
        "inject_hyperparams",
        "inner_factory",
        *(lambda v=v: gk.inject_hyperparams(v) for v in (3, "adam", None, ADAM, P)),
    ),
    *_named(
        "inject_hyperparams",
        "static_args",
        *(
            lambda v=v: gk.inject_hyperparams(gk.adam, static_args=v)
            for v in ("lr", ["b9"], 3, [3])
        ),
    ),
    *_named(
        "inject_hyperparams",
        "hyperparam_dtype",
        *(
            lambda v=v: gk.inject_hyperparams(gk.adam, hyperparam_dtype=v)(0.1)
            for v in ("float33", 3, "int8")
        ),
    ),
    *_named(
        "inject_hyperparams",
        "lr|learning_rate",
        lambda: gk.inject_hyperparams(gk.adam)(lr=0.1),
        lambda: gk.inject_hyperparams(gk.adam)(),
    ),
    *_named(
        "inject_hyperparams",
        "learning_rate",
        lambda: gk.inject_hyperparams(gk.adam)("fast"),
        lambda: gk.inject_hyperparams(gk.adam)(-1.0),
    ),
    *_named(
        "inject_hyperparams",
        "rate|learning_rate",
        lambda: _injected({"rate": 0.1}),
        lambda: _injected({}),
    ),
    *_named(
        "inject_hyperparams",
        "learning_rate",
        lambda: _injected({"learning_rate": "x"}),
        lambda: _injected({"learning_rate": jnp.ones(3)}),
    ),
    *_named("from_optax_state", "tx", *(lambda v=v: gk.from_optax_state(v, (), P) for v in NO_TX)),
    *_named(
        "from_optax_state",
        "state",
        *(
            lambda v=v: gk.from_optax_state(ADAM, v, P)
            for v in (3, "s", None, P, ADAM, jnp.ones(3), STATE, [3], ())
        ),
    ),
    *_named(
        "from_optax_state",
        "params",
        *(lambda v=v: gk.from_optax_state(ADAM, (), v) for v in (None, "p", ADAM)),
    ),
    *_named(
        "from_optax_state",
        "step",
        *(lambda v=v: gk.from_optax_state(gk.sgd(0.1), (), P, step=v) for v in ("a", -1, 1.5, [1])),
    ),
    *_named(
        "schedule_free_eval_params",
        "state",
        *(lambda v=v: gk.schedule_free_eval_params(v, P) for v in (3, "s", None, STATE, P)),
    ),
]


def _injected(values: Any) -> Any:
    tx = gk.inject_hyperparams(gk.sgd)(learning_rate=0.1)
    state = tx.init(P)
    return tx.update(G, state._replace(hyperparams=values), P)


# ---- schedules, masks, stores --------------------------------------------------------------------

STEPS_THAT_ARE_NONE = (
    -1,
    -0.5,
    "3",
    None,
    True,
    1j,
    [1],
    float("nan"),
    float("inf"),
    ADAM,
    gk.adam,
    jax.random.key(0),
)
BAD += [
    *_named("linear_schedule", "step", *(lambda v=v: SCHEDULE(v) for v in STEPS_THAT_ARE_NONE)),
    *_named(
        "constant_schedule",
        "step",
        *(lambda v=v: gk.constant_schedule(1.0)(v) for v in STEPS_THAT_ARE_NONE),
    ),
    *_named(
        "schedule",
        "step",
        lambda: (SCHEDULE * 2)(-1),
        lambda: (-SCHEDULE)("x"),
        lambda: (2**SCHEDULE)(None),
    ),
    *_named(
        "",
        r"operand|\+",
        *(
            lambda v=v: SCHEDULE + v
            for v in ("x", None, True, 1j, [1], gk.adam, float("nan"), ADAM)
        ),
    ),
    *_named(
        "", r"operand|/", *(lambda v=v: SCHEDULE / v for v in ("x", None, 0, True, float("inf")))
    ),
    *_named(
        "", "operand", lambda: SCHEDULE ** "x", lambda: "x" * SCHEDULE, lambda: None - SCHEDULE
    ),
    *_named(
        "join_schedules",
        "schedules|boundaries",
        *(
            lambda a=a: gk.join_schedules(*a)
            for a in (
                ([], []),
                ([SCHEDULE], [3]),
                ("ab", [3]),
                ([SCHEDULE, 3], [-1]),
                ([SCHEDULE, gk.adam], [3]),
                ([SCHEDULE] * 3, [5, 3]),
                (3, 4),
                ([SCHEDULE, "x"], [1]),
            )
        ),
    ),
    *_named(
        "piecewise_constant_schedule",
        "boundaries_and_scales",
        *(
            lambda v=v: gk.piecewise_constant_schedule(1.0, v)
            for v in (3, "x", [1], {"a": 1.0}, {-1: 0.5}, {3: "x"}, {3: None}, {3: -1.0})
        ),
    ),
    *_named(
        "piecewise_interpolate_schedule",
        "interpolate_type|kind",
        lambda: gk.piecewise_interpolate_schedule("cubic", 1.0, {3: 0.5}),
    ),
    *_named(
        "sgdr_schedule",
        "cosine_kwargs|lr",
        *(
            lambda v=v: gk.sgdr_schedule(v)
            for v in ([], 3, "x", [{}], [3], [{"peak_value": 1.0}], [{"lr": 1.0}])
        ),
    ),
    *_named(
        "by_path",
        "pattern",
        *(lambda v=v: gk.by_path(*v) for v in ((), (3,), (None,), ("a", 3), (["a"],))),
    ),
    *_named(
        "by_path",
        "regular|regex",
        lambda: gk.by_path("(", regex=True),
        lambda: gk.by_path("a", regex="yes"),
    ),
    *_named(
        "by_rank",
        "at_least|at_most",
        *(lambda a=a: gk.by_rank(*a) for a in ((-1,), (2.5,), ("2",), (None,), (3, 2), (1, "x"))),
    ),
    *_named(
        "by_dtype", "dtype", *(lambda v=v: gk.masks.by_dtype(v) for v in ("float33", 3, None, []))
    ),
    *_named(
        "by_size",
        "at_least|at_most",
        *(lambda a=a: gk.masks.by_size(*a) for a in ((-1,), (2.5,), ("2",), (3, 2))),
    ),
    *_named(
        "by_function",
        "function",
        *(
            lambda v=v: gk.masks.by_function(v)
            for v in (3, "f", None, lambda: True, lambda a: True)
        ),
    ),
    *_named(
        "",
        "by_path|predicate",
        lambda: BY & True,
        lambda: BY | "x",
        lambda: BY & None,
        lambda: bool(BY),
        lambda: BY and BY,
        lambda: not BY,
    ),
    *_named(
        "",
        "path|predicate|by_path",
        lambda: BY("w"),
        lambda: gk.masks.by_function(lambda p, x: "yes")("w", 1.0),
    ),
    *_named(
        "store_in",
        "dtype",
        *(
            lambda v=v: gk.stores.store_in(v)
            for v in ("float33", 3, None, "int8", jnp.int32, [], object(), "bfloat")
        ),
    ),
    *_named(
        "factored",
        "min_dim|size|factor",
        lambda: gk.stores.factored("x"),
        lambda: gk.stores.factored(-1),
        lambda: gk.stores.factored(1.5),
    ),
    *_named(
        "blockwise_mean",
        "axis",
        *(lambda v=v: gk.stores.blockwise_mean(v) for v in ("x", 1.5, [None], (0, 0), {})),
    ),
]

# ---- trees ---------------------------------------------------------------------------------------

TREE = gk.tree
ODD = ({"w": "x", "b": 1.0}, {1: 1.0, "a": 2.0}, ADAM, gk.adam)
BAD += [
    *_named(
        "add",
        "tree_y|b",
        lambda: TREE.add(P, OTHER),
        lambda: TREE.add(P, None),
        lambda: TREE.add(P, 3),
        lambda: TREE.add(P, "x"),
    ),
    *_named(
        "add", "tree_y|w", lambda: TREE.add(P, WIDE), lambda: TREE.add({"w": 1.0, "b": 1.0}, ODD[0])
    ),
    *_named(
        "add", "other_trees|b", lambda: TREE.add(P, G, OTHER), lambda: TREE.add(P, G, {"w": 1.0})
    ),
    *_named(
        "sub",
        "tree_y|b|w",
        *(lambda v=v: TREE.sub(P, v) for v in (OTHER, WIDE, 3, "x", None, *ODD)),
    ),
    *_named(
        "mul", "tree_y|b|w", *(lambda v=v: TREE.mul(P, v) for v in (OTHER, WIDE, 3, None, *ODD))
    ),
    *_named(
        "div", "tree_y|b|w", *(lambda v=v: TREE.div(P, v) for v in (OTHER, WIDE, 3, None, *ODD))
    ),
    *_named(
        "vdot", "tree_y|b|w", *(lambda v=v: TREE.vdot(P, v) for v in (OTHER, WIDE, 3, None, *ODD))
    ),
    *_named(
        "scale",
        "scalar",
        *(lambda v=v: TREE.scale(v, P) for v in ("x", None, [2.0], jnp.ones(5), jax.random.key(0))),
    ),
    *_named("scale", "tree", *(lambda v=v: TREE.scale(2.0, v) for v in ("x", *ODD[:2]))),
    *_named(
        "add_scale",
        "tree_y|b|w",
        *(lambda v=v: TREE.add_scale(P, 2.0, v) for v in (OTHER, WIDE, 3, *ODD[:2])),
    ),
    *_named(
        "add_scale",
        "scalar",
        *(lambda v=v: TREE.add_scale(P, v, G) for v in ("x", None, [2.0], jnp.ones(5))),
    ),
    *_named(
        "where",
        "tree_y|b|w",
        *(lambda v=v: TREE.where(True, P, v) for v in (OTHER, WIDE, 3, *ODD[:2])),
    ),
    *_named(
        "clip", "min_value", *(lambda v=v: TREE.clip(P, v) for v in ("x", [1.0], jax.random.key(0)))
    ),
    *_named("clip", "max_value", *(lambda v=v: TREE.clip(P, 0.0, v) for v in ("x", [1.0]))),
    *_named(
        "norm",
        "ord",
        *(lambda v=v: TREE.norm(P, v) for v in (3, "fro", 0, -1, None.__class__, [2], 1.5, "2")),
    ),
    *_named("norm", "tree", *(lambda v=v: TREE.norm(v) for v in ("x", *ODD[:2]))),
    *_named("norm", "squared", *(lambda v=v: TREE.norm(P, squared=v) for v in ("yes", None, 3))),
    *_named("sum", "tree", *(lambda v=v: TREE.sum(v) for v in ("x", *ODD[:2]))),
    *_named("max", "tree", *(lambda v=v: TREE.max(v) for v in ("x", *ODD[:2]))),
    *_named("min", "tree", *(lambda v=v: TREE.min(v) for v in ("x", *ODD[:2]))),
    *_named("size", "tree", *(lambda v=v: TREE.size(v) for v in ({1: 1.0, "a": 2.0},))),
    *_named(
        "allclose",
        "b|w",
        *(lambda v=v: TREE.allclose(P, v) for v in (OTHER, WIDE, 3, None, *ODD[:2])),
    ),
    *_named(
        "allclose",
        "tol",
        lambda: TREE.allclose(P, P, rtol="x"),
        lambda: TREE.allclose(P, P, atol=None),
        lambda: TREE.allclose(P, P, rtol=float("nan")),
    ),
    *_named(
        "zeros_like", "dtype", *(lambda v=v: TREE.zeros_like(P, v) for v in ("float33", 3, []))
    ),
    *_named("ones_like", "dtype", *(lambda v=v: TREE.ones_like(P, v) for v in ("float33", 3, []))),
    *_named("ones_like", "tree", *(lambda v=v: TREE.ones_like(v) for v in ("x", *ODD[:2]))),
    *_named(
        "full_like",
        "fill_value",
        *(lambda v=v: TREE.full_like(P, v) for v in ("x", None, jnp.ones(7))),
    ),
    *_named("full_like", "dtype", *(lambda v=v: TREE.full_like(P, 1.0, v) for v in ("float33", 3))),
    *_named(
        "batch_shape",
        "shape",
        *(lambda v=v: TREE.batch_shape(P, v) for v in ("x", (-1,), (1.5,), 3.5, None)),
    ),
    *_named("cast", "dtype", *(lambda v=v: TREE.cast(P, v) for v in ("float33", 3, [], "bfloat"))),
    *_named("cast", "tree", *(lambda v=v: TREE.cast(v, "float32") for v in ("x", *ODD[:2]))),
    *_named("cast_like", "b", lambda: TREE.cast_like(P, OTHER), lambda: TREE.cast_like(P, 3)),
    *_named(
        "dtype", "mixed_dtype_handler", *(lambda v=v: TREE.dtype(P, v) for v in ("best", 3, True))
    ),
    *_named(
        "dtype",
        "tree",
        lambda: TREE.dtype("x"),
        lambda: TREE.dtype({"w": "x"}),
        lambda: TREE.dtype([jnp.ones(1), jnp.int32(1)]),
    ),
    *_named(
        "split_key_like",
        "key",
        *(lambda v=v: TREE.split_key_like(v, P) for v in ("x", None, 1.5, jnp.ones(2), True)),
    ),
    *_named(
        "random_like",
        "key",
        *(lambda v=v: TREE.random_like(v, P) for v in ("x", None, 1.5, jnp.ones(2), True)),
    ),
    *_named(
        "random_like",
        "sampler",
        *(lambda v=v: TREE.random_like(0, P, v) for v in (3, "normal", None, lambda key: key)),
    ),
    *_named(
        "random_like",
        "dtype",
        lambda: TREE.random_like(0, P, dtype="float33"),
        lambda: TREE.random_like(0, P, dtype=3),
    ),
    *_named(
        "update_moment",
        "moments|b|w",
        *(lambda v=v: TREE.update_moment(G, v, 0.9, 2) for v in (OTHER, WIDE, 3, *ODD[:2])),
    ),
    *_named(
        "update_moment",
        "decay|order",
        *(
            lambda a=a: TREE.update_moment(G, P, *a)
            for a in (("x", 2), (None, 2), (0.9, "x"), (0.9, None), ([0.9], 2))
        ),
    ),
    *_named(
        "update_moment_per_elem_norm",
        "decay|order",
        *(lambda a=a: TREE.update_moment_per_elem_norm(G, P, *a) for a in (("x", 2), (0.9, "x"))),
    ),
    *_named(
        "update_infinity_moment",
        "decay|eps",
        *(
            lambda a=a: TREE.update_infinity_moment(G, P, *a)
            for a in (("x", 0.0), (0.9, "x"), (None, 0.0))
        ),
    ),
    *_named(
        "bias_correction",
        "decay|count",
        *(
            lambda a=a: TREE.bias_correction(P, *a)
            for a in (("x", 2), (0.9, "x"), (None, 1), (0.9, None))
        ),
    ),
    *_named(
        "get",
        "trace|average",
        lambda: TREE.get(TWO.init(P), "trace"),
        lambda: TREE.get(gk.chain(ADAM, ADAM).init(P), "average"),
    ),
    *_named(
        "set",
        "nonsense|lerning_rate",
        lambda: TREE.set(STATE, nonsense=1.0),
        lambda: TREE.set(STATE, lerning_rate=1.0),
    ),
    *_named(
        "get",
        "filtering",
        *(lambda v=v: TREE.get(STATE, "step", None, v) for v in (3, "f", lambda: True)),
    ),
    *_named(
        "set",
        "filtering",
        *(lambda v=v: TREE.set(STATE, v, step=1) for v in (3, "f", lambda: True)),
    ),
    *_named(
        "map_params",
        "initable",
        *(lambda v=v: TREE.map_params(v, lambda x: x, STATE) for v in (3, "adam", None, gk.adam)),
    ),
    *_named(
        "map_params",
        r"\bf\b",
        *(lambda v=v: TREE.map_params(ADAM, v, STATE) for v in (3, "f", None)),
    ),
    *_named(
        "map_params",
        "state",
        *(lambda v=v: TREE.map_params(ADAM, lambda x: x, v) for v in (3, "s", None, P)),
    ),
    *_named(
        "map_params",
        "rest|b",
        lambda: TREE.map_params(ADAM, lambda x, y: x, STATE, OTHER),
        lambda: TREE.map_params(ADAM, lambda x, y: x, STATE, 3),
    ),
    *_named("global_norm", "updates", *(lambda v=v: gk.global_norm(v) for v in ("x", *ODD[:2]))),
    *_named(
        "incremental_update",
        "old_tensors|b|w",
        *(lambda v=v: gk.incremental_update(P, v, 0.5) for v in (OTHER, WIDE, 3, *ODD[:2])),
    ),
    *_named(
        "incremental_update",
        "step_size",
        *(lambda v=v: gk.incremental_update(P, G, v) for v in ("x", None, [0.5], jnp.ones(5))),
    ),
    *_named(
        "periodic_update",
        "old_tensors|b|w",
        *(lambda v=v: gk.periodic_update(P, v, 1, 2) for v in (OTHER, WIDE, 3, *ODD[:2])),
    ),
    *_named(
        "periodic_update",
        "steps|update_period",
        *(
            lambda a=a: gk.periodic_update(P, G, *a)
            for a in (("x", 2), (1, "x"), (None, 2), (1, None), (jnp.ones(2), 2))
        ),
    ),
    *_named(
        "safe_increment",
        "count",
        *(lambda v=v: gk.safe_increment(v) for v in ("x", None, ADAM, True)),
    ),
    *_named(
        "scale_gradient",
        "scale",
        *(
            lambda v=v: jax.grad(lambda x: gk.scale_gradient(x, v))(1.0)
            for v in ("x", None, [2.0], jnp.ones(3))
        ),
    ),
    *_named(
        "safe_norm",
        "min_norm|x",
        *(
            lambda a=a: gk.safe_norm(*a)
            for a in (("x", 0.0), (jnp.ones(2), "x"), (None, 0.0), (jnp.ones(2), None))
        ),
    ),
    *_named(
        "safe_norm",
        "axis|ord",
        lambda: gk.safe_norm(jnp.ones(2), 0.0, axis=5),
        lambda: gk.safe_norm(jnp.ones(2), 0.0, ord="x"),
    ),
]

# ---- parity --------------------------------------------------------------------------------------

SGD = gk.sgd(0.1)


def _compare(*given: Any, **options: Any) -> Any:
    return compare(
        *({0: SGD, 1: SGD, 2: P, 3: loss, 4: 2} | dict(enumerate(given))).values(), **options
    )


NAN = float("nan")
BAD += [
    *_named(
        "compare", r"\btx\b", *(lambda v=v: _compare(v) for v in (3, "sgd", None, gk.sgd, loss, P))
    ),
    *_named(
        "compare",
        "reference",
        *(lambda v=v: _compare(SGD, v) for v in (3, "sgd", None, gk.sgd, loss, P)),
    ),
    *_named(
        "compare",
        "params|w",
        *(lambda v=v: _compare(SGD, SGD, v) for v in (None, "x", INTEGERS, {"w": "x"}, SGD)),
    ),
    *_named(
        "compare",
        "gradients_or_loss|b|w",
        *(
            lambda v=v: _compare(SGD, SGD, P, v)
            for v in (
                3,
                "loss",
                None,
                [],
                [G],
                [OTHER, OTHER],
                lambda p: P,
                lambda: 1.0,
                lambda p: jnp.ones(3),
                [G, OTHER],
                [WIDE] * 2,
            )
        ),
    ),
    *_named(
        "compare",
        "steps",
        *(lambda v=v: _compare(SGD, SGD, P, loss, v) for v in (0, -1, 2.5, "2", None, True, NAN)),
    ),
    *_named(
        "compare",
        "rtol",
        *(lambda v=v: _compare(rtol=v) for v in (NAN, -1.0, "x", [1e-3], True, 1j)),
    ),
    *_named(
        "compare",
        "atol",
        *(lambda v=v: _compare(atol=v) for v in (NAN, -1.0, "x", [1e-3], None, True, 1j)),
    ),
    *_named(
        "compare",
        "slack",
        *(lambda v=v: _compare(slack=v) for v in (NAN, -1.0, "x", None, [1.0], 0.0)),
    ),
    *_named(
        "compare",
        "dtype",
        *(lambda v=v: _compare(dtype=v) for v in ("float33", "int8", 3, [], bool)),
    ),
    *_named(
        "compare",
        "extras",
        *(lambda v=v: _compare(extras=v) for v in (3, "x", [1], lambda step: 3, dict)),
    ),
    *_named("compare", "truth", *(lambda v=v: _compare(truth=v) for v in (3, "x", gk.sgd))),
    *_named(
        "compare",
        "names",
        *(lambda v=v: _compare(names=v) for v in (3, "ab", ("a",), (1, 2), ("a", "b", "c"))),
    ),
]

# What is not refused by gradkit: the call as docs/design/tests.md shows it, and what happens to it.
EXPLAINED = {
    "sam(batch_axis_name='nonsense words')": ("sam(..., batch_axis_name='...')", "accepted"),
    "snapshot(measure_name='nonsense words')": ("snapshot('...', measure)", "accepted"),
    "scale (scalar) #2": ("gk.tree.scale([2.0], tree)", "accepted"),
    "add_scale (scalar) #2": ("gk.tree.add_scale(tree, [2.0], other)", "accepted"),
    "clip (min_value) #1": ("gk.tree.clip(tree, [1.0])", "accepted"),
    "clip (max_value) #1": ("gk.tree.clip(tree, 0.0, [1.0])", "accepted"),
    "incremental_update (step_size) #2": ("gk.incremental_update(new, old, [0.5])", "accepted"),
    "from_optax_state (state) #6": ("from_optax_state(tx, tx.init(params), params)", "accepted"),
    "compare (gradients_or_loss|b|w) #6": ("compare(..., lambda params: params)", "accepted"),
    "compare (extras) #4": ("compare(..., extras=dict)", "raised elsewhere"),
}

# ---- habits --------------------------------------------------------------------------------------

FLOATS = (1, 2, 0.5, np.float32(0.5), np.float64(0.5), np.int64(1), np.array(0.5), jnp.float32(0.5))
FLOATS += (jnp.asarray(0.5), jnp.int32(1), jnp.bfloat16(0.5), np.float16(0.5))
RATES = (
    *FLOATS,
    SCHEDULE,
    lambda step: 0.1,
    lambda step: 0.1 / (step + 1),
    lambda step: jnp.where(step > 2, 0.1, 0.2),
)
RATES += (
    lambda step, scale=2.0: 0.1 * scale,
    gk.schedules.constant_schedule(1),
    np.float64(1),
    lambda step: np.float32(0.1),
)
DTYPES = (
    None,
    "bfloat16",
    "float32",
    jnp.bfloat16,
    jnp.float32,
    np.float32,
    np.dtype("float32"),
    jnp.dtype("bfloat16"),
    "float16",
)
MASKS = (
    None,
    True,
    {"w": True, "b": False},
    {"w": False, "b": False},
    lambda p: {"w": True, "b": False},
    gk.by_rank(2),
)
MASKS += (
    gk.by_rank(9),
    lambda p: jax.tree.map(lambda x: x.ndim > 1, p),
    {"w": np.bool_(True), "b": False},
    gk.by_path("w"),
    ~gk.by_path("b"),
    lambda p: False,
)


def _runs(tx: Any, params: Any = P, grads: Any = G, **extras: Any) -> Any:
    def step(params: Any, grads: Any) -> Any:
        return tx.apply(params, tx.init(params), grads, **extras)

    return jax.eval_shape(step, params, grads)


def _each(make: Callable[[Any], Any], values: Any) -> list[Callable[[], Any]]:
    return [lambda v=v: _runs(make(v)) for v in values]


HABITS: list[Callable[[], Any]] = [
    *_each(gk.sgd, RATES),
    *_each(gk.adam, RATES),
    *_each(lambda v: gk.adamw(0.1, weight_decay=v), RATES),
    *_each(
        lambda v: gk.sgd(0.1, momentum=v),
        (None, 0, 0.9, np.float32(0.9), jnp.float32(0.9), SCHEDULE, lambda step: 0.9),
    ),
    *_each(
        lambda v: gk.adam(0.1, b1=v), (0, 0.9, np.float32(0.9), jnp.float32(0.9), lambda step: 0.9)
    ),
    *_each(lambda v: gk.adam(0.1, eps=v), (0, 1e-8, np.float32(1e-8), jnp.float32(1e-8), 1)),
    *_each(gk.clip_by_global_norm, (*RATES, float("inf"))),
    *_each(gk.clip, FLOATS),
    *_each(lambda v: gk.adam(0.1, mu_dtype=v), DTYPES),
    *_each(lambda v: gk.sgd(0.1, 0.9, accumulator_dtype=v), DTYPES),
    *_each(lambda v: gk.adamw(0.1, mask=v), MASKS),
    *_each(lambda v: gk.masked(gk.trace(0.9), v), MASKS[1:]),
    *_each(gk.freeze, MASKS[1:]),
    *_each(
        lambda v: gk.MultiSteps(gk.sgd(0.1), v),
        (1, 2, 2.0, np.int32(2), np.float64(2), jnp.int32(2), lambda step: 2),
    ),
    *_each(
        lambda v: gk.sgd(0.1, 0.9, nesterov=v), (True, False, np.bool_(True), jnp.asarray(True))
    ),
    *_each(
        lambda v: gk.add_noise(0.1, 0.5, v),
        (
            0,
            np.int64(3),
            jax.random.key(0),
            jax.random.PRNGKey(0),
            jnp.int32(1),
            np.array([0, 1], np.uint32),
        ),
    ),
    *_each(
        lambda v: gk.sgd(gk.linear_schedule(*v)),
        (
            (1, 0, 10),
            (1.0, 0.0, 312.5),
            (1, 0, 0),
            (1, 0, np.int64(3)),
            (1, 0, jnp.int32(100)),
            (0, 1, 10, 3),
            (1, 0, 10.0, 2.0),
        ),
    ),
    *_each(
        lambda v: gk.sgd(gk.warmup_cosine_decay_schedule(*v)),
        ((0, 1, 0, 10), (0.0, 1.0, 0, 10, 0), (0, 1, 2.0, 10.0), (0, 1, 5, 10, 0.1, 2)),
    ),
    *_each(
        lambda v: gk.sgd(gk.join_schedules(*v)),
        (
            ([SCHEDULE, SCHEDULE], [3]),
            ((SCHEDULE, SCHEDULE), (3,)),
            ([SCHEDULE, lambda step: 0.1], [3]),
            ([SCHEDULE, SCHEDULE], jnp.array([3])),
            ([SCHEDULE, 0.1], np.array([3])),
            ([SCHEDULE] * 2, [0]),
        ),
    ),
    *_each(
        lambda v: gk.sgd(gk.piecewise_constant_schedule(1, v)),
        (None, {}, {3: 0.5}, {3.0: 1}, {np.int64(3): np.float32(0.5)}, {5: 0.1, 3: 0.5}),
    ),
    *_each(
        lambda v: gk.partition({"a": gk.sgd(0.1), "b": ADAM, "unused": gk.set_to_zero()}, v),
        ({"w": "a", "b": "b"}, lambda p: {"w": "a", "b": "b"}, {"w": "a", "b": "a"}, "a"),
    ),
    *_each(
        lambda v: gk.partition(v, {"w": 0, "b": 1}),
        ({0: gk.sgd(0.1), 1: ADAM}, {0: gk.sgd(1), 1: ADAM, 2: ADAM}),
    ),
    *_each(lambda v: gk.chain(*v), ((), (ADAM,), [ADAM, gk.identity()], [gk.clip(1), ADAM])),
    *_each(lambda v: gk.named_chain(*v), ((), [("a", ADAM)], [("a", ADAM), ("b", gk.trace(0.9))])),
    *(
        lambda p=p: _runs(ADAM, p, p)
        for p in (
            {},
            [],
            (),
            {"w": None},
            {"w": P["w"], "n": None},
            [P["w"]],
            (P["w"],),
            P["w"],
            jnp.float32(1),
            {0: P["w"], 1: P["b"]},
            {"a": {"b": [P["w"], None]}},
        )
    ),
    *(
        lambda d=d: _runs(ADAM, *(jax.tree.map(lambda x: x.astype(d), t) for t in (P, G)))
        for d in ("bfloat16", "float16", "float32", "complex64")
    ),
    lambda: _runs(ADAM, P, jax.tree.map(lambda x: x.astype("bfloat16"), G)),
    lambda: _runs(ADAM, P, jax.tree.map(np.asarray, G)),
    lambda: _runs(ADAM, jax.tree.map(np.asarray, P), G),
    lambda: ADAM.update(G, {"step": STATE.step, "inner": STATE.inner}, P),
    lambda: gk.sgd(0.1).update(G, None, P),
    lambda: gk.sgd(0.1).update(G, gk.EmptyState(), P),
    lambda: gk.sgd(0.1).update(G, (), P),
    lambda: ADAM.update(G, STATE),
    lambda: ADAM.update({**G, "b": None}, ADAM.init({**P, "b": None}), P),
    lambda: ADAM.update(G, STATE, P, value=1.0, grad=G, value_fn=loss, key=0),
    lambda: ADAM.apply(P, ADAM.init({**P, "b": None}), {**G, "b": None}),
    lambda: ADAM.apply({**P, "n": jnp.int32(1)}, ADAM.init({**P, "n": None}), {**G, "n": None}),
    *(
        lambda v=v: _runs(PLATEAU, value=v)
        for v in (
            1,
            1.0,
            np.float32(1),
            jnp.float32(1),
            np.array(1.0),
            jnp.bfloat16(1),
            jnp.int32(1),
        )
    ),
    *(
        lambda v=v: SCHEDULE(v)
        for v in (
            0,
            3,
            2.5,
            np.int64(3),
            jnp.int32(3),
            jnp.arange(3),
            np.arange(3),
            jnp.float32(3),
            1000,
            np.float64(2),
            jnp.ones((2, 2)),
        )
    ),
    *(
        lambda v=v: SCHEDULE + v
        for v in (1, 0.5, np.float32(1), jnp.float32(1), SCHEDULE, lambda step: 0.1, jnp.int32(1))
    ),
    *(lambda v=v: 2 * (SCHEDULE * v) - 1 for v in (1, 0.5, np.float64(1), np.array(1.0))),
    lambda: ADAM.replace(learning_rate=1),
    lambda: ADAM.replace({"b1": 0}),
    lambda: ADAM.replace(),
    lambda: ADAM.replace(learning_rate=lambda step: 0.1),
    lambda: ADAM[0](P),
    lambda: gk.make_step(loss, ADAM, has_aux=np.bool_(False)),
    lambda: gk.make_step(lambda p, key: loss(p), ADAM, static_argnames="train"),
    lambda: gk.make_step(lambda p: loss(p), gk.adam(lambda step: 0.1)),
    lambda: jax.eval_shape(
        jax.vmap(lambda tx: tx.update(G, STATE, P), in_axes=(THREE_RATES.vmap_axes(),)), THREE_RATES
    ),
    lambda: THREE_RATES.init(P),
    *(lambda v=v: TREE.norm(P, v) for v in (None, 2, 2.0, 1, np.inf, "inf")),
    *(
        lambda v=v: TREE.scale(v, P)
        for v in (2, 0.5, np.float32(2), jnp.float32(2), 1j, jnp.int32(2), True)
    ),
    *(lambda v=v: TREE.cast(P, v) for v in DTYPES),
    *(lambda v=v: TREE.random_like(v, P) for v in (0, jax.random.key(0), jax.random.PRNGKey(0))),
    lambda: TREE.add({"w": 1}, {"w": 2}),
    lambda: TREE.add({"w": 1.0}, {"w": jnp.ones(3)}),
    lambda: TREE.clip(P, None, 1),
    lambda: TREE.clip(P, 0),
    lambda: TREE.batch_shape(P, (2,)),
    lambda: TREE.get(STATE, "nothing"),
    lambda: TREE.where(jnp.asarray(True), P, G),
    lambda: TREE.norm({}),
    lambda: TREE.norm(None),
    lambda: gk.apply_updates(P, G),
    lambda: gk.apply_updates(P, {**G, "b": None}),
    lambda: gk.apply_updates(jax.tree.map(np.asarray, P), jax.tree.map(np.asarray, G)),
    lambda: gk.apply_updates({}, {}),
    lambda: gk.apply_updates(P, G, rounding="stochastic", key=0),
    *(
        lambda v=v: gk.safe_increment(v)
        for v in (1, 1.0, jnp.int32(1), np.int64(1), jnp.float32(1), jnp.uint8(1))
    ),
    lambda: gk.logged_values(STATE),
    lambda: gk.logged_values((STATE, STATE)),
    lambda: gk.logged_values({"a": STATE}),
    lambda: gk.hyperparameters(ADAM, {"step": STATE.step, "inner": STATE.inner}),
    lambda: gk.describe(ADAM, {}),
    lambda: gk.describe(ADAM, jax.eval_shape(lambda: P)),
    lambda: gk.has_updated(STEPS.init(P)),
    lambda: gk.inject_hyperparams(gk.adam, static_args="b1")(0.1),
    lambda: gk.inject_hyperparams(gk.adam, static_args=["b1"])(1),
    lambda: gk.inject_hyperparams(gk.adam)(lambda step: 0.1),
    lambda: gk.from_optax_state(gk.sgd(0.1), (), P, step=np.int64(3)),
    lambda: gk.by_path("w", "b"),
    lambda: gk.masks.by_dtype(jnp.float32),
    lambda: gk.masks.by_dtype(jnp.floating),
    lambda: gk.masks.by_size(2.0),
    lambda: gk.stores.store_in(jnp.bfloat16),
]
