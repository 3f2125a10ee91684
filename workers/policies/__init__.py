"""Resolution policies: one file a family, arithmetic only; a policy is its own recipe entry.

>>> import pyarrow as pa
>>> from workers.policies import size
>>> from workers.policies.qwen2_vl import Qwen2VL
>>> table = size(pa.table({"width": [800], "height": [1300]}), [Qwen2VL()])
>>> table.column("resized_wh").to_pylist(), table.column("llm_tokens").to_pylist()
([[812, 1288]], [1336])
"""

from workers.policies.table import size

__all__ = ["size"]
