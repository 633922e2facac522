"""Read a transform and its state: descriptions, hyperparameters, logged values."""

from gradkit.inspect.describe import Description as Description
from gradkit.inspect.describe import Group as Group
from gradkit.inspect.describe import describe as describe
from gradkit.inspect.logged_values import logged_values as logged_values
