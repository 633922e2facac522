"""Optuna: its samplers by ask and tell in vmapped batches, its storage shared by machines.

optuna is imported only when one of these functions is called.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from gradkit import _checks as check
from gradkit import _numerics as numerics
from gradkit.search import _programs as programs
from gradkit.search._progress import progress_bar
from gradkit.search._trials import Trials
from gradkit.search.configs import Configs
from gradkit.search.distributions import Choice, Distribution, Integers
from gradkit.search.population import evaluated, table
from gradkit.search.spaces import fill, needed
from gradkit.typing import Key, PyTree

STATUS = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed"}


def suggest(space: PyTree, trial: Any) -> PyTree:
    """Suggest a transform from an Optuna trial: ``trial.suggest_float`` and the like for a space.

    Parameters have the paths of the distributions as names. A ``log_uniform`` with ``complement``
    is suggested as ``1 - path`` on a log scale. What is inside an option is suggested if the option
    was chosen.

    Args:
      space: the space: a transform, or any tree, with distributions in it.
      trial: an ``optuna.Trial``, for use inside an Optuna objective, or an ``optuna.FixedTrial``.

    Returns:
      the space filled with the suggested values.

    Raises:
      ImportError: optuna is missing.
      TypeError: ``trial`` is not a trial of Optuna.
      ValueError: a space without distributions.

    Example:
      >>> import gradkit as gk, pytest
      >>> optuna = pytest.importorskip("optuna")
      >>> space = gk.sgd(gk.search.log_uniform(1e-3, 1.0), momentum=0.9)
      >>> tx = gk.search.suggest(space, optuna.trial.FixedTrial({"learning_rate": 0.1}))
      >>> assert tx == gk.sgd(0.1, momentum=0.9)
    """
    with check.inside("suggest"):
        _optuna()
        if not hasattr(trial, "suggest_float"):
            expected = "an optuna.Trial: study.ask(), or an objective's argument"
            problem = f"trial={check.shown(trial)} is not a trial"
            check.refuse(problem, expected=expected, error=TypeError)
        config = _suggested(space, trial)
    return fill(space, config)


def run_study(
    objective: Callable[..., Any],
    space: PyTree,
    study: Any,
    key: Key = 0,
    *,
    trials: int = 64,
    batch: int = 16,
    seeds: int = 1,
    mesh: Mesh | None = None,
    progress: bool = True,
) -> Trials:
    """Search with any Optuna sampler: batches are asked, trained as one program, and told.

    A study in a storage (SQLite, PostgreSQL, a journal file) is shared: several processes and
    machines may call this with one study, and each stops when the study has ``trials`` finished
    ones, of all together. For the same reason a search goes on after a crash: the trials that were
    in flight stay marked as running, and their number is asked for anew.

    Args:
      objective: ``objective(config, key)``, pure: the loss, or the curve of losses, whose last
        value counts.
      space: the search space.
      study: an ``optuna.Study`` that minimizes:
        ``optuna.create_study(study_name=..., storage=..., sampler=..., load_if_exists=True)``.
      key: a random key or a seed. Every trial gets the same keys.
      trials: how many finished trials the study shall have, ≥ 1.
      batch: how many are asked and trained at once, ≥ 1. Pass ``constant_liar=True`` to
        ``TPESampler``, so that a batch is spread out.
      seeds: how often each is trained, ≥ 1; the standard error is kept as a user attribute.
      mesh: spread the trials of a batch over the first axis of a mesh.
      progress: show a bar of the trials, where rich is installed.

    Returns:
      the ``Trials`` of the whole study, as ``from_study`` gives them. Curves are those of this call
      alone; the storage does not keep them.

    Raises:
      ImportError: optuna is missing.
      TypeError: ``study`` is not a study, an objective that returns no real number.
      ValueError: a study that maximizes, ``trials``, ``batch`` or ``seeds`` below 1.

    Example:
      >>> import gradkit as gk, pytest
      >>> optuna = pytest.importorskip("optuna")
      >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
      >>> space = {"x": gk.search.uniform(-1.0, 1.0)}
      >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
      >>> trials = gk.search.run_study(
      ...     lambda c, key: c["x"] ** 2, space, study, trials=8, batch=4, progress=False)
      >>> assert len(trials) == len(study.trials) == 8
      >>> assert trials.best().config == study.best_params
    """
    with check.inside("run_study"):
        optuna = _optuna()
        check.arity(2, "(config, key)", objective=objective)
        check.integer(1, trials=trials, batch=batch, seeds=seeds)
        check.boolean(progress=progress)
        _check_study(optuna, study)
        place = programs.Place.of(mesh)
        keys = jax.random.split(numerics.as_key(key), int(seeds))
    curves: dict[int, Any] = {}
    with progress_bar("trials", int(trials), progress) as report:
        before = _finished(optuna, study)
        report(len(before), [t.value for t in before if t.value is not None])
        while (left := int(trials) - len(_finished(optuna, study))) > 0:
            asked = [study.ask() for _ in range(min(left, int(batch)))]
            configs = Configs(space, [_suggested(space, trial) for trial in asked])
            found = evaluated(objective, configs, keys, None, place, report)
            rows = table(configs, found.values, found.curves)
            for trial, row in zip(asked, rows, strict=True):
                trial.set_user_attr("error", row.error)
                trial.set_user_attr("repeats", row.repeats)
                study.tell(trial, row.score)
                curves[trial.number] = row.curve
    return _table(optuna, study, space, curves)


def from_study(study: Any, space: PyTree) -> Trials:
    """Convert an Optuna study into ``Trials``, for its table and plots.

    Args:
      study: a study that minimizes, whose parameters are named as ``suggest`` names them.
      space: the space that was searched.

    Returns:
      ``Trials`` of the finished trials: complete, pruned (``"stopped"``) and failed. The curves are
      the intermediate values reported.

    Raises:
      ImportError: optuna is missing.
      ValueError: a study of other parameters, or one that maximizes.

    Example:
      >>> import gradkit as gk, pytest
      >>> optuna = pytest.importorskip("optuna")
      >>> study = optuna.create_study()
      >>> space = {"x": gk.search.uniform(-1.0, 1.0)}
      >>> study.optimize(lambda trial: gk.search.suggest(space, trial)["x"] ** 2, n_trials=3)
      >>> assert gk.search.from_study(study, space).best().score == study.best_value
    """
    with check.inside("from_study"):
        optuna = _optuna()
        _check_study(optuna, study)
        return _table(optuna, study, space, {})


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        check.refuse(
            f"optuna is missing ({error})",
            fix="Install it with: pip install 'gradkit[search]'",
            error=ImportError,
        )
    return optuna


def _check_study(optuna: Any, study: Any) -> None:
    if not isinstance(study, optuna.Study):
        problem = f"study={check.shown(study)} is not a study"
        check.refuse(problem, expected="an optuna.Study", error=TypeError)
    if [d.name for d in study.directions] != ["MINIMIZE"]:
        fix = "Create it with direction='minimize', and return a loss"
        check.refuse("the study does not minimize one value", fix=fix)


def _finished(optuna: Any, study: Any) -> list[Any]:
    states = [getattr(optuna.trial.TrialState, name) for name in STATUS]
    found: list[Any] = study.get_trials(deepcopy=False, states=states)
    return found


def _suggested(space: PyTree, trial: Any) -> dict[str, Any]:
    """The configuration that a trial suggests."""
    config: dict[str, Any] = {}
    for dimension in needed(space):
        if dimension.counts(config):
            config[dimension.path] = _value(dimension.path, dimension.distribution, trial)
    return config


def _value(path: str, law: Distribution, trial: Any) -> Any:
    if isinstance(law, Choice):
        return trial.suggest_categorical(path, law.labels)
    given = law.arguments
    low, high = given["low"], given["high"]
    if isinstance(law, Integers):
        return trial.suggest_int(path, low, high, log=given["log"])
    if given.get("complement"):
        value = 1 - trial.suggest_float(f"1 - {path}", 1 - high, 1 - low, log=True)
        return min(max(value, low), high)
    return trial.suggest_float(path, low, high, log=law.factory.__name__ == "log_uniform")


def _table(optuna: Any, study: Any, space: PyTree, curves: dict[int, Any]) -> Trials:
    finished = _finished(optuna, study)
    configs = []
    for trial in finished:
        fixed = optuna.trial.FixedTrial(trial.params, number=trial.number)
        try:
            configs.append(_suggested(space, fixed))
        except ValueError:  # a failed trial may end before it has all its parameters
            if trial.state.name != "FAIL":
                problem = f"trial {trial.number} has the parameters {check.shown(trial.params)}"
                check.refuse(problem, expected="those of the space, as suggest names them")
            configs.append({p: v for p, v in trial.params.items() if not p.startswith("1 - ")})
    shown = [t.intermediate_values for t in finished]
    nan = float("nan")
    return Trials(
        space,
        configs,
        [nan if t.value is None else t.value for t in finished],
        [t.user_attrs.get("error", nan) for t in finished],
        [curves.get(t.number, [v[k] for k in sorted(v)] or None)
         for t, v in zip(finished, shown, strict=True)],
        status=[
            "failed" if t.value is not None and not np.isfinite(t.value) else STATUS[t.state.name]
            for t in finished
        ],
        repeats=[t.user_attrs.get("repeats", 1) for t in finished],
    )  # fmt: skip
