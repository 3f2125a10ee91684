"""A fault of one sample, on its way from where it is found to the boundary that makes it a drop."""

from schemas.reasons import Reason


class Fault(Exception):
    """Raised where a sample turns out unusable; each stage catches it at one place, for one sample.

    Anything else that is raised is a bug or a failure that may pass, and stops the block.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message
