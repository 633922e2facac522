"""Working with optax: conversion, its types, hyperparameters in the state, and its names."""

from gradkit.interop.adapter import EmptyState as EmptyState
from gradkit.interop.adapter import GradientTransformation as GradientTransformation
from gradkit.interop.adapter import (
    GradientTransformationExtraArgs as GradientTransformationExtraArgs,
)
from gradkit.interop.adapter import MaskedNode as MaskedNode
from gradkit.interop.adapter import as_optax as as_optax
from gradkit.interop.adapter import init_empty_state as init_empty_state
from gradkit.interop.functions import global_norm as global_norm
from gradkit.interop.functions import incremental_update as incremental_update
from gradkit.interop.functions import periodic_update as periodic_update
from gradkit.interop.functions import safe_increment as safe_increment
from gradkit.interop.functions import safe_norm as safe_norm
from gradkit.interop.functions import scale_gradient as scale_gradient
from gradkit.interop.functions import stateless_with_tree_map as stateless_with_tree_map
from gradkit.interop.functions import with_extra_args_support as with_extra_args_support
from gradkit.interop.inject import InjectHyperparamsState as InjectHyperparamsState
from gradkit.interop.inject import inject_hyperparams as inject_hyperparams
from gradkit.interop.names import explain as explain
from gradkit.interop.report import RestoreReport as RestoreReport
from gradkit.interop.restore import restore_into as restore_into
from gradkit.interop.resume import from_optax_state as from_optax_state
