"""Write docs/optax_names.md: every public name of the installed optax, and what becomes of it in gradkit.

    python docs/optax_names.py

The names are derived from optax; what differs is taken from the docstrings' **Differs**. A name that gradkit does not have must be written down here, by
itself and with what is to be said of it: nothing is guessed from how it is spelt or where it lives, so a new name of optax, or one that gradkit loses, fails
tests/docs/test_optax_names.py.
"""

import importlib
import inspect
import re
from pathlib import Path

import gradkit as gk

MODULES = ("optax", "optax.contrib", "optax.transforms", "optax.schedules")

INSTEAD = {
    "global_norm": 'the norm is in the links that need it; `watch(tx, "grad_norm")` reports it',
    "inject_hyperparams": "not needed: hyperparameters are leaves of the transform, `tx.replace(...)` changes them, schedules may stand anywhere",
    "inject_stateful_hyperparams": "as `inject_hyperparams`; a hyperparameter with a memory is a link",
    "GradientTransformationExtraArgs": "`GradientTransformation`; what `update` asks for by name is passed",
    "with_extra_args_support": "not needed: extras are passed to those who ask",
    "stateless_with_tree_map": "`stateless(lambda updates, params: jax.tree.map(f, updates, params))`",
    "init_empty_state": "not needed: a `stateless` link stores nothing",
    "tree_map_params": "inner is keyed by name; the trees in it are shaped like the parameters",
    "bias_correction": "`ema(..., debias=True)`",
    "update_moment": "`ema`",
    "update_moment_per_elem_norm": "`ema` as the metric of `precondition`",
    "update_infinity_moment": "`decayed_max`",
    "safe_increment": "the root's clock",
    "safe_int32_increment": "the root's clock",
    "safe_norm": "inside: norms have a zero derivative at zero",
    "safe_root_mean_squares": "inside",
    "incremental_update": "`weight_ema`",
    "periodic_update": "`lookahead`",
    "LookaheadParams": "fast weights are the parameters, slow ones are memory of `lookahead`",
    "flatten": "not needed: leaf functions are traced once per shape",
    "MaskedNode": "None stands for a leaf of another group",
    "value_and_grad_from_state": "comes with the line searches",
    "scale_gradient": "`jax.grad` of a scaled loss; not an optimizer's business",
    "microbatch": "`MultiSteps`, or `jax.lax.scan` over micro-batches",
    "unitwise_norm": "inside `adaptive_grad_clip`",
    "unitwise_clip": "inside `adaptive_grad_clip`",
}
LATER = "matrix methods, line searches and quasi-Newton are not in this version"
LATER_NAMES = (
    "lbfgs",
    "scale_by_lbfgs",
    "scale_by_backtracking_linesearch",
    "scale_by_zoom_linesearch",
    "ZoomLinesearchInfo",
    "matrix_inverse_pth_root",
    "power_iteration",
    "nnls",
    "galore",
    "scale_by_galore",
    "GaLoreDimensionNumbers",
    "muon",
    "scale_by_muon",
    "MuonDimensionNumbers",
)
STATE = "`State(step, memory)`, memory by link name"
STATE_NAMES = """
    AdaptiveGradClipState AddDecayedWeightsState AddNoiseState ApplyEvery ApplyIfFiniteState ClipByGlobalNormState ClipState COCOBState
    ConditionallyMaskState ConditionallyTransformState DAdaptAdamWState DifferentiallyPrivateAggregateState DoGState DoWGState EmaState EmptyState
    FactoredState GaLoreState HutchinsonState InjectHyperparamsState InjectStatefulHyperparamsState LookaheadState MadgradState MaskedState MechanicState
    MomoAdamState MomoState MonitorState MultiStepsState MultiTransformState MuonState NonNegativeParamsState NormalizeState OptState PartitionState
    ProdigyState ReduceLROnPlateauState SAMState ScaleByAdaDeltaState ScaleByAdamState ScaleByAdanState ScaleByAdemamixState ScaleByAmsgradState
    ScaleByBacktrackingLinesearchState ScaleByBeliefState ScaleByLBFGSState ScaleByLionState ScaleByNovogradState ScaleByRmsState ScaleByRpropState
    ScaleByRssState ScaleByRStdDevState ScaleByScheduleState ScaleBySimplifiedAdEMAMixState ScaleBySM3State ScaleByTrustRatioState
    ScaleByZoomLinesearchState ScaleState ScheduleFreeState SnapshotState SophiaState SplitRealAndImaginaryState TraceState ZeroNansState
"""
TYPE = "a type: `Transform`, `Rule`, `State`, `Schedule` and `Any` take its place"
TYPE_NAMES = """
    ConditionFn MaskOrFn Params ScalarOrSchedule ShouldSkipUpdateFunction StatefulSchedule TransformInitFn TransformUpdateExtraArgsFn TransformUpdateFn
    Updates WrappedSchedule
"""
LOSS = "a loss: use optax's, it works with any optimizer"
LOSS_NAMES = """
    convex_kl_divergence cosine_distance cosine_similarity ctc_loss ctc_loss_with_forward_probs generalized_kl_divergence hinge_loss huber_loss
    kl_divergence l2_loss log_cosh ntxent safe_softmax_cross_entropy sigmoid_binary_cross_entropy sigmoid_focal_loss softmax_cross_entropy
    softmax_cross_entropy_with_integer_labels squared_error
"""
OUTSIDE = {
    "multi_normal": "a distribution: use optax's, or `jax.scipy.stats`",
    "smooth_labels": "a change of labels: use optax's, it works with any optimizer",
}
# Every name that gradkit does not have: the heading it stands under, and what is said of it.
ANSWERS = {
    **{name: ("Another way", text) for name, text in INSTEAD.items()},
    **dict.fromkeys(STATE_NAMES.split(), ("Another way", STATE)),
    **dict.fromkeys(TYPE_NAMES.split(), ("Another way", TYPE)),
    **dict.fromkeys(LATER_NAMES, ("Not in this version", LATER)),
    **dict.fromkeys(LOSS_NAMES.split(), ("Not an optimizer", LOSS)),
    **{name: ("Not an optimizer", text) for name, text in OUTSIDE.items()},
}
SUBMODULES = {
    **dict.fromkeys(("optax.contrib", "optax.transforms", "optax.schedules"), "name by name above"),
    "optax.assignment": "matching of rows and columns, no optimizer: use optax's",
    "optax.experimental": "aggregation over examples, not settled in optax: `dpsgd` and `per_example_global_norm_clip` are here",
    "optax.losses": "losses, no optimizers: use optax's, they work with any optimizer",
    "optax.microbatching": "inner of a model's pass over a batch, no optimizer: `MultiSteps`, or `jax.lax.scan` over micro-batches",
    "optax.perturbations": "smoothed functions, no optimizers: use optax's",
    "optax.projections": "projections of parameters after a step, no optimizers: use optax's on what `apply` returns; `keep_params_nonnegative` is here",
    "optax.second_order": "Hessians and products with them: matrix methods are not in this version; use optax's",
    "optax.tree": "arithmetic of trees: `jax.tree.map`; averages are `ema` and its like",
    "optax.tree_utils": "the older spelling of `optax.tree`",
}


def names() -> dict[str, object]:
    """Every public name of optax, once, and its sub-modules by their dotted names."""
    found: dict[str, object] = {}
    for module in map(importlib.import_module, MODULES):
        # What a module's __getattr__ makes, such as the old spellings that warn, is in __all__ alone.
        values = {
            name: vars(module).get(name)
            for name in {*vars(module), *getattr(module, "__all__", ())}
            if not name.startswith("_")
        }
        found = {
            f"{module.__name__}.{name}" if inspect.ismodule(value) else name: value
            for name, value in values.items()
        } | found
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def answer(name: str) -> tuple[str, str]:
    """The heading a name stands under, and what is said of it."""
    if name in SUBMODULES:
        return "Sub-modules", SUBMODULES[name]
    ours = getattr(gk, name, None)
    if ours is not None and not inspect.ismodule(ours):
        differs = re.search(
            r"\*\*Differs\*\*\s+(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(ours) or "", re.DOTALL
        )
        if differs is None:
            return "The same", ""
        text = " ".join(differs.group(1).split()).replace("``", "`").replace("|", r"\|")
        return "The same name, but better or otherwise", text.removeprefix(
            "from optax: "
        ).removeprefix("from optax ")
    if name in ANSWERS:
        return ANSWERS[name]
    raise KeyError(
        f"{name} of optax is neither in gradkit nor in the lists of {Path(__file__).name}"
    )


def unanswered() -> list[str]:
    """The names of optax that neither gradkit nor a list here has."""
    found = []
    for name in names():
        try:
            answer(name)
        except KeyError:
            found.append(name)
    return found


def stale() -> list[str]:
    """The names in the lists here that gradkit has, or optax has no longer."""
    return sorted(
        name
        for name in [*ANSWERS, *SUBMODULES]
        if name not in names() or (name in ANSWERS and answer(name) != ANSWERS[name])
    )


def page() -> str:
    """The page, as Markdown."""
    headings: dict[str, dict[str, str]] = {}
    for name in names():
        heading, text = answer(name)
        headings.setdefault(heading, {})[name] = text
    lines = [
        "# Every name of optax",
        "",
        "Written by `python docs/optax_names.py` from the installed optax and gradkit's docstrings; a test keeps it complete.",
        "",
    ]
    order = (
        "The same",
        "The same name, but better or otherwise",
        "Another way",
        "Not in this version",
        "Not an optimizer",
        "Sub-modules",
    )
    for heading in order:
        found = headings.get(heading, {})
        lines += [f"## {heading}", "", f"{len(found)} names.", ""]
        if heading == "The same":
            lines += [", ".join(f"`{name}`" for name in found) + "."]
        else:
            lines += [
                "| optax | gradkit |",
                "|---|---|",
                *(f"| `{name}` | {text} |" for name, text in found.items()),
            ]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
