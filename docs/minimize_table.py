"""Write the table of test problems into docs/minimize.md: `python docs/minimize_table.py`.

Every problem of benchmarks/problems.py, solved by gradkit and by SciPy to the same tolerance:
evaluations, and whether the value is that of a known minimum. It takes some minutes.
"""

import statistics
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import gradkit as gk  # noqa: E402
from benchmarks.problems import PROBLEMS, Problem  # noqa: E402

PAGE = ROOT / "docs" / "minimize.md"
BEGIN, END = "<!-- the problems: begin -->", "<!-- the problems: end -->"
TOL, STEPS = 1e-5, 5000

# gradkit's optimizer, SciPy's method, and its options: the same tolerance, and no other.
METHODS = {
    "lbfgs": (gk.lbfgs(), "L-BFGS-B", {"gtol": TOL, "ftol": 0, "maxfun": 10**5}),
    "bfgs": (gk.bfgs(), "BFGS", {"gtol": TOL}),
    "nonlinear_cg": (gk.nonlinear_cg(), "CG", {"gtol": TOL}),
    "newton": (gk.newton(), "", {}),
    "levenberg_marquardt": (gk.levenberg_marquardt(), "lm", {}),
}


def ours(problem: Problem, tx: gk.Transform, squares: bool) -> tuple[int, bool]:
    """Evaluations, and whether a known minimum is reached."""
    start = jnp.asarray(problem.start)
    if squares:
        result = gk.least_squares(problem.residuals, start, tx, tol=TOL / 2, max_steps=STEPS)
        return int(result.evaluations), problem.solved(2 * float(result.value))
    result = gk.minimize(problem.value, start, tx, tol=TOL, max_steps=STEPS)
    return int(result.evaluations), problem.solved(float(result.value))


def theirs(problem: Problem, method: str, options: dict) -> tuple[int, bool]:
    """The same of SciPy."""
    if method == "lm":
        residuals, slopes = jax.jit(problem.residuals), jax.jit(jax.jacfwd(problem.residuals))
        wide = residuals(problem.start).size >= problem.start.size
        found = scipy.optimize.least_squares(
            lambda x: np.asarray(residuals(x)),
            problem.start,
            lambda x: np.asarray(slopes(x)),
            method="lm" if wide else "trf",
            **dict.fromkeys(("gtol", "xtol", "ftol"), 1e-8),
            max_nfev=10**4,
        )
        return found.nfev, problem.solved(2 * found.cost)
    count, fun = [0], jax.jit(jax.value_and_grad(problem.value))

    def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
        count[0] += 1
        value, grad = fun(x)
        return float(value), np.asarray(grad)

    options = {**options, "maxiter": STEPS}
    found = scipy.optimize.minimize(
        counted, problem.start, jac=True, method=method, options=options
    )
    return count[0], problem.solved(float(found.fun))


def cell(run: tuple[int, bool]) -> str:
    """Evaluations, and a cross where the minimum was not reached."""
    return f"{run[0]:,}" if run[1] else f"{run[0]:,} ✗"


def table() -> str:
    """The table in Markdown."""
    head = ["problem", "n"]
    for name, (_, method, _) in METHODS.items():
        head += [f"`{name}`", *([f"SciPy {method}"] if method else [])]
    rows, ratios = [], {name: [] for name, (_, method, _) in METHODS.items() if method}
    for problem in PROBLEMS:
        row = [problem.name.partition(",")[0], str(problem.start.size)]
        for name, (tx, method, options) in METHODS.items():
            mine = ours(problem, tx, method == "lm")
            row.append(cell(mine))
            if method:
                other = theirs(problem, method, options)
                row.append(cell(other))
                ratios[name].append(mine[0] / other[0])
        print(*row, sep="  ", flush=True)
        rows.append(row)
    last = ["**median ratio**", ""]
    for name in METHODS:
        last += [f"**{statistics.median(ratios[name]):.2f}**", ""] if name in ratios else [""]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows, last]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    rows = table()
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}", encoding="utf-8")
