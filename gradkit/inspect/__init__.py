"""Reading a transform and its state: descriptions, hyperparameters, logged values, weights."""

from gradkit._walk import Node as Node
from gradkit._walk import walk as walk
from gradkit.inspect.describe import Description as Description
from gradkit.inspect.describe import Group as Group
from gradkit.inspect.describe import describe as describe
from gradkit.inspect.eval_params import eval_params as eval_params
from gradkit.inspect.hyperparameters import hyperparameters as hyperparameters
from gradkit.inspect.logged_values import has_updated as has_updated
from gradkit.inspect.logged_values import logged_values as logged_values
from gradkit.inspect.placement import Placement as Placement
from gradkit.inspect.placement import placement as placement
from gradkit.inspect.plan import plan as plan
from gradkit.inspect.planned import NotDonated as NotDonated
from gradkit.inspect.planned import Plan as Plan
from gradkit.inspect.planned import PlanDevice as PlanDevice
from gradkit.inspect.planned import PlanRow as PlanRow
from gradkit.inspect.unstack import restack as restack
from gradkit.inspect.unstack import unstack as unstack
