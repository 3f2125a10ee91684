"""Stream packed, cost-balanced multimodal training shards: what a trainer imports.

`PackedShards` iterates over a data set; `docs/format.md` specifies the shards that it reads.
"""

from patchpack.errors import DamageError, StateError, TransferError
from patchpack.io import IO
from patchpack.layout import FormatError, Header, Pack, Payload, decode
from patchpack.members import Members
from patchpack.reader import PackedShards
from patchpack.transfer import Retry

__version__ = "0.1.0"

__all__ = [
    "IO",
    "DamageError",
    "FormatError",
    "Header",
    "Members",
    "Pack",
    "PackedShards",
    "Payload",
    "Retry",
    "StateError",
    "TransferError",
    "decode",
]
