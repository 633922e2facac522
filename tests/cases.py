"""One record per public factory: every contract runs over them.

A record says how to make the thing, with arguments that are not the defaults; which arguments it
must refuse, and in what words; and what it supports. The words are a regular expression, searched
in a message that must begin with the factory's name. Records are kept by room in tests/records;
here they are joined. A factory without a record fails tests/test_house.py.
"""

import functools
import inspect
import re
from typing import Any

import gradkit as gk
from gradkit._call import Call
from gradkit._transform import Transform
from tests.records.averages import AVERAGES
from tests.records.case import SHAPES as SHAPES
from tests.records.case import Case as Case
from tests.records.case import shrunk as shrunk
from tests.records.case import tree_of as tree_of
from tests.records.case import zeros as zeros
from tests.records.masks import MASKS
from tests.records.optimizers import OPTIMIZERS
from tests.records.schedules import SCHEDULES
from tests.records.second_order import SECOND_ORDER
from tests.records.transforms import TRANSFORMS
from tests.records.wrappers import WRAPPERS

CASES = [*AVERAGES, *TRANSFORMS, *WRAPPERS, *OPTIMIZERS, *SECOND_ORDER, *MASKS, *SCHEDULES]
NAMES = {case.name for case in CASES}


@functools.cache
def factories(kind: type[Call] = Call) -> dict[str, Any]:
    """Every public name that `gradkit._call.factory` made."""
    made = gk.chain.__code__
    rooms = (gk, gk.averages, gk.masks, gk.schedules, gk.stores)
    # GradientTransformation is a type, which calls the factory of that name.
    named = {name: value for room in reversed(rooms) for name, value in vars(room).items()}
    named["GradientTransformation"] = gk._transform.GradientTransformation
    public = {
        name: value
        for name, value in named.items()
        if inspect.isfunction(value) and value.__code__ is made and not name.startswith("_")
    }
    return {
        name: value
        for name, value in public.items()
        if issubclass(inspect.getclosurevars(value).nonlocals["kind"], kind)
    }


def cases(kind: type[Call]) -> list[Case]:
    """The records of one kind, those whose factory is there."""
    return [case for case in CASES if case.name in factories(kind)]


def is_recipe(case: Case) -> bool:
    """Whether the factory makes a chain of public transforms that have records of their own."""
    links = [re.sub(r"_\d+$", "", link.name) for link in case.transform().members]
    known = NAMES - {case.name}
    return (
        factories()[case.name].__module__.startswith("gradkit.optimizers.")
        and len(links) > 1
        and set(links) <= known
    )


TRANSFORM_CASES = cases(Transform)
LINK_CASES = [case for case in TRANSFORM_CASES if not is_recipe(case)]
