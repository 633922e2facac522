"""What `restore_into` did with each leaf of a saved state."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("taken", "converted", "fresh", "dropped")


class Row(NamedTuple):
    """What happened to one leaf.

    Attributes:
      kind: ``"taken"`` as it was; ``"converted"``; ``"fresh"``, as ``init`` makes it; or
        ``"dropped"``, which the new state has no place for.
      path: the path in the new state, as in ``gk.inspect.walk``; of a dropped leaf, in the saved.
      source: the path in the saved state; "" for a fresh leaf.
      note: how it was converted, or why it is fresh or dropped.
      lossless: nothing that was saved is lost, and nothing is missing: such a row is never refused.
    """

    kind: str
    path: str
    source: str = ""
    note: str = ""
    lossless: bool = True


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """What `restore_into` did with each leaf: plain data, and prints as a table.

    Attributes:
      rows: a `Row` for each leaf of the new state, then one for each leaf that was dropped.
      fields: for each row the part of its path without the path of a parameter, by which the table
        groups the rows.
    """

    rows: tuple[Row, ...]
    fields: tuple[str, ...]

    @property
    def taken(self) -> tuple[Row, ...]:
        """The leaves taken as they were."""
        return self._of("taken")

    @property
    def converted(self) -> tuple[Row, ...]:
        """The leaves whose dtype, store, or devices changed."""
        return self._of("converted")

    @property
    def fresh(self) -> tuple[Row, ...]:
        """The leaves that are as ``init`` makes them."""
        return self._of("fresh")

    @property
    def dropped(self) -> tuple[Row, ...]:
        """The saved leaves that were not used."""
        return self._of("dropped")

    def _of(self, kind: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind == kind)

    def summary(self) -> str:
        """The number of leaves of each kind."""
        return ", ".join(f"{len(self._of(kind))} {kind}" for kind in KINDS)

    def __str__(self) -> str:
        lines = [f"restore_into: {self.summary()}"]
        cells = list(self._cells())
        width = max((len(path) for _, path, _ in cells), default=0)
        lines += [f"  {kind:9}  {path:{width}}  {note}".rstrip() for kind, path, note in cells]
        return "\n".join(lines)

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        """Kind, path and note of each line: one for the leaves that share all but the parameter."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row, field in zip(self.rows, self.fields, strict=True):
            leaf = row.path.removeprefix(field)
            source = row.source.removesuffix(leaf) if row.kind != "dropped" else ""
            moved = f"from {source}" if source not in ("", field) else ""
            note = "; ".join(text for text in (moved, row.note) if text)
            groups.setdefault((row.kind, field, note), []).append(row)
        for kind in KINDS:
            for (its, field, note), rows in groups.items():
                if its == kind:
                    several = f"{field}  ({len(rows)} leaves)"
                    yield kind, rows[0].path if len(rows) == 1 else several, note
