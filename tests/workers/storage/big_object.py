"""The content of the object that many tests read: 64 MB that no range of it repeats."""

import random

BIG = random.Random(0).randbytes(64_000_000)
