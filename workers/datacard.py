"""The data-set card: `README.md` at the root, from which Hugging Face opens the directory.

Its front matter names the shards (without it the `.tar.idx` files are taken for archives) and
declares the type of every header key: inferred from the first five packs, a list that is empty
there breaks Arrow mode, and numbers that are whole there lose their fraction later. The types come
from the header's own table, so the card cannot differ from what is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from patchpack.header import COST_KEYS, FORMAT, HEADER_KINDS, Kind

_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path:
{paths}dataset_info:
  config_name: default
  features:
  - name: json
    struct:
{header}  - name: safetensors
    dtype: large_binary
  - name: __key__
    dtype: string
  - name: __url__
    dtype: string
---

# {name}

Packed multimodal training sequences in patchpack format {format}: one sample is one pack,
`json` its header and `safetensors` its arrays and images.

```python
from datasets import load_dataset
from patchpack import decode

for sample in load_dataset("PATH", split="train", streaming=True):
    pack = decode(sample["json"], sample["safetensors"])
```
"""

_TYPES: dict[Kind, list[str]] = {
    "int": ["dtype: int64"],
    "bool": ["dtype: bool"],
    "str": ["dtype: string"],
    "cost": [
        "struct:",
        *(line for key in COST_KEYS for line in (f"- name: {key}", "  dtype: int64")),
    ],
    "[int]": ["list: int64"],
    "[str]": ["list: string"],
    "[float]": ["list: float64"],
    "[[int]]": ["list:", "  list: int64"],
}


def card(name: str, patterns: Sequence[str]) -> str:
    """The text of the card for a data set whose shards these glob patterns match."""
    paths = "".join(f"    - {json.dumps(pattern)}\n" for pattern in patterns)
    header = "".join(
        f"    - name: {key}\n" + "".join(f"      {line}\n" for line in _TYPES[kind])
        for key, kind in HEADER_KINDS.items()
    )
    return _CARD.format(paths=paths, header=header, name=name, format=FORMAT)
