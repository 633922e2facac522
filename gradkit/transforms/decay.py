"""Weight decay and penalties: links that pull the parameters towards zero.

A penalty λ R(θ) adds its gradient to what passes. Before the averages it is *coupled* (the lectures' L2: the optimizer averages and
scales the pull along with the gradient); after them it is *decoupled* (weight decay, AdamW). For SGD the two agree, for Adam they do not.

| | R(θ) | added |
|---|---|---|
| ``add_decayed_weights(λ)`` | ½‖θ‖² | λ θ |
"""

from typing import Any

from gradkit import _checks as check
from gradkit import _tree as tree
from gradkit._schedule import as_rate
from gradkit._transform import Rule, Transform, stateless, transform
