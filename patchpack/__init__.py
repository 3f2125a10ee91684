"""Stream packed, cost-balanced multimodal training shards: what a trainer imports.

numpy is all that this package needs; `docs/format.md` specifies the shards that it reads.
"""

from patchpack.layout import FormatError, Header, Pack, Payload, decode

__version__ = "0.1.0"

__all__ = ["FormatError", "Header", "Pack", "Payload", "decode"]
