"""The digest of a spec: every output is named by the hash of all that shapes it."""

from __future__ import annotations

import hashlib
import json


def spec_digest(spec: object) -> str:
    """sha256, as hex, of the canonical JSON of a spec (sorted keys, no spaces, UTF-8).

    Raises TypeError for what JSON does not hold, and ValueError for NaN: neither may shape a name.
    """
    text = json.dumps(
        spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
