"""What can go wrong while a data set is read, each with a message that names file and field."""

from __future__ import annotations

from patchpack.container import FormatError


class DamageError(FormatError):
    """Bytes of a data set are missing or altered.

    Names where: the shard (or another file of the data set), the member of the tar (empty where it
    is the whole file), and the offset in bytes from the start of the file. The message says all
    three, as it is all that is left of an error of a DataLoader's worker.
    """

    def __init__(self, message: str, shard: str = "", member: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.shard, self.member, self.offset = shard, member, offset


class TransferError(OSError):
    """A remote file could not be read, after as many tries as `Retry` allows."""


class StateError(ValueError):
    """A state that does not fit this reader, or none of a reader at all."""


def damage(shard: str, member: str, offset: int, what: str) -> DamageError:
    """A DamageError that says all that it knows."""
    place = f"{shard}: {member}: " if member else f"{shard}: "
    return DamageError(f"{place}at byte {offset}: {what}", shard, member, offset)
