"""How many of the names that people use gradkit has.

They come from optax's twenty notebooks, and from 421 files of 21 repositories. The lists are those
of a count by hand: for each name that gradkit lacked, in how many files it stands.
"""

import pytest

import gradkit as gk
from gradkit.interop.names import ANSWERS, OUTSIDE, SUBMODULES

# Names used in optax's notebooks that gradkit once lacked: files. Another 35 names were there from
# the beginning.
NOTEBOOKS = {
    "softmax_cross_entropy_with_integer_labels": 9, "tree.norm": 2, "Params": 2, "tree.get": 2,
    "inject_hyperparams": 2, "tree.size": 2, "l2_loss": 2, "lbfgs": 1, "muon": 1,
    "MuonDimensionNumbers": 1, "scale_by_zoom_linesearch": 1, "perturbations": 1, "huber_loss": 1,
    "OptState": 1, "tree.zeros_like": 1, "scale_by_backtracking_linesearch": 1,
    "value_and_grad_from_state": 1, "assignment": 1, "SAMState": 1, "tree.scale": 1,
    "tree.add_scale": 1, "microbatch": 1, "microbatching": 1, "scale_by_lbfgs": 1,
    "GradientTransformationExtraArgs": 1, "LookaheadParams": 1, "sigmoid_binary_cross_entropy": 1,
    "flatten": 1,
}  # fmt: skip
THERE_BEFORE = 35

# Names that the files of the repositories use and gradkit once lacked, by files.
REPOSITORIES = {
    "OptState": 42, "Updates": 15, "Params": 10, "GradientTransformationExtraArgs": 5,
    "ScalarOrSchedule": 4, "softmax_cross_entropy": 12,
    "softmax_cross_entropy_with_integer_labels": 12, "smooth_labels": 6,
    "sigmoid_binary_cross_entropy": 5, "inject_hyperparams": 17, "global_norm": 15,
    "incremental_update": 14, "EmptyState": 7, "ScaleByAdamState": 6, "TraceState": 4,
    "ScaleByScheduleState": 3, "tree.zeros_like": 13, "tree.bias_correction": 13,
    "tree.update_moment": 13, "tree.cast": 13, "safe_increment": 8, "MaskedNode": 6,
    "periodic_update": 6, "muon": 5, "lbfgs": 3, "TransformInitFn": 1, "TransformUpdateFn": 1,
}  # fmt: skip
# Perturbations and assignment: not in this version.
ELSEWHERE = {
    *OUTSIDE,
    "perturbations",
    "assignment",
    "microbatch",
    "microbatching",
}
# State classes and what gradkit does in another way: each is answered with what to use.
OTHERWISE = {
    "SAMState",
    "LookaheadParams",
    "ScaleByAdamState",
    "TraceState",
    "ScaleByScheduleState",
}


def had(name):
    room, _, last = name.rpartition(".")
    return hasattr(getattr(gk, room) if room else gk, last)


def lacked(names):
    return {name for name in names if not had(name)}


def measure(names, before=0):
    """The share of names, and of the files that use them, without those of another kind."""
    ours = {name: files for name, files in names.items() if name not in ELSEWHERE}
    held = {name: files for name, files in ours.items() if had(name)}
    return (len(held) + before) / (len(ours) + before), sum(held.values()) / sum(ours.values())


@pytest.mark.parametrize(("where", "before"), [("NOTEBOOKS", THERE_BEFORE), ("REPOSITORIES", 0)])
def test_nine_of_ten_names_are_there(where, before, capsys):
    by_name, by_file = measure(globals()[where], before)
    with capsys.disabled():
        print(
            f"\n{where.lower()}: {by_name:.0%} of the names, "
            f"{by_file:.0%} of the uses by file of those once lacking"
        )
    assert by_file >= (0.7 if before else 0.9)
    assert by_name >= (0.9 if before else 0.85)


def test_what_is_lacking_is_of_another_kind_and_answered():
    missing = lacked(NOTEBOOKS) | lacked(REPOSITORIES)
    assert missing == missing & (ELSEWHERE | OTHERWISE)
    for name in missing:
        assert name in ANSWERS or f"optax.{name}" in SUBMODULES
        assert len(gk.interop.explain(name)) > 10


def test_a_name_that_is_lacking_says_what_to_use():
    with pytest.raises(
        AttributeError,
        match=r"gradkit has no 'ScaleByAdamState': .*read `state.inner\['scale_by_adam'\]`",
    ):
        _ = gk.ScaleByAdamState
    with pytest.raises(AttributeError, match=r"gradkit has no 'microbatch': `MultiSteps`"):
        _ = gk.microbatch
    with pytest.raises(AttributeError, match=r"gradkit has no 'adammw': .*did you mean 'adamw'\?"):
        _ = gk.adammw
    with pytest.raises(AttributeError, match=r"gradkit has no 'assignment': .*use optax's"):
        _ = gk.assignment
    with pytest.raises(AttributeError, match=r"gradkit has no 'tree_norm': `tree\.norm`"):
        _ = gk.tree_norm
    assert not hasattr(gk, "__nonsense__")


def test_nn_is_imported_when_it_is_first_used():
    import subprocess
    import sys

    code = (
        "import sys, gradkit as gk; assert 'flax' not in sys.modules; "
        "print(gk.nn.LayerNorm.__name__)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "LayerNorm"
    )
