"""Where a file lies in a place that is not ours, as text that any database and any terminal takes.

Paths there are bytes that others have chosen. What is not UTF-8, or a control character, is percent-encoded, and so is
the percent sign: the text says exactly which bytes they are.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from drs_service.domain.names import MAX_CHARACTERS, FileName, file_name
from drs_service.errors import NameInvalid

_ENCODED = re.compile("[\x00-\x1f\x7f-\x9f%\ud800-\udfff]")  # half a surrogate stands for a byte that is not UTF-8


def spelled(path: bytes) -> str:
    """The text of a path."""
    return _ENCODED.sub(_percent, path.decode(errors="surrogateescape"))


def unspelled(text: str) -> bytes:
    """The path of a text."""
    return unquote_to_bytes(text)


def name_of(text: str) -> FileName:
    """The file name of a path: its last part, as near to how it is written there as a name can be."""
    last = unspelled(text).rstrip(b"/").rpartition(b"/")[2].decode(errors="replace")
    plain = "".join("_" if unicodedata.category(one) in {"Cc", "Cs"} else one for one in last)
    plain = unicodedata.normalize("NFC", plain)[-MAX_CHARACTERS:]  # the end has the extension
    try:
        return file_name(plain)
    except NameInvalid:  # `.`, `..` or nothing at all: what an object store may have as a name
        return file_name("_")


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogateescape"))
