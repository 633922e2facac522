"""Compare gradkit with optax and torch.optim, step by step.

``compare`` runs two optimizers along a trajectory and reports how far apart they are. ``TABLE``
lists the counterparts of gradkit's transforms in optax and torch.optim, and ``python -m
gradkit.parity`` runs it. optax and torch are imported only when a row needs them.
"""

from gradkit.parity.compare import compare as compare
from gradkit.parity.report import Report as Report
from gradkit.parity.table import TABLE as TABLE
from gradkit.parity.table import Row as Row
from gradkit.parity.torch import Torch as Torch
