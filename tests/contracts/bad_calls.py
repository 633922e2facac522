from collections.abc import Callable
from typing import Any, NamedTuple
class Bad(NamedTuple):
    where: str
    names: str
    call: Callable[[], Any]
    text: str = ""
BAD: list[Bad] = []
HABITS: list[Any] = []
