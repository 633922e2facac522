"""Write docs/optax_names.md: every public name of the installed optax, and what becomes of it in gradkit.

    python docs/optax_names.py

The names are derived from optax and gradkit; what differs is taken from the docstrings' **Differs**. Only names that gradkit answers in
another way are written down here, and tests/docs/test_optax_names.py fails when one is missing.
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
    "tree_map_params": "memory is keyed by name; the trees in it are shaped like the parameters",
    "bias_correction": "`ema(..., debias=True)`",
    "update_moment": "`ema`",
    "update_moment_per_elem_norm": "`ema` as the metric of `precondition`",
    "update_infinity_moment": "`fading_peak`",
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
TYPES = "a type: `Transform`, `Rule`, `State`, `Schedule` and `Any` take its place"
OUTSIDE = "a loss or another function beside optimizers: use optax's, it works with any optimizer"


def names() -> dict[str, object]:
    """Every public name of optax, once."""
    found: dict[str, object] = {}
    for module in map(importlib.import_module, MODULES):
        public = {name: value for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}
        found = public | found
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def answer(name: str, value: object) -> tuple[str, str]:
    """The heading a name stands under, and what is said of it."""
    ours = getattr(gk, name, None)
    if ours is not None:
        differs = re.search(r"\*\*Differs\*\*\s+(.*?)(?:\n\s*\n|\Z)", inspect.getdoc(ours) or "", re.DOTALL)
        if differs is None:
            return "The same", ""
        text = " ".join(differs.group(1).split()).replace("``", "`").replace("|", r"\|")
        return "The same name, but better or otherwise", text.removeprefix("from optax: ").removeprefix("from optax ")
    if name in INSTEAD:
        return "Another way", INSTEAD[name]
    if name in LATER_NAMES:
        return "Not in this version", LATER
    if name.endswith("State") or name == "ApplyEvery":
        return "Another way", "`State(step, memory)`, memory by link name"
    if not inspect.isfunction(value):
        return "Another way", TYPES
    if getattr(value, "__module__", "").startswith(("optax.losses", "optax._src.loss", "optax.perturbations", "optax.assignment", "optax._src")):
        return "Not an optimizer", OUTSIDE
    raise KeyError(f"{name} of optax is not accounted for in {__file__}")


def page() -> str:
    """The page, as Markdown."""
    headings: dict[str, dict[str, str]] = {}
    for name, value in names().items():
        heading, text = answer(name, value)
        headings.setdefault(heading, {})[name] = text
    lines = [
        "# Every name of optax",
        "",
        "Written by `python docs/optax_names.py` from the installed optax and gradkit's docstrings; a test keeps it complete.",
        "",
    ]
    order = ("The same", "The same name, but better or otherwise", "Another way", "Not in this version", "Not an optimizer")
    for heading in order:
        found = headings.get(heading, {})
        lines += [f"## {heading}", "", f"{len(found)} names.", ""]
        if heading == "The same":
            lines += [", ".join(f"`{name}`" for name in found) + "."]
        else:
            lines += ["| optax | gradkit |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in found.items())]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page())
