"""Transforms with transforms inside: groups, own clocks, guards, averaged weights, observation."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradkit as gk
from tests.records.case import (
    ABOVE_0,
    AT_LEAST_0,
    DECAY,
    DTYPE,
    FRACTION,
    Bad,
    Case,
    label,
    loss_of,
    named,
)

MESH = jax.sharding.Mesh(jax.devices()[:1], ("data",))


def later(step: Any, **extras: Any) -> Any:
    """A condition on the step."""
    return step >= 1


def total_size(updates: Any) -> Any:
    """A measure of a tree."""
    return sum((jnp.sum(jnp.abs(u)) for u in jax.tree.leaves(updates)), start=jnp.zeros(()))


def growth(grads: Any, updates: Any, params: Any) -> Any:
    """A measure of what went in and what came out."""
    return total_size(updates) - total_size(grads)


def no_transform(name: str, argument: str, *rest: Any) -> Bad:
    """A number where a transform should stand."""
    return lambda: named(name)(0.5, *rest), f"{argument}=0.5 is not a transform"


WRAPPERS = [
    Case(
        "masked",
        lambda: gk.masked(gk.ema(0.8), gk.by_rank(1)),
        bad=((lambda: gk.masked(0.5, True), "inner=0.5 is not a transform"),),
    ),
    Case(
        "partition",
        lambda: gk.partition(
            {"fast": gk.trace(0.8), "slow": gk.scale(0.1)},
            {"fast": gk.by_rank(1), "slow": ~gk.by_rank(1)},
        ),
        bad=(
            (
                lambda: gk.partition({"fast": 0.5}, {"fast": gk.by_rank(0)}),
                "=0.5 is not a transform",
            ),
        ),
    ),
    Case(
        "multi_transform",
        lambda: gk.multi_transform(
            {"vector": gk.trace(0.8), "other": gk.scale(0.1)}, gk.masks.by_function(label)
        ),
        bad=(
            (
                lambda: gk.multi_transform({"fast": 0.5}, {"fast": gk.by_rank(0)}),
                "=0.5 is not a transform",
            ),
        ),
        reads_back=False,
    ),
    Case(
        "where",
        lambda: gk.where(gk.by_rank(2), gk.ema(0.8), gk.scale(0.1)),
        bad=((lambda: gk.where(gk.by_rank(2), 0.5, gk.identity()), "=0.5 is not a transform"),),
    ),
    Case(
        "freeze",
        lambda: gk.freeze(gk.by_path("vector")),
        bad=((lambda: gk.freeze(), "missing a required argument: 'mask'"),),
        passes_nan=None,
    ),
    Case(
        "cautious",
        lambda: gk.cautious(gk.adam(0.1), 0.5),
        bad=(
            (lambda: gk.cautious(0.1), "inner=0.1 is not a transform"),
            (lambda: gk.cautious(gk.sgd(0.1), -1.0), f"eps=.* {AT_LEAST_0}"),
        ),
    ),
    Case(
        "split_real_and_imaginary",
        lambda: gk.split_real_and_imaginary(gk.clip(0.5)),
        bad=((lambda: gk.split_real_and_imaginary(0.1), "inner=0.1 is not a transform"),),
    ),
    Case(
        "stacked",
        lambda: gk.stacked(gk.lamb(0.1, weight_decay=0.1, mask=gk.by_rank(2)), max_size=5),
        bad=(
            (lambda: gk.stacked(0.1), "inner=0.1 is not a transform"),
            (lambda: gk.stacked(gk.identity()), "has no transform that can be stacked"),
            (lambda: gk.stacked(gk.add_noise(0.1, 0.5, 0)), "has no transform that can be stacked"),
            (lambda: gk.stacked(gk.sgd(0.1), max_size=0), "max_size=0 is out of range"),
            (lambda: gk.stacked(gk.sgd(0.1), axis="x"), "axis='x' has nothing to spread"),
            (lambda: gk.stacked(gk.sgd(0.1), mesh=MESH), "mesh= is given without axis="),
            (lambda: gk.stacked(gk.dpsgd(0.1, 1.0, 0.1, 0)), "takes gradients of single examples"),
        ),
        needs_params=True,
    ),
    Case(
        "sharded",
        lambda: gk.sharded(gk.lamb(0.1, weight_decay=0.1, mask=gk.by_rank(2)), "data"),
        bad=(
            (lambda: gk.sharded(0.1, "data"), "inner=0.1 is not a transform"),
            (lambda: gk.sharded(gk.sgd(0.1), 0), "axis_name=0 is not the name of an axis"),
            (lambda: gk.sharded(gk.sgd(0.1), ()), r"axis_name=\(\) is not the name of an axis"),
            (lambda: gk.sharded(gk.muon(0.1), "data"), "is not known to add up over shards"),
            (lambda: gk.sharded(gk.add_noise(0.1, 0.5, 0), "data"), "Shard the arrays by jit"),
            (
                lambda: gk.sharded(gk.chain(optax.clip_by_global_norm(1.0)), "data"),
                "Use gradkit's transform",
            ),
        ),
        needs_params=True,
    ),
    Case(
        "compress",
        lambda: gk.compress(gk.adam(0.1), gk.stores.int8(4, "nearest"), gk.by_rank(2)),
        bad=(
            (lambda: gk.compress(0.1, "bfloat16"), "inner=0.1 is not a transform"),
            (lambda: gk.compress(gk.sgd(0.1), "bfloat16"), "has no average to compress"),
            (lambda: gk.compress(gk.adam(0.1), None), "store=None keeps every average as it is"),
            (lambda: gk.compress(gk.adam(0.1), "int8"), "'int8' is not a floating dtype"),
            (
                lambda: gk.compress(gk.adam(0.1), gk.stores.sm3_cover()),
                "keeps means, not elements",
            ),
        ),
    ),
    Case(
        "master_weights",
        lambda: gk.master_weights(gk.adam(0.1)),
        bad=((lambda: gk.master_weights(0.1), "inner=0.1 is not a transform"),),
        needs_params=True,
        rounds=True,
        from_start=True,
    ),
    Case(
        "flatten",
        lambda: gk.flatten(gk.chain(gk.clip_by_block_rms(0.5), gk.ema(0.9))),
        bad=(
            (lambda: gk.flatten(0.1), "inner=0.1 is not a transform"),
            (
                lambda: gk.flatten(gk.sgd(0.1)).init([jnp.ones(1), jnp.ones(1, jnp.complex64)]),
                "real and complex leaves",
            ),
        ),
    ),
    Case(
        "selective_transform",
        lambda: gk.selective_transform(gk.ema(0.8), freeze_mask=gk.by_path("vector")),
        bad=(
            (
                lambda: gk.selective_transform(0.1, freeze_mask=True),
                "optimizer=0.1 is not a transform",
            ),
            (lambda: gk.selective_transform(gk.sgd(0.1)), "freeze_mask"),
        ),
        passes_nan=None,
    ),
    Case(
        "mechanize",
        lambda: gk.mechanize(gk.sgd(0.1), 0.1, 1e-6, 1e-2, 3),
        bad=((lambda: gk.mechanize(0.1), "base_optimizer=.* is not a transform"),),
        complex=False,
        needs_params=True,
        from_start=True,
    ),
    Case(
        "MultiSteps",
        lambda: gk.MultiSteps(gk.adamw(0.1), 2, should_skip_update_fn=gk.skip_not_finite),
        bad=(
            (
                lambda: gk.MultiSteps(gk.sgd(0.1), 0),
                "every_k_schedule=0 is out of range",
            ),
            (
                lambda: gk.MultiSteps(gk.sgd(0.1), 1.5),
                "every_k_schedule=1.5 is not",
            ),
            no_transform("MultiSteps", "opt", 2),
        ),
        needs_params=True,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "apply_every",
        lambda: gk.apply_every(2),
        bad=(
            (lambda: gk.apply_every(0), "k=0 is out of range"),
            (lambda: gk.apply_every(2.5), "k=2.5 is not an integer"),
        ),
        passes_nan=None,
        counts=True,
    ),
    Case(
        "guard",
        lambda: gk.guard(
            gk.adam(0.1), 3, max_norm=50.0, norm_sigma=3.0, value_sigma=4.0, decay=0.9
        ),
        bad=(
            (
                lambda: gk.guard(gk.sgd(0.1), -1),
                "max_consecutive_(skips|errors)=-1 is out of range",
            ),
            (lambda: gk.guard(gk.sgd(0.1), max_norm=0.0), f"max_norm=0.0 {ABOVE_0}"),
            (
                lambda: gk.guard(gk.sgd(0.1), on_budget_exhausted="stop"),
                "on_budget_exhausted='stop' is not an option",
            ),
            (lambda: gk.guard(gk.sgd(0.1), decay=1.0), f"decay=.* {DECAY}"),
            (
                lambda: gk.guard(gk.sgd(0.1), patience=0),
                "patience=0 is out of range",
            ),
            no_transform("guard", "inner"),
        ),
        extras=loss_of,
        passes_nan=False,
        counts=True,
    ),
    Case(
        "apply_if_finite",
        lambda: gk.apply_if_finite(gk.adam(0.1), 3),
        bad=(
            (
                lambda: gk.apply_if_finite(gk.sgd(0.1), -1),
                "max_consecutive_(skips|errors)=-1 is out of range",
            ),
            no_transform("apply_if_finite", "inner", 1),
        ),
        passes_nan=False,
        counts=True,
    ),
    Case(
        "conditionally_transform",
        lambda: gk.conditionally_transform(gk.ema(0.8), later),
        bad=(
            (
                lambda: gk.conditionally_transform(gk.ema(0.8), 3),
                "should_transform_fn=3 is not a function",
            ),
            no_transform("conditionally_transform", "inner", later),
        ),
        counts=True,
        reads_back=False,
    ),
    Case(
        "conditionally_mask",
        lambda: gk.conditionally_mask(gk.ema(0.8), later, forward_extra_args=True),
        bad=(
            (
                lambda: gk.conditionally_mask(gk.ema(0.8), 3),
                "should_transform_fn=3 is not a function",
            ),
            no_transform("conditionally_mask", "inner", later),
        ),
        passes_nan=False,
        counts=True,
        reads_back=False,
    ),
    Case(
        "lookahead",
        lambda: gk.lookahead(gk.adam(0.1), 2, 0.5, reset_state=True),
        bad=(
            (
                lambda: gk.lookahead(gk.sgd(0.1), 0, 0.5),
                "sync_period=0 is out of range",
            ),
            (lambda: gk.lookahead(gk.sgd(0.1), 2, 1.5), f"slow_step_size=1.5 {FRACTION}"),
            (
                lambda: gk.lookahead(gk.lookahead(gk.sgd(0.1), 2, 0.5), 2, 0.5),
                "keeps evaluation weights itself",
            ),
        ),
        needs_params=True,
    ),
    Case(
        "sam",
        lambda: gk.sam(gk.adam(0.1), gk.chain(gk.normalize(), gk.sgd(0.5)), 2),
        bad=(
            (
                lambda: gk.sam(gk.sgd(0.1), gk.sgd(0.5), 0),
                "sync_period=0 is out of range",
            ),
        ),
        needs_params=True,
        counts=True,
        narrow=True,
    ),
    Case(
        "schedule_free",
        lambda: gk.schedule_free(gk.sgd(0.1), 0.1, 0.8, 1.5),
        bad=(
            (lambda: gk.schedule_free(gk.sgd(0.1), -0.1), f"learning_rate=.* {AT_LEAST_0}"),
            (lambda: gk.schedule_free(gk.sgd(0.1), 0.1, 0.0), f"b1=.* {ABOVE_0}"),
            (lambda: gk.schedule_free(gk.sgd(0.1), 0.1, 1.5), f"b1=.* {FRACTION}"),
            (lambda: gk.schedule_free(gk.sgd(0.1), 0.1, state_dtype="int8"), DTYPE),
        ),
        needs_params=True,
    ),
    Case(
        "schedule_free_sgd",
        lambda: gk.schedule_free_sgd(0.1, 2, 0.8, 0.01),
        bad=(
            (lambda: gk.schedule_free_sgd(-0.1), AT_LEAST_0),
            (
                lambda: gk.schedule_free_sgd(0.1, -1),
                "warmup_steps=-1 is out of range",
            ),
            (
                lambda: gk.schedule_free_sgd(gk.constant_schedule(0.1), 2),
                "is a schedule, beside warmup_steps",
            ),
        ),
        needs_params=True,
    ),
    Case(
        "schedule_free_adamw",
        lambda: gk.schedule_free_adamw(0.1, 2, 0.8, 0.9, 1e-3, 0.01),
        bad=(
            (lambda: gk.schedule_free_adamw(-0.1), AT_LEAST_0),
            (lambda: gk.schedule_free_adamw(b2=1.0), f"b2=.* {DECAY}"),
            (lambda: gk.schedule_free_adamw(eps=-1.0), f"eps=.* {AT_LEAST_0}"),
        ),
        needs_params=True,
    ),
    Case(
        "weight_ema",
        lambda: gk.weight_ema(0.8),
        bad=(
            (lambda: gk.weight_ema(1.0), f"decay=.* {DECAY}"),
            (lambda: gk.weight_ema(0.9, store="int8"), DTYPE),
        ),
        needs_params=True,
    ),
    Case(
        "polyak_average",
        lambda: gk.polyak_average(1),
        bad=((lambda: gk.polyak_average(-1), "start=-1 is out of range"),),
        needs_params=True,
    ),
    Case(
        "swa",
        lambda: gk.swa(1, 2),
        bad=(
            (lambda: gk.swa(-1), "start=-1 is out of range"),
            (lambda: gk.swa(0, 0), "every=0 is out of range"),
            (lambda: gk.swa(0, store="int8"), DTYPE),
        ),
        needs_params=True,
    ),
    Case(
        "watch",
        lambda: gk.watch(
            gk.adam(0.1), "grad_norm", "update_ratio", per="leaf", functions={"growth": growth}
        ),
        bad=(
            (
                lambda: gk.watch(gk.sgd(0.1), "norm"),
                r"names\[0\]='norm' is not an option",
            ),
            (
                lambda: gk.watch(gk.sgd(0.1), "grad_norm", per="row"),
                "per='row' is not an option",
            ),
            no_transform("watch", "inner", "grad_norm"),
        ),
        needs_params=True,
        reads_back=False,
    ),
    Case(
        "snapshot",
        lambda: gk.snapshot("size", total_size),
        bad=(
            (lambda: gk.snapshot("size"), "missing a required argument: 'measure'"),
            (lambda: gk.snapshot("size", 3), "measure=3 is not a function"),
        ),
        reads_back=False,
    ),
    Case(
        "monitor",
        lambda: gk.monitor({"size": total_size, "mean_size": gk.measure_with_ema(total_size, 0.8)}),
        bad=(
            (
                lambda: gk.monitor({"size": 3}),
                r"measures\['size'\]=3 is not a function",
            ),
        ),
        reads_back=False,
    ),
    Case(
        "measure_with_ema",
        lambda: gk.measure_with_ema(total_size, 0.8),
        bad=(
            (lambda: gk.measure_with_ema(total_size, 1.0), f"decay=.* {DECAY}"),
            (
                lambda: gk.measure_with_ema(3, 0.9),
                "measure=3 is not a function",
            ),
        ),
        within=lambda measure: gk.monitor({"size": measure}),
        reads_back=False,
    ),
]
