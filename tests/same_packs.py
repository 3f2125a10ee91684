"""What packs hold of each sample, for builds that have to agree in all but where things come from.

Places in a pack and in a file, names of packs and of sources are left out; all else is compared:
every column of the header, every array, the bytes of every payload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from patchpack.arrays import ARRAYS
from patchpack.header import ITEM_COLUMNS
from patchpack.layout import Pack
from pipelines.build import Built
from tests.pipelines.conftest import packs_of

_PLACES = ("item_sample", "item_start", "item_tensor")

Facts = dict[str, Any]


def samples_of(root: Path, built: Built) -> dict[str, Facts]:
    """The facts of each sample by its id without the name of the source."""
    found: dict[str, Facts] = {}
    for pack in packs_of(root, built):
        for number, name in enumerate(pack.header.sample_id):
            sample_id = name.partition("/")[2]
            assert sample_id not in found  # no sample twice
            found[sample_id] = _facts(pack, number)
    return found


def companies(root: Path, built: Built) -> list[list[str]]:
    """The samples of each pack, in order."""
    return [pack.header.sample_id for pack in packs_of(root, built)]


def _facts(pack: Pack, sample: int) -> Facts:
    start, end = pack.header.cu_seqlens[sample : sample + 2]
    tokens = {
        name: getattr(pack.arrays, name)[start:end].tolist()
        for name, spec in ARRAYS.items()
        if spec.axis == "token"
    }
    items = [i for i, owner in enumerate(pack.header.item_sample) if owner == sample]
    return {**tokens, "items": [_item(pack, item, start) for item in items]}


def _item(pack: Pack, item: int, start: int) -> Facts:
    header, arrays = pack.header, pack.arrays
    facts: Facts = {name: getattr(header, name)[item] for name in ITEM_COLUMNS}
    facts = {name: value for name, value in facts.items() if name not in _PLACES}
    for name, spec in ARRAYS.items():
        if spec.axis == "item":
            facts[name] = getattr(arrays, name)[item].tolist()
        elif spec.axis not in ("token", name):
            facts[name] = getattr(arrays, name)[getattr(arrays, spec.axis) == item].tolist()
    facts["start"] = header.item_start[item] - start
    facts["payloads"] = [_digest(one.data) for one in pack.payloads_of(item)]
    return facts


def _digest(data: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(data.tobytes()).hexdigest()


def differences(ours: dict[str, Facts], theirs: dict[str, Facts]) -> Iterable[str]:
    """Which samples differ, and in what; none where the two are equal."""
    for sample_id in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(sample_id), theirs.get(sample_id)
        if one is None or other is None:
            yield f"{sample_id}: only in one"
        elif one != other:
            differing = [name for name in one if one[name] != other[name]]
            yield f"{sample_id}: {', '.join(differing)}"
