"""The table of counterparts: which part of gradkit has one in optax or torch.optim.

Names and arguments are optax's, so most rows are one call,
``lambda k: k.adamw(1e-2, weight_decay=0.1)``, made once by gradkit and once by optax. Where the
call differs a row has two; where the *rule* differs on purpose it has a note. Rules of torch that
gradkit does not have:

- AMSGrad takes the largest second moment before it is debiased (gradkit and optax: after);
- NAdam moves b1 along a schedule of its own (``momentum_decay``), which cannot be switched off;
- Adagrad's ``lr_decay``, SGD's ``dampening``: a schedule, and ``ema`` in the place of ``trace``.
"""

from gradkit.parity.row import ALL as ALL
from gradkit.parity.row import Row as Row
from gradkit.parity.row import installed as installed
from gradkit.parity.table.averages import AVERAGES
from gradkit.parity.table.factored import FACTORED
from gradkit.parity.table.kronecker import KRONECKER
from gradkit.parity.table.linesearch import LINE_SEARCHES
from gradkit.parity.table.matrices import MATRICES
from gradkit.parity.table.optimizers import OPTIMIZERS
from gradkit.parity.table.parameter_free import PARAMETER_FREE
from gradkit.parity.table.recent import RECENT
from gradkit.parity.table.schedules import SCHEDULES
from gradkit.parity.table.torch import TORCH
from gradkit.parity.table.transforms import TRANSFORMS
from gradkit.parity.table.wrappers import WRAPPERS

TABLE: tuple[Row, ...] = (
    *OPTIMIZERS,
    *RECENT,
    *FACTORED,
    *MATRICES,
    *KRONECKER,
    *PARAMETER_FREE,
    *LINE_SEARCHES,
    *AVERAGES,
    *TRANSFORMS,
    *WRAPPERS,
    *SCHEDULES,
    *TORCH,
)
