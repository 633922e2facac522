"""The recipes, one family a file."""

from gradkit.optimizers.adam import adam, scale_by_adam
