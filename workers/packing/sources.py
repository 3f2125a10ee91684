"""Which source a sample is of."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints


def sources_of(ids: pa.StringArray) -> Ints:
    """[n] the number of each sample's source in the order of their names: its id begins with that
    name and a slash.
    """
    names = pc.replace_substring_regex(ids, "(?s)/.*", "", max_replacements=1)
    codes = names.dictionary_encode()
    ranks = np.argsort(np.argsort(np.array(codes.dictionary.to_pylist(), object), kind="stable"))
    found: Ints = ranks.astype(np.int64)[codes.indices.to_numpy()]
    return found
