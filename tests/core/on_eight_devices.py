"""A program for eight virtual devices. Prints a line of JSON per fact."""

import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import gradkit as gk
from gradkit.inspect import _rates

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
P = PartitionSpec
SPECS = {"w": P("data", "model"), "b": P("data"), "s": P("model"), "n": P()}
SHAPES = {"w": (16, 8), "b": (16,), "s": (8,), "n": ()}

rng = np.random.default_rng(0)
PARAMS = {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}
GRADS = [
    {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}
    for _ in range(3)
]

MAKERS = {
    "sam": lambda: gk.sam(gk.sgd(0.1), gk.sgd(0.05)),
    "sam_reset": lambda: gk.sam(gk.sgd(0.1), gk.sgd(0.05, 0.9), reset_state=True),
    "novograd": lambda: gk.novograd(0.1, weight_decay=0.01),
    "adam_mini": lambda: gk.adam_mini(0.1),
    "adam_mini_by_row": lambda: gk.chain(
        gk.masked(gk.scale_by_adam_mini(axis=1), gk.by_rank(2)), gk.scale(-0.1)
    ),
    "compensated": lambda: gk.chain(gk.adam(0.1), gk.compensated()),
    "adamw": lambda: gk.chain(gk.clip_by_global_norm(1.0), gk.adamw(0.1, mask=gk.by_rank(2))),
    "adafactor": lambda: gk.adafactor(0.1, min_dim_size_to_factor=4),
    "muon": lambda: gk.muon(0.1, method="gram"),
    "sm3": lambda: gk.sm3(0.1),
    "lamb": lambda: gk.lamb(0.1),
    "guard": lambda: gk.guard(gk.adam(0.1), norm_sigma=4.0),
    "MultiSteps": lambda: gk.MultiSteps(gk.adam(0.1), 2),
    "lookahead": lambda: gk.chain(gk.lookahead(gk.sgd(0.1, 0.9), 2, 0.5)),
    "schedule_free": lambda: gk.schedule_free_adamw(0.1),
    "weight_ema": lambda: gk.chain(gk.sgd(0.1), gk.weight_ema(0.9)),
    "stacked": lambda: gk.chain(
        gk.clip_by_global_norm(1.0), gk.stacked(gk.lamb(0.1), transpose=True)
    ),
    "shampoo": lambda: gk.shampoo(0.1, matrix_epsilon=0.1, block_size=8, precondition_frequency=2),
    "soap": lambda: gk.soap(0.1, eps=1e-3, precondition_frequency=2),
    "partition": lambda: gk.where(gk.by_rank(2), gk.adamw(0.1), gk.sgd(0.1, momentum=0.9)),
}

# Whose update runs outside of jit too, where each operation chooses a sharding.
EAGER = {"sam", "novograd", "adamw", "adafactor", "muon", "stacked"}


def say(name, **facts):
    print(json.dumps({"name": name, **facts}))


def distance(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.max(np.abs(np.asarray(p, np.float64) - np.asarray(q, np.float64)), initial=0.0))
        for p, q in pairs
    )


def spec_of(x):
    shown = x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)
    return tuple(axis for axis in shown.sharding.spec if axis is not None)


def kept(state):
    """Whether each array of the state with the shape of a parameter has its sharding."""
    by_shape = {SHAPES[name]: tuple(spec) for name, spec in SPECS.items()}
    return all(
        spec_of(leaf) == by_shape[leaf.shape]
        for leaf in jax.tree.leaves(state)
        if leaf.shape in by_shape and leaf.shape
    )


def train(tx, params, grads):
    """Parameters and state after three jitted steps, the number of traces, and the first state."""
    traces = []

    def step(params, state, grads):
        traces.append(1)
        return tx.apply(params, state, grads)

    run = jax.jit(step)
    first = state = tx.init(params)
    for grad in grads:
        params, state = run(params, state, grad)
    return params, state, len(traces), first


def explicit(names):
    """Optimizers where shardings are part of the types."""
    kinds = (jax.sharding.AxisType.Explicit,) * 2
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=kinds)

    def put(tree, dtype):
        return {
            name: jax.device_put(jnp.asarray(x, dtype), NamedSharding(mesh, SPECS[name]))
            for name, x in tree.items()
        }

    for name in names:
        tx = MAKERS[name]()
        dtype = jnp.bfloat16 if name == "compensated" else jnp.float32
        plain = lambda tree, dtype=dtype: {k: jnp.asarray(x, dtype) for k, x in tree.items()}
        expected, _, _, _ = train(tx, plain(PARAMS), [plain(grad) for grad in GRADS])
        try:
            with jax.set_mesh(mesh):
                params, grads = put(PARAMS, dtype), [put(grad, dtype) for grad in GRADS]
                found, state, traces, first = train(tx, params, grads)
                run = tx.update if name in EAGER else partial(jax.eval_shape, tx.update)
                updates, _ = run(grads[0], first, params)
                facts = {
                    "distance": distance(found, expected),
                    "traces": traces,
                    "typed": bool(kept(first) and kept(state) and kept(found) and kept(updates)),
                    "traced_init": bool(kept(jax.eval_shape(tx.init, params))),
                }
        except Exception as error:  # one fact must not hide the others
            facts = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        say(f"explicit {name}", **facts)


def loss_fn(params, x):
    return jnp.mean((x @ params["w"] + params["s"][None]) ** 2) + jnp.sum(params["b"] ** 2)


def steps(tx, start=None, **options):
    """Parameters, state and loss after three steps of ``make_step``, and the number of traces."""
    traces = []

    def loss(params, x):
        traces.append(1)
        return loss_fn(params, x)

    step = gk.make_step(loss, tx, **options)
    x = np.asarray(np.random.default_rng(1).normal(size=(32, 16)), np.float32)
    params = {name: jnp.asarray(x) for name, x in PARAMS.items()}
    state = step.tx.init(params)
    if start is not None:
        params, state = jax.device_put((params, state), start)
    for _ in range(3):
        params, state, value = jax.block_until_ready(step(params, state, x))
    return params, state, value, len(traces)


def shardings():
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    params = {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    tx = gk.chain(gk.clip_by_global_norm(1.0), gk.adam(0.1))
    start = tx.init({name: jnp.asarray(x) for name, x in PARAMS.items()})
    by_shape = {SHAPES[name]: params[name] for name in SPECS}
    state = jax.tree.map(lambda leaf: by_shape.get(leaf.shape, whole), start)
    alone = steps(tx)
    options = {"in_shardings": (params, state, rows), "out_shardings": (params, state, whole)}
    both = steps(tx, (params, state), **options)
    placed = all(
        leaf.sharding.is_equivalent_to(where, leaf.ndim)
        for leaf, where in zip(
            jax.tree.leaves(both[:2]), jax.tree.leaves((params, state)), strict=True
        )
    )
    say(
        "shardings",
        distance=distance(alone[:3], both[:3]),
        traces=both[3],
        placed=bool(placed),
        devices=len(both[0]["w"].sharding.device_set),
    )
    kept_whole = steps(tx, in_shardings=(whole, whole, rows), out_shardings=whole)
    say(
        "prefix",
        distance=distance(alone[:3], kept_whole[:3]),
        placed=all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(kept_whole[:2])),
    )


def stopping():
    """The best weights of a run of ``fit`` whose parameters are sharded."""
    x = np.asarray(np.random.default_rng(1).normal(size=(32, 16)), np.float32)

    def run(params):
        step = gk.make_step(loss_fn, gk.sgd(1.0))
        judge = lambda params: -jnp.sum(params["w"] ** 2)  # which falls
        rule = gk.early_stopping(2)
        return gk.fit(step, params, lambda t: x, judge, steps=9, stop=rule)

    alone = run({name: jnp.asarray(x) for name, x in PARAMS.items()})
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    where = {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}
    found = run(jax.device_put(PARAMS, where))
    say(
        "stopping",
        distance=distance(found.best_params, alone.best_params),
        steps=[int(each.steps) for each in (found, alone)],
        best=[int(each.best_step) for each in (found, alone)],
        placed=found.best_params["w"].sharding.is_equivalent_to(where["w"], 2),
    )


def spread():
    """Muon on one device, and on eight of which each has some of the rows of the stacks."""
    shapes = {f"w{i}": (32, 16) if i % 2 else (16, 32) for i in range(15)}
    rng = np.random.default_rng(2)
    params = {name: jnp.asarray(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}

    def run(tx, mesh=None):
        state = tx.init(params)
        step = jax.jit(tx.apply).lower(params, state, params).compile()
        new, state = step(params, state, params)
        new, state = step(new, state, params)
        return new, state, step.cost_analysis()["flops"]

    alone, _, flops = run(gk.muon(0.1))
    options = {"transpose": True, "axis": "data"}
    for kind in ("Auto", "Explicit"):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(getattr(jax.sharding.AxisType, kind),))
        with jax.set_mesh(mesh):
            new, state, each = run(gk.stacked(gk.muon(0.1), **options))
        held = jax.tree.leaves(state.inner["stacked"]["muon"]["scale_by_muon"])
        say(
            f"spread {kind}",
            distance=distance(new, alone),
            share=each / flops,
            rows=sorted(x.shape[0] for x in held),
            local=[x.addressable_shards[0].data.shape[0] for x in held],
        )
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    new, _, _ = run(gk.stacked(gk.muon(0.1), mesh=mesh, **options))
    say("spread mesh", distance=distance(new, alone))


def data():
    """Batches taken and augmented where shardings are part of the types, and on one device."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(24, 5, 4, 1)), jnp.float32)
    arrays = x, jnp.eye(24)
    batches = gk.data.epochs(24, 16, 0)
    functions = [
        gk.data.random_flip,
        partial(gk.data.random_shift, max_shift=1),
        partial(gk.data.random_rotation, max_degrees=20.0),
        partial(gk.data.gaussian_noise, stddev=0.1),
        partial(gk.data.cutout, size=2),
        gk.data.per_image(lambda key, image: image * jax.random.normal(key)),
    ]

    @jax.jit
    def augmented(batches, arrays):
        x, y = batches.take(arrays, 1)
        x = gk.data.augment(1, x, functions)
        return gk.data.cutmix(2, *gk.data.mixup(3, x, y))

    alone = augmented(batches, arrays)
    with jax.set_mesh(mesh):
        spread = jax.device_put(arrays, NamedSharding(mesh, P("data")))
        found = augmented(batches, spread)
    typed = all(spec_of(leaf) == ("data",) for leaf in found)
    say("data", distance=distance(alone, found), typed=typed)


def plans():
    """What a plan says that each device holds, against what it holds."""
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    params = {
        name: jax.ShapeDtypeStruct(
            SHAPES[name], jnp.float32, sharding=NamedSharding(mesh, SPECS[name])
        )
        for name in SHAPES
    }
    tx = gk.adamw(0.1)
    loss = lambda params: sum(jnp.sum(jnp.sin(leaf)) for leaf in params.values())
    plan = gk.plan(tx, params, loss)
    real = {name: jax.device_put(PARAMS[name], params[name].sharding) for name in SHAPES}
    held = dict.fromkeys(map(str, jax.devices()), 0)
    for leaf in jax.tree.leaves(real):
        for shard in leaf.addressable_shards:
            held[str(shard.device)] += shard.data.nbytes
    replicated = gk.plan(tx, params, loss, state_sharding=NamedSharding(mesh, P()))
    for name, small in {"WIDTH": 64, "SIDE": 64, "FEWEST": 4, "_LONG": 1e-3}.items():
        setattr(_rates, name, small)
    run = gk.plan(tx, params, loss, measure=True)
    say(
        "plan",
        params=[device.param_bytes == held[device.device] for device in plan.devices],
        state=sorted({device.state_bytes for device in plan.devices}),
        expected=2 * held[str(jax.devices()[0])] + 12,  # a clock, and the weights of two averages
        replicated=[device.state_bytes for device in replicated.devices] == [run.state_bytes] * 8,
        lost={leaf.path.split(".")[-1]: leaf.reason for leaf in replicated.not_donated},
        in_place=not plan.not_donated,
        measured=run.measured_seconds,
    )


# With the state spread over an axis (ZeRO-1), and inside shard_map: all in one program.
SPREAD = {"Auto": ("adamw", "adafactor", "MultiSteps", "stacked"), "Explicit": ("adamw",)}
SHARDS = {
    "clip_by_block_rms": lambda: gk.clip_by_block_rms(0.1),
    "clip_by_block_norm": lambda: gk.clip_by_block_norm(1.0),
    "clip_by_zscore": lambda: gk.clip_by_zscore(1.0),
    "lamb": lambda: gk.lamb(0.1),
    "param_norms": lambda: gk.chain(
        gk.scale_by_param_block_rms(), gk.scale_by_param_block_norm(), gk.scale(0.01)
    ),
    "novograd": lambda: gk.novograd(0.1),
    "dog": lambda: gk.dog(),
    "l_dog": lambda: gk.chain(gk.scale_by_distance_over_gradients(), gk.scale(-1.0)),
    "dowg": lambda: gk.dowg(),
    "prodigy": lambda: gk.prodigy(),
    "dadapt_adamw": lambda: gk.dadapt_adamw(),
    "mechanize": lambda: gk.mechanize(gk.adam(0.1)),
    "momo": lambda: gk.momo(0.1),
    "cautious": lambda: gk.cautious(gk.trace(0.9)),
    "guard": lambda: gk.guard(gk.zero_nans(), norm_sigma=4.0, max_norm=1e3),
    "watch": lambda: gk.watch(gk.scale(-1e-7), "grad_norm", "update_ratio", "underflow"),
    "MultiSteps": lambda: gk.MultiSteps(gk.chain(gk.normalize(), gk.sgd(0.1)), 2),
    "where": lambda: gk.where(
        gk.by_rank(2),
        gk.clip_by_global_norm(1.0, report=True),
        gk.chain(gk.clip_by_global_norm(0.5), gk.sgd(0.1)),
    ),
}


def together(apply, initial, **options):
    """Parameters and states after three steps of several optimizers in one program, and traces."""
    traces = []

    def step(all_params, states, grads):
        traces.append(1)
        return apply(all_params, states, grads)

    run, (params, states) = jax.jit(step, **options), initial
    for grad in GRADS:
        params, states = run(params, states, {name: jnp.asarray(x) for name, x in grad.items()})
        jax.block_until_ready(params)  # the devices share threads: one program at a time
    return params, states, len(traces)


def of_all(txs):
    """One update of each optimizer, each with parameters of its own."""

    def apply(all_params, states, grads):
        found = {
            name: tx.apply(all_params[name], states[name], grads, value=jnp.float32(1.0))
            for name, tx in txs.items()
        }
        return tuple({name: pair[i] for name, pair in found.items()} for i in range(2))

    return apply


def relative(a, b):
    """The largest distance of two arrays, each in units of the larger one's largest element."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        distance(x, y) / max(1.0, float(np.max(np.abs(np.asarray(y, np.float64)), initial=0.0)))
        for x, y in pairs
    )


def zero():
    """States spread over the data axis, where the compiler shards and where types say it."""
    plain = {name: jnp.asarray(x) for name, x in PARAMS.items()}
    txs = {name: MAKERS[name]() for name in SPREAD["Auto"]}
    states = {name: tx.init(plain) for name, tx in txs.items()}
    alone = together(of_all(txs), (dict.fromkeys(txs, plain), states))
    for kind, names in SPREAD.items():
        txs = {name: MAKERS[name]() for name in names}
        init = lambda params, txs=txs: {name: tx.init(params) for name, tx in txs.items()}
        same = lambda params, txs=txs: dict.fromkeys(txs, params)
        kinds = (getattr(jax.sharding.AxisType, kind),) * 2
        mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=kinds)
        specs = {"w": P(None, "model"), "b": P(), "s": P("model"), "n": P()}
        where = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
        params = jax.device_put(plain, where)
        follows = {name: gk.state_sharding(tx, params, mesh) for name, tx in txs.items()}
        spread = {
            name: gk.state_sharding(tx, params, mesh, axis="data", min_size=0)
            for name, tx in txs.items()
        }
        out = (same(where), spread)
        apply = of_all(txs)
        if kind == "Explicit":
            apply = jax.sharding.auto_axes(apply, out_sharding=out)
        with jax.set_mesh(mesh):
            states = jax.jit(init, out_shardings=spread)(params)
            options = {"out_shardings": out} if kind == "Auto" else {}
            found = together(apply, (same(params), states), **options)
        adam = [each["adamw"].inner["scale_by_adam"]["moment"]["average"] for each in out[1:]]
        say(
            f"zero {kind}",
            distances={name: relative(found[0][name], alone[0][name]) for name in names},
            placed=all(
                leaf.sharding.is_equivalent_to(to, leaf.ndim)
                for leaf, to in zip(jax.tree.leaves(found[:2]), jax.tree.leaves(out), strict=True)
            ),
            specs=[str(adam[0][name].spec) for name in sorted(SHAPES)],
            followed=[
                follows["adamw"].inner["scale_by_adam"]["moment"]["average"][name].spec
                == specs[name]
                for name in SHAPES
            ],
            share={
                name: sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))
                / sum(x.nbytes for x in jax.tree.leaves(state))
                for name, state in found[1].items()
            },
            traces=found[2],
        )


def steps_of_make_step():
    """What `placement` reads from a step with its state spread, and what the step computes."""
    tx = MAKERS["adamw"]()
    alone = steps(tx)
    for kind in ("Auto", "Explicit"):
        kinds = (getattr(jax.sharding.AxisType, kind),)
        mesh = jax.make_mesh((8,), ("data",), axis_types=kinds)
        whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
        shapes = jax.eval_shape(lambda: PARAMS)
        spread = gk.state_sharding(tx, shapes, mesh, axis="data", min_size=0)
        options = {"in_shardings": (whole, spread, rows), "out_shardings": (whole, spread, whole)}
        with jax.set_mesh(mesh):
            found = steps(tx, (dict.fromkeys(SHAPES, whole), spread), **options)
            step = gk.make_step(loss_fn, tx, **options)
            x = jax.ShapeDtypeStruct((32, 16), jnp.float32)
            placed = gk.inspect.placement(step, shapes, jax.eval_shape(tx.init, shapes), x)
        wrong = None
        try:
            placed.assert_placed(param_bytes=600, state_bytes=200, collectives={"all-to-all": 1})
        except AssertionError as error:
            wrong = str(error)
        say(
            f"step {kind}",
            distance=distance(alone[0], found[0]),
            traces=found[3],
            devices=placed.devices,
            param_bytes=placed.param_bytes,
            state_bytes=placed.state_bytes,
            collectives=placed.collectives,
            moved=placed.moved,
            wrong=wrong,
        )
    w = {"w": jax.ShapeDtypeStruct((16, 8), jnp.float32)}
    loss = lambda params: jnp.sum(jax.lax.with_sharding_constraint(params["w"], whole) ** 2)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    options = {"in_shardings": (rows, None), "out_shardings": whole, "donate": False}
    step = gk.make_step(loss, gk.sgd(0.1), **options)
    say("step moves", moved=gk.inspect.placement(step, w, jax.eval_shape(step.init, w)).moved)


def shards():
    """Transforms that reduce over leaves and trees, on the shards of a shard_map."""
    plain = {name: jnp.asarray(x) for name, x in PARAMS.items()}
    txs = {name: make() for name, make in SHARDS.items()}
    mapped = {name: gk.sharded(tx, ("data", "model")) for name, tx in txs.items()}
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    params = jax.device_put(
        plain, {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}
    )
    same = lambda params: dict.fromkeys(txs, params)
    init = lambda txs, params: {name: tx.init(params) for name, tx in txs.items()}
    alone = together(of_all(txs), (same(plain), init(txs, plain)))
    specs = {
        name: jax.tree.map(lambda x: x.spec, gk.state_sharding(tx, params, mesh))
        for name, tx in mapped.items()
    }

    def over_shards(txs):
        in_specs = (same(SPECS), specs, SPECS)
        return jax.shard_map(of_all(txs), mesh=mesh, in_specs=in_specs, out_specs=in_specs[:2])

    found = together(over_shards(mapped), (same(params), init(mapped, params)))
    outside = {name: mapped[name] for name in ("lamb",)}
    whole = together(of_all(outside), ({"lamb": plain}, init(outside, plain)))
    say(
        "shards",
        distances={
            name: relative([x[name] for x in found[:2]], [x[name] for x in alone[:2]])
            for name in SHARDS
        },
        outside=distance(whole[0]["lamb"], alone[0]["lamb"]),
        moved=min(distance(alone[0][name], plain) for name in SHARDS),
    )
    local, spec, w = gk.clip_by_global_norm(1.0), P("data", "model"), GRADS[0]["w"]
    norms = [
        float(
            gk.tree.norm(
                jax.shard_map(
                    lambda g, tx=tx: tx.update(g, tx.init(g))[0],
                    mesh=mesh,
                    in_specs=spec,
                    out_specs=spec,
                )(w)
            )
        )
        for tx in (gk.sharded(local, ("data", "model")), local)
    ]
    say("shards clipped", norms=norms)
    messages = []
    for axis, options in (("expert", {}), ("data", {"check_vma": False})):
        tx = gk.sharded(local, axis)
        update = lambda g, tx=tx: tx.update(g, gk.State(0, {}))[0]
        try:
            jax.shard_map(update, mesh=mesh, in_specs=spec, out_specs=spec, **options)(w)
        except ValueError as error:
            messages.append(str(error))
    say("shards refused", messages=messages)


def restored():
    """A state of one device taken to eight, and back."""
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    where = {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}
    alone = {name: jnp.asarray(x) for name, x in PARAMS.items()}
    spread, tx = jax.device_put(alone, where), gk.chain(gk.clip(1.0), gk.adam(0.1))
    _, saved = tx.update(alone, tx.init(alone), alone)
    there, report = gk.restore_into(tx, spread, saved)
    back, other = gk.restore_into(tx, alone, there)
    say(
        "restored",
        notes=sorted({row.note for row in report.rows + other.rows}),
        same=all(
            np.array_equal(a, b)
            for found in (there, back)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(saved), strict=True)
        ),
        placed=there.inner["scale_by_adam"]["moment"]["average"]["w"].sharding == where["w"],
        devices=max(len(x.sharding.device_set) for x in jax.tree.leaves(back)),
    )


if __name__ == "__main__":
    say("devices", count=len(jax.devices()))
    explicit(sys.argv[1:] or MAKERS)
    if not sys.argv[1:]:
        shardings()
        stopping()
        spread()
        data()
        plans()
        zero()
        steps_of_make_step()
        shards()
        restored()
