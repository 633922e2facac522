"""Unicode formulas as HTML: indices lowered, powers raised. Needs nothing but Python."""

import re

CODE = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)
INDEX = re.compile(r"(?<=[^\s`])_(?:\{([^{}]*)\}|([A-Za-z0-9α-ωΑ-Ω∞]+))")
POWER = re.compile(r"\^(?:\{([^{}]*)\}|\(([^()]*)\)|(⌊[^⌊⌋]*⌋|[A-Za-z0-9α-ω]+))")
GREEK = re.compile(r"(?<![\w`])([α-ωΑ-Ω])_([a-z0-9]+)\b")


def formula(text: str) -> str:
    """A formula; its code spans stay."""
    pieces = CODE.split(text)
    for i in range(0, len(pieces), 2):
        lowered = INDEX.sub(lambda m: f"<sub>{m[1] or m[2]}</sub>", pieces[i].replace("*", r"\*"))
        pieces[i] = POWER.sub(lambda m: f"<sup>{m[1] or m[2] or m[3]}</sup>", lowered)
    return "".join(pieces)


def prose(text: str) -> str:
    """Text in which only a Greek letter can have an index: ε_root is one, b1_max may be a name."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            pieces = CODE.split(line)
            pieces[::2] = [GREEK.sub(r"\1<sub>\2</sub>", piece) for piece in pieces[::2]]
            lines[i] = "".join(pieces)
    return "\n".join(lines)


def explanation(docstring: str) -> str:
    """An optimizer's module docstring without its title and its formula: its page has both."""
    blocks = re.split(r"\n[ \t]*\n", docstring)[1:]
    kept = [
        block
        for block in blocks
        if not re.match(r" {4}|Δθ|θ ←|c_t = g", block) or block.startswith("|")
    ]
    return "\n\n".join(formula(block.strip("\n")) for block in kept)
