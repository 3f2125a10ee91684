"""Errors that stop a build. A fault of one sample is a `Reason`, never an exception."""

import errno


class PatchpackError(Exception):
    """Root of every error that a person is meant to read: one line, with what to do."""


class RecipeError(PatchpackError):
    """The recipe or an input named by it is wrong; names the key or file."""


class ContractError(PatchpackError):
    """A table or file does not have the shape that its reader was promised."""


class BuildError(PatchpackError):
    """The build cannot go on: a ledger that does not add up, too many drops, a changed source."""


class PublishConflictError(PatchpackError):
    """Another build published this data set in the meantime."""


class TransientError(BuildError):
    """A fault that may pass, such as a lost worker: the same build run again goes on from where it
    was.
    """


_STAYS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)


def may_pass(error: OSError) -> bool:
    """Whether an I/O error may pass by itself: not a full disk, nor one that may not be written."""
    return error.errno not in _STAYS
