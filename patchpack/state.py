"""What a reader writes down to go on later: where an epoch stands, in canonical order.

Versioned JSON below 1 KB. `items` of the epoch have been handed out on all ranks together, the
first ones of the canonical order; so any number of ranks and workers can go on. The order itself is
named by what it follows from: versions and digest of the data sets, seed, epoch, bundle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from patchpack.errors import StateError
from patchpack.order import VERSION as ORDER

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class State:
    """One consumer's state. Where an epoch is over, it is that of the start of the next one."""

    format: int = FORMAT
    order: int = ORDER
    versions: list[int]
    """Of each data set's manifest."""
    digest: str
    """Of all data sets and their weights."""
    seed: int
    epoch: int
    shuffle: bool
    bundle: int
    items: int
    packs: int
    """Packs of the next item that each rank has had; above 0 only inside a bundle."""
    world_size: int
    worker: int = -1
    """Of a DataLoader's worker, which writes down its own share: its number, else -1."""
    workers: int = 0
    next: int = 0
    """Of a worker: the pack of its rank that it reads next."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON may hold it."""
        return asdict(self)


_TYPES = {"versions": list, "digest": str, "shuffle": bool}


def state_of(value: object) -> State:
    """The state in a dict. Raises StateError naming the field."""
    if not isinstance(value, dict):
        raise StateError(f"a state is a dict, not {type(value).__name__}")
    if value.get("format") != FORMAT:
        raise StateError(f"format: is {value.get('format')!r:.40}, this reader knows {FORMAT}")
    if value.get("order") != ORDER:
        raise StateError(f"order: is {value.get('order')!r:.40}, this reader has order {ORDER}")
    names = {field.name for field in fields(State)}
    if value.keys() != names:
        raise StateError(f"missing or unknown: {sorted(names ^ value.keys())[:5]}")
    for name in names:
        kind = _TYPES.get(name, int)
        if type(value[name]) is not kind:
            raise StateError(f"{name}: is {type(value[name]).__name__}, expected {kind.__name__}")
    state = State(**value)
    if min(state.epoch, state.items, state.packs) < 0 or state.world_size < 1 or state.bundle < 1:
        raise StateError("epoch, items, packs, world_size, bundle: below what they can be")
    return state
