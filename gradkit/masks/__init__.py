"""Masks: predicates that select parameters, and the conversion of masks into trees of bools.

A mask is one of these:

| mask | selects |
|---|---|
| a tree of bools, or a prefix of one | the leaves (or subtrees) that hold True |
| a function of the parameters | what the tree of bools that it returns selects |
| a predicate such as ``by_rank(2) & ~by_path("head.*")`` | the leaves for which it is true |

A mask may select no leaf at all. A ``by_path`` that matches no path in the whole tree is an error,
because it is a misspelt name.
"""

from gradkit.masks._resolve import hint as hint
from gradkit.masks._resolve import labels as labels
from gradkit.masks._resolve import resolve as resolve
from gradkit.masks._resolve import selected as selected
from gradkit.masks.predicates import Predicate as Predicate
from gradkit.masks.predicates import by_dtype as by_dtype
from gradkit.masks.predicates import by_function as by_function
from gradkit.masks.predicates import by_path as by_path
from gradkit.masks.predicates import by_rank as by_rank
from gradkit.masks.predicates import by_size as by_size
from gradkit.masks.predicates import called as called
from gradkit.masks.predicates import predicate as predicate
from gradkit.masks.predicates import question as question
