"""How many elements a JSON array has, told without making one: a hundred bytes of Python for every two of `1,` is too much.

Exact for JSON; what isn't JSON is for the parser to refuse. Not here: the elements (registry.parse.json).
"""

from __future__ import annotations

import numpy as np

STEP_BYTES = 2**20
QUOTE, COMMA = ord('"'), ord(",")
OPEN, CLOSE = ord("{"), ord("}")  # and of arrays: [ and ] differ from these in one bit, that of 32


def more_elements_than(body: bytes, most: int) -> bool:
    """Whether the array has more than `most` elements."""
    # Without escapes every quote begins or ends a string. Left to right, as escapes are read.
    bare = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    quotes = depth = commas = 0
    for at in range(0, len(bare), STEP_BYTES):
        letters = np.frombuffer(bare, np.uint8, min(STEP_BYTES, len(bare) - at), at)
        inside = np.cumsum(letters == QUOTE) + quotes
        outside = inside & 1 == 0
        step = ((letters | 32) == OPEN).astype(np.int8) - ((letters | 32) == CLOSE)
        depths = np.cumsum(step * outside, dtype=np.int64) + depth
        commas += int(((letters == COMMA) & outside & (depths == 1)).sum())
        if commas >= most:
            return True
        quotes, depth = int(inside[-1]), int(depths[-1])
    return False
