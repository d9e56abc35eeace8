"""Bodies of records as agencies send them, to frames: JSON array, NDJSON, Avro object container, Arrow stream.

Structure only: types, ranges, required and unknown fields, encoding. A record that is wrong is a value (RecordProblem), a
body that can't be taken apart into records raises BodyInvalid. Text is normalised to NFC; a NUL character is an error.
A field that may be null may be left out. Dates are ISO strings, timestamps RFC 3339 with an offset or milliseconds (as the
schema says) since 1970, bytes base64, a union of several types `{"<branch>": value}`.

Not here: rules (registry.rules).
"""

from __future__ import annotations

from registry.parse.arrow import parse_arrow
from registry.parse.avro import parse_avro_container
from registry.parse.json import parse_json_array, parse_ndjson
from registry.parse.keys import parse_keys
from registry.parse.result import Limits, Parsed, RecordProblem

__all__ = [
    "Limits",
    "Parsed",
    "RecordProblem",
    "parse_arrow",
    "parse_avro_container",
    "parse_json_array",
    "parse_keys",
    "parse_ndjson",
]
