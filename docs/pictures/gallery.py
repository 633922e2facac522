"""Run the examples and keep their pictures in docs/assets/gallery.

    python docs/pictures/gallery.py [name ...]

An example with ``--out`` draws its own picture. The picture of examples/bf16.py, which prints a
table, is drawn here from its METHODS. The whole run takes a few minutes on two cores.
"""

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "assets" / "gallery"
ARGUMENTS = {"distributed": ("--devices", "8")}


def run(example: Path, folder: Path) -> Path:
    """Run an example and return its picture."""
    out = folder / f"{example.stem}.png"
    directory = 'type=Path, default=Path("out")' in example.read_text(encoding="utf-8")
    subprocess.run(
        [
            *(sys.executable, str(example), "--out", str(folder if directory else out)),
            *ARGUMENTS.get(example.stem, ()),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        check=True,
    )
    return out


def rounding(folder: Path) -> Path:
    """The mean weight of examples/bf16.py at each step, for each way of rounding."""
    example = runpy.run_path(str(ROOT / "examples" / "bf16.py"))
    steps, size = example["STEPS"], example["STEP"]
    figure, axis = pyplot.subplots(figsize=(6.6, 3.6), layout="constrained")
    for name, (dtype, tx) in example["METHODS"].items():
        weights = jnp.ones(1000, dtype)

        def step(carry, _, tx=tx, dtype=dtype):
            carry = tx.apply(*carry, jnp.ones(1000, dtype))
            return carry, carry[0].astype(jnp.float32).mean()

        _, means = jax.lax.scan(step, (weights, tx.init(weights)), length=steps)
        style = {"float32": ":", "compensated": "--"}.get(name, "-")
        axis.plot(np.asarray(means), style, label=name, linewidth=2)
    axis.set(xlabel=f"steps of {size}", ylabel="mean weight")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "bf16.png", dpi=110)
    return folder / "bf16.png"


def keep(picture: Path) -> None:
    """At most 1000 pixels wide, sixty-four colours and no metadata: a small file."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail((1000, 1000), Image.Resampling.LANCZOS)
    image.quantize(64).save(FOLDER / picture.name, optimize=True)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for example in sorted((ROOT / "examples").glob("*.py")):
            if sys.argv[1:] and example.stem not in sys.argv[1:]:
                continue
            own = "--out" in example.read_text(encoding="utf-8")
            keep(run(example, Path(folder)) if own else rounding(Path(folder)))
