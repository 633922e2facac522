"""What to use in place of the names of optax that gradkit does not have."""

# ruff: noqa: E501  the tables have one text a line

import difflib
import importlib
import sys
from typing import Any

# One text for each name; docs/optax_names.py writes its page from the same tables.
INSTEAD = {
    "inject_stateful_hyperparams": "`inject_hyperparams`; a hyperparameter with a state of its own is a transform",
    "safe_int32_increment": "`safe_increment`",
    "safe_root_mean_squares": "`tree.norm(x) / sqrt(x.size)`, whose derivative at zero is zero",
    "LookaheadParams": "the fast weights are the parameters; the slow ones are in the state of `lookahead`, read by `eval_params`",
    "ZoomLinesearchInfo": "a dict: read `state.inner['scale_by_zoom_linesearch']['info']`",
    "microbatch": "`MultiSteps`, or `jax.lax.scan` over micro-batches",
    "unitwise_norm": "part of `adaptive_grad_clip`",
    "unitwise_clip": "part of `adaptive_grad_clip`",
}
# Where the state of a transform is found.
STATES = {
    "AddNoiseState": "add_noise",
    "ApplyEvery": "apply_every",
    "ApplyIfFiniteState": "apply_if_finite",
    "COCOBState": "scale_by_cocob",
    "EmaState": "ema",
    "FactoredState": "scale_by_factored_rms",
    "GaLoreState": "scale_by_galore",
    "HutchinsonState": "hutchinson_estimator_diag_hessian",
    "LookaheadState": "lookahead",
    "MadgradState": "scale_by_madgrad",
    "MaskedState": "masked",
    "MonitorState": "monitor",
    "MultiStepsState": "MultiSteps",
    "MultiTransformState": "partition",
    "MuonState": "scale_by_muon",
    "PartitionState": "partition",
    "ReduceLROnPlateauState": "reduce_on_plateau",
    "SAMState": "sam",
    "ScaleByAdaDeltaState": "scale_by_adadelta",
    "ScaleByAdamState": "scale_by_adam",
    "ScaleByAdanState": "scale_by_adan",
    "ScaleByAdemamixState": "scale_by_ademamix",
    "ScaleByAmsgradState": "scale_by_amsgrad",
    "ScaleByBacktrackingLinesearchState": "scale_by_backtracking_linesearch",
    "ScaleByBeliefState": "scale_by_belief",
    "ScaleByLBFGSState": "scale_by_lbfgs",
    "ScaleByLionState": "scale_by_lion",
    "ScaleByNovogradState": "scale_by_novograd",
    "ScaleByRStdDevState": "scale_by_stddev",
    "ScaleByRmsState": "scale_by_rms",
    "ScaleByRpropState": "scale_by_rprop",
    "ScaleByRssState": "scale_by_rss",
    "ScaleBySM3State": "scale_by_sm3",
    "ScaleBySimplifiedAdEMAMixState": "scale_by_simplified_ademamix",
    "ScaleByZoomLinesearchState": "scale_by_zoom_linesearch",
    "ScheduleFreeState": "schedule_free",
    "SnapshotState": "snapshot",
    "SophiaState": "scale_by_sophia",
    "SplitRealAndImaginaryState": "split_real_and_imaginary",
    "TraceState": "trace",
    "ZeroNansState": "zero_nans",
}
STATE = "no class of its own: read `state.inner[{!r}]`, or `tree.get(state, name)`"
STATELESS = "no state: `state.step` is the only count"
STATELESS_NAMES = """
    AdaptiveGradClipState AddDecayedWeightsState ClipByGlobalNormState ClipState
    NonNegativeParamsState ScaleByScheduleState ScaleByTrustRatioState
    ScaleState
"""
OTHER_STATE = "no class of its own: `State(step, inner)`, inner a dict by the name of the transform"
OTHER_STATE_NAMES = """
    ConditionallyMaskState ConditionallyTransformState DAdaptAdamWState
    DifferentiallyPrivateAggregateState DoGState DoWGState
    InjectStatefulHyperparamsState MechanicState MomoAdamState MomoState NormalizeState
    ProdigyState
"""
TYPE = "schedules here have no state: a function of the step is a `Schedule`"
TYPE_NAMES = "StatefulSchedule WrappedSchedule"
OUTSIDE = {
    "multi_normal": "a distribution: use optax's, or `jax.scipy.stats`",
}
# Every name of optax that gradkit does not have: the heading of its table, and what to use.
ANSWERS = {
    **{name: ("Another way", text) for name, text in INSTEAD.items()},
    **{name: ("Another way", STATE.format(link)) for name, link in STATES.items()},
    **dict.fromkeys(STATELESS_NAMES.split(), ("Another way", STATELESS)),
    **dict.fromkeys(OTHER_STATE_NAMES.split(), ("Another way", OTHER_STATE)),
    **dict.fromkeys(TYPE_NAMES.split(), ("Another way", TYPE)),
    **{name: ("Not an optimizer", text) for name, text in OUTSIDE.items()},
}
SUBMODULES = {
    **dict.fromkeys(
        ("optax.contrib", "optax.transforms", "optax.schedules"),
        "its names are in `gradkit` itself",
    ),
    "optax.assignment": "matching of rows and columns: use optax's",
    "optax.experimental": "aggregation over examples: `dpsgd` and `per_example_global_norm_clip`",
    "optax.microbatching": "memory of a model's pass over a batch: `MultiSteps`, or `jax.lax.scan` over micro-batches",
    "optax.perturbations": "smoothed functions: use optax's",
    "optax.second_order": "its functions are in `gradkit.curvature`",
    "optax.tree_utils": "`tree`, without the prefix: `tree_norm` is `tree.norm`",
}
_LAZY = ("nn", "parity")  # rooms that are imported when they are first used


def explain(name: str) -> str:
    """Say what gradkit has in place of a name of optax.

    Args:
      name: a public name of optax, or of gradkit; ``"optax."`` in front is ignored.

    Returns:
      one sentence. A name that neither library has gets the nearest names.

    Example:
      >>> import gradkit as gk
      >>> gk.interop.explain("ScaleByAdamState")
      "no class of its own: read `state.inner['scale_by_adam']`, or `tree.get(state, name)`"
      >>> gk.interop.explain("cosine_decay_schedul")
      "neither gradkit nor optax has this name; did you mean 'cosine_decay_schedule'?"
      >>> assert gk.interop.explain("adam") == "gradkit has it: gradkit.adam"
    """
    name = name.removeprefix("optax.")
    package = vars(sys.modules["gradkit"])
    if name in package and not name.startswith("_"):
        return f"gradkit has it: gradkit.{name}"
    if name in ANSWERS:
        return ANSWERS[name][1]
    if f"optax.{name}" in SUBMODULES:
        return SUBMODULES[f"optax.{name}"]
    if name.startswith("tree_") and hasattr(package["tree"], name.removeprefix("tree_")):
        return f"`tree.{name.removeprefix('tree_')}`"
    near = difflib.get_close_matches(
        name, [known for known in package if not known.startswith("_")], n=1, cutoff=0.7
    )
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"neither gradkit nor optax has this name{hint}"


def missing(name: str) -> Any:
    """Answer for a name that the package lacks: import ``gradkit.nn``, or say what to use instead.

    Raises:
      AttributeError: always, but for the rooms that are imported on first use.
    """
    if name in _LAZY:
        return importlib.import_module(f"gradkit.{name}")
    if name.startswith("_"):
        raise AttributeError(f"module 'gradkit' has no attribute {name!r}")
    text = explain(name)
    raise AttributeError(f"gradkit has no {name!r}: {text}{'' if text.endswith('?') else '.'}")
