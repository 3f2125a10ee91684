"""Damage that a reader was told to skip: logged, counted, kept, and ended when there is no end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from patchpack.copies import Shared
from patchpack.errors import DamageError

MOST_IN_A_ROW = 100
"""Damaged packs after which skipping raises too: that is no odd bit any more."""
_KEPT = 100
_LOG = logging.getLogger("patchpack")


@dataclass(eq=False)
class Skips:
    """Of one reader; the first hundred errors are kept."""

    shared: Shared
    damages: list[DamageError] = field(default_factory=list)
    _in_a_row: int = 0

    def note(self, error: DamageError) -> None:
        """Damage that costs no pack."""
        _LOG.warning("skipped: %s", error)
        if len(self.damages) < _KEPT:
            self.damages.append(error)

    def lose(self, error: DamageError) -> None:
        """A pack became a filler. Raises DamageError for too many in a row."""
        self.note(error)
        self.shared.skip()
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            what = f"{self._in_a_row} packs in a row are damaged, the last: {error}"
            raise DamageError(what, error.shard, error.member, error.offset)

    def end_row(self) -> None:
        """A pack was whole."""
        self._in_a_row = 0
