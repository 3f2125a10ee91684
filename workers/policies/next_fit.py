"""Next-fit grouping of pictures into sequences, as vit-pytorch groups a NaViT batch.

A picture joins the open group or, where that would pass `max_seq_len`, closes it for good. Order
stays that of arrival. Trade-off: one pass without memory, but it fills less than the best-fit
packing of a build (workers/packing) does.
Source: lucidrains/vit-pytorch vit_pytorch/na_vit.py `group_images_by_max_seq_len`.
"""

from collections.abc import Sequence

from schemas.reasons import Reason


class OverBudgetError(ValueError):
    """One picture is longer than a whole sequence; `item` is its number."""

    reason = Reason.OVER_BUDGET

    def __init__(self, item: int, length: int, max_seq_len: int) -> None:
        super().__init__(f"picture {item} has {length} tokens, a sequence holds {max_seq_len}")
        self.item = item


def groups(lengths: Sequence[int], max_seq_len: int) -> list[list[int]]:
    """Numbers of the pictures of each group; a picture without tokens joins whatever is open.

    Raises OverBudgetError for the first picture that is longer than a group.
    """
    found: list[list[int]] = []
    filled = 0
    for item, length in enumerate(lengths):
        if length > max_seq_len:
            raise OverBudgetError(item, length, max_seq_len)
        if not found or filled + length > max_seq_len:
            found.append([])
            filled = 0
        found[-1].append(item)
        filled += length
    return found
