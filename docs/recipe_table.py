"""Write the table of optimizers into README.md and docs/recipes.md: `python docs/recipe_table.py`.

φ, ψ, the chain and the size of the state are read from the optimizers. What a rule of its own
computes inside, which no walk can see, is said in OWN.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

import gradkit as gk
from gradkit import averages
from gradkit.inspect import walk

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- the optimizers: begin -->", "<!-- the optimizers: end -->"

# Every row: what is shown, and the transform.
ROWS = {
    "sgd": gk.sgd(0.1),
    "sgd(momentum=ρ)": gk.sgd(0.1, momentum=0.9),
    "momentum": gk.momentum(0.1),
    "nesterov": gk.nesterov(0.1),
    "adagrad": gk.adagrad(0.1),
    "rmsprop": gk.rmsprop(0.1),
    "rmsprop(momentum=ρ)": gk.rmsprop(0.1, momentum=0.9),
    "rmsprop(centered=True)": gk.rmsprop(0.1, centered=True),
    "adadelta": gk.adadelta(1.0),
    "adam": gk.adam(0.1),
    "adamw": gk.adamw(0.1),
    "nadam": gk.nadam(0.1),
    "nadamw": gk.nadamw(0.1),
    "adamax": gk.adamax(0.1),
    "adamaxw": gk.adamaxw(0.1),
    "amsgrad": gk.amsgrad(0.1),
    "adabelief": gk.adabelief(0.1),
    "acprop": gk.acprop(0.1),
    "yogi": gk.yogi(0.1),
    "radam": gk.radam(0.1),
    "adan": gk.adan(0.1),
    "adopt": gk.adopt(0.1),
    "laprop": gk.laprop(0.1),
    "ademamix": gk.ademamix(0.1),
    "simplified_ademamix": gk.simplified_ademamix(0.1),
    "mars": gk.mars(0.1),
    "sign_sgd": gk.sign_sgd(0.1),
    "signum": gk.signum(0.1),
    "lion": gk.lion(0.1),
    "rprop": gk.rprop(0.1),
    "lars": gk.lars(0.1),
    "lamb": gk.lamb(0.1),
    "fromage": gk.fromage(0.1),
    "novograd": gk.novograd(0.1),
    "adafactor": gk.adafactor(),
    "came": gk.came(0.1),
    "sm3": gk.sm3(0.1),
    "adam_mini": gk.adam_mini(0.1),
    "muon": gk.muon(0.1),
    "normuon": gk.normuon(0.1),
    "scion": gk.scion(0.1),
    "dion": gk.dion(0.1),
    "sophia": gk.sophia(0.1),
    "lbfgs": gk.lbfgs(),
    "bfgs": gk.bfgs(),
    "dfp": gk.dfp(),
    "nonlinear_cg": gk.nonlinear_cg(),
    "newton": gk.newton(),
    "newton_cg": gk.newton_cg(),
    "gauss_newton": gk.gauss_newton(),
    "levenberg_marquardt": gk.levenberg_marquardt(),
    "shampoo": gk.shampoo(0.1),
    "soap": gk.soap(0.1),
    "psgd_kron": gk.psgd_kron(0.1),
    "galore": gk.galore(0.1),
    "polyak_sgd": gk.polyak_sgd(),
    "momo": gk.momo(),
    "momo_adam": gk.momo_adam(),
    "dadapt_adamw": gk.dadapt_adamw(),
    "prodigy": gk.prodigy(),
    "dog": gk.dog(),
    "dowg": gk.dowg(),
    "cocob": gk.cocob(),
    "madgrad": gk.madgrad(0.1),
    "asgd": gk.asgd(0.1),
    "optimistic_gradient_descent": gk.optimistic_gradient_descent(0.1),
    "optimistic_adam": gk.optimistic_adam(0.1),
    "noisy_sgd": gk.noisy_sgd(0.1, key=0),
}

# The rows of the README.
FIRST = (
    "sgd",
    "sgd(momentum=ρ)",
    "adagrad",
    "rmsprop",
    "adadelta",
    "adam",
    "adamw",
    "nadam",
    "amsgrad",
    "adamax",
    "adabelief",
    "yogi",
    "radam",
    "laprop",
    "adan",
    "lion",
    "lars",
    "lamb",
    "novograd",
    "adafactor",
    "sm3",
    "adam_mini",
    "muon",
)

# Rules that compute M and G themselves: φ, ψ, and the name of the quotient in the chain.
Q = "M/√G"
OWN = {
    "nesterov": ("`trace`, of gradients at θ + ρ Δθ", "none", "M"),
    "scale_by_adadelta": ("`latest`", "`ema` of g²", f"{Q} · √(`ema` of u² + ε)"),
    "scale_by_belief": ("`ema`", "`ema` of (g − m)²", Q),
    "scale_by_acprop": ("`latest`", "previous `ema` of (g − m)²", Q),
    "scale_by_radam": ("`ema`", "`ema` of g², once ρ ≥ threshold", f"{Q} · rectification"),
    "scale_by_adan": ("`ema` of g + b2 · `ema` of Δg", "`ema` of (g + b2 Δg)²", Q),
    "scale_by_adopt": ("`latest`", "previous `ema_from_first` of g²", f"clip({Q}) → `ema`"),
    "scale_by_novograd": (
        "`latest`",
        "`per_leaf(ema_from_first)` of g²",
        f"{Q} → weight decay → `trace`",
    ),
    "scale_by_lion": ("`weighted_sum` of g and its `ema`", "none", "sign(M)"),
    "scale_by_rprop": ("`latest`", "none", "sign(M) · a step size per element"),
    "scale_by_factored_rms": ("`latest`", "`ema` of g², stored `factored`", f"rms clip of {Q}"),
    "scale_by_confidence": ("", "", "`ema` / √(`ema` of (û − m)², stored `factored`)"),
    "scale_by_sm3": ("`latest`", "`running_sum` of g², stored `sm3_cover`", f"{Q} → `ema`"),
    "muon": ("`ema`", "none", "orthogonalize(M) → × √max(1, out / in)"),
    "normuon": ("`ema`", "`ema` of \\|u\\|² per neuron", "u = orthogonalize(M), u/√G"),
    "dion": ("`running_sum` with feedback", "none", "a factor of low rank, orthonormal"),
    "scale_by_sophia": ("`ema`", "`ema` of the Hessian's diagonal", "clip(M/G)"),
    "scale_by_lbfgs": ("`latest`", "none", "H · M, H from the last pairs (Δθ, Δg)"),
    "scale_by_bfgs": ("`latest`", "none", "H · M, H a matrix from all pairs (Δθ, Δg)"),
    "scale_by_dfp": ("`latest`", "none", "H · M, H a matrix from all pairs (Δθ, Δg)"),
    "scale_by_nonlinear_cg": ("`latest`", "none", "M + β · the last direction"),
    "scale_by_newton": ("`latest`", "none", r"\|∇²L + λ\|⁻¹ M"),
    "scale_by_newton_cg": ("`latest`", "none", "(∇²L + λ)⁻¹ M, by conjugate gradients"),
    "scale_by_gauss_newton": ("`latest`", "none", "(JᵀJ + λ)⁻¹ M"),
    "scale_by_levenberg_marquardt": ("`latest`", "none", "(JᵀJ + λ D²)⁻¹ M, λ by trials"),
    "scale_by_shampoo": ("`ema`", "`ema` of g gᵀ and gᵀ g", "L^(−¼) M R^(−¼) → norm of Adam"),
    "scale_by_soap": ("`ema` of Qᵀ g Q", "`ema` of (Qᵀ g Q)²", f"Q ({Q}) Qᵀ"),
    "scale_by_psgd_kron": ("`ema`", "factors that whiten g", "QᵀQ M QᵀQ"),
    "scale_by_galore": ("`ema` of Pᵀ g", "`ema` of (Pᵀ g)²", f"P ({Q})"),
    "scale_by_polyak": ("`latest`", "none", "M · (f − f*) / ‖g‖²"),
    "momo": ("`ema_from_first`", "none", "M · a step from an averaged model of the loss"),
    "momo_adam": ("`ema`", "`ema` of g²", f"{Q} · a step from an averaged model of the loss"),
    "dadapt_adamw": ("`ema`", "`ema` of g²", f"{Q} · an estimated distance d → weight decay"),
    "prodigy": ("`ema` of d g", "`ema` of (d g)²", f"{Q} · an estimated distance d → weight decay"),
    "scale_by_dog": ("`latest`", "`running_sum` of ‖g‖²", f"{Q} · distance travelled"),
    "scale_by_dowg": ("`latest`", "weighted `running_sum` of ‖g‖²", f"{Q} · distance travelled²"),
    "scale_by_cocob": ("`running_sum`", r"`running_sum` of \|g\|", "coin betting"),
    "scale_by_madgrad": (
        "weighted `running_sum`",
        "weighted `running_sum` of g²",
        "dual averaging of M/∛G",
    ),
    "scale_by_asgd": ("`latest`", "none", "a falling rate; the mean of θ is evaluated"),
}
MEMBERS = {
    "add_decayed_weights": "weight decay",
    "scale_by_trust_ratio": "trust ratio",
    "clip_by_block_norm": "clip each leaf",
    "scale_by_param_block_rms": "× rms θ",
    "add_noise": "add noise",
    "scale_by_optimistic_gradient": "extrapolation",
    "_fromage_step": "step, × 1/√(1 + α²)",
    "scale_by_sign": "sign",
    "partition": "the steepest direction in each layer's norm",
    "scale_by_learning_rate": "−α",
    "scale_by_backtracking_linesearch": "line search",
    "scale_by_zoom_linesearch": "line search",
    "scale": "−1",
}


def named(tx) -> str:
    """An average by the names of its transforms: `running_max(ema)`."""
    inside = [named(part) for part in tx.arguments.values() if isinstance(part, gk.Transform)]
    stores = (each for each in tx.arguments.values() if isinstance(each, gk.stores.Store))
    inside += [str(store).removeprefix("stores.") for store in stores]
    if tx.arguments.get("nesterov"):
        inside.append("nesterov=True")
    return tx.factory.__name__ + (f"({', '.join(inside)})" if inside else "")


def averages_of(tx) -> tuple[str, str]:
    """φ and ψ, as far as the walk sees them."""
    nodes = {node.path: node for node in walk(tx) if node.rule is not None}
    for node in nodes.values():
        if node.transform.factory is gk.precondition:
            first, second = node.transform.moment, node.transform.preconditioner
            power = r"\|g\|" if node.transform.order == 1 else "g²"
            if first.factory is averages.variance or second.factory is averages.variance:
                power = "g"
            return f"`{named(first)}`", f"`{named(second)}` of {power}".replace("(None)", "")
    first = tx.members[0].name
    return (f"`{first}`" if first in ("ema", "trace") else "`latest`"), "none"


def row(label: str, tx) -> list[str]:
    """The cells of one optimizer."""
    moment, preconditioner = averages_of(tx)
    chain = []
    for member in tx.members:
        own = OWN.get(member.name)
        if own is not None:
            if own[0]:
                moment, preconditioner = own[:2]
            chain.append(own[2])
        elif not chain and f"`{member.name}`" == moment:
            chain.append("M")
        elif "preconditioner" in (state(tx)[member.name] or {}):
            chain.append("M/G" if preconditioner.endswith(r"\|g\|") else Q)
        else:
            chain.append(MEMBERS.get(member.name, f"`{member.name}`"))
    if chain[-1] in ("−α", "−1") and len(chain) > 1:
        chain.pop()
    if chain == ["−α"]:
        chain = ["M"]
    matrix = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    plan = gk.describe(tx, matrix)
    size = f"{round(plan.state_bytes / plan.count, 2):g}"
    return [f"`{label}`", moment, preconditioner, " → ".join(chain), size]


def state(tx) -> dict:
    """The state of every member, empty where it keeps none."""
    kept = jax.eval_shape(tx.init, jnp.zeros((2, 2))).inner
    return {member.name: kept.get(member.name) for member in tx.members}


def linked(cells: list[str], name: str) -> list[str]:
    """The cells with a link to the page of the method, where it has one."""
    if not (ROOT / "docs" / "methods" / f"{name}.md").exists():
        return cells
    return [f"[{cells[0]}](methods/{name}.md)", *cells[1:]]


def table(labels=tuple(ROWS), links: bool = False) -> str:
    """The table, as Markdown."""
    lines = [
        "| optimizer | φ | ψ | chain | state |",
        "|---|---|---|---|---|",
    ]
    for label in labels:
        cells = row(label, ROWS[label])
        name = ROWS[label].factory.__name__
        lines.append(f"| {' | '.join(linked(cells, name) if links else cells)} |")
    return "\n".join(lines)


def between(text: str, content: str) -> str:
    """The page with the table in its place."""
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:start]}\n{content}\n{text[end:]}"


def pages() -> dict[Path, str]:
    """The two pages, with the table as it is now."""
    tables = {
        ROOT / "README.md": table(FIRST),
        ROOT / "docs" / "recipes.md": table(links=True),
    }
    return {
        page: between(page.read_text(encoding="utf-8"), content) for page, content in tables.items()
    }


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
