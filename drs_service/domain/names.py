"""File names: the one that was given, and the one that any file system and any DRS client can take."""

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from drs_service.errors import NameInvalid

MAX_CHARACTERS = 255
"""Code points; in UTF-8 they are 1020 bytes at most."""

# DRS asks for names of the POSIX portable filename character set. The specification prints it as [A-Za-z0-9.-_], which
# as a pattern holds the range from `.` to `_`, slashes and all.
_PORTABLE = re.compile(r"(?!-|\.\.?\Z)[A-Za-z0-9._-]+")
_UNDERSCORES_AND_UNPORTABLE = re.compile(r"[^A-Za-z0-9.-]+")

# RFC 8187 §3.2.1, attr-char: what need not be percent-encoded, beyond the letters, digits and `_.-~` of quote().
_ATTR_CHARS = "!#$&+^`|"

_DISPOSITION_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*(?P<key>[A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*=[ \t]*"""
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<token>[^ \t;"]*+))"""
)
_EXTENDED = re.compile(r"(?i:(utf-8|iso-8859-1))'[^']*'(.*)")  # RFC 8187 §3.2.1


@dataclass(frozen=True, slots=True)
class FileName:
    """A name that a file may have, in two spellings."""

    original: str
    """As it was given, in NFC."""
    portable: str
    """Of the characters A-Z a-z 0-9 . _ - only, not `.`, not `..`, not beginning with `-`."""

    def __post_init__(self) -> None:
        if not _PORTABLE.fullmatch(self.portable):
            raise ValueError(f"{self.portable!a} is not a portable file name")


def file_name(text: str) -> FileName:
    """Read a file name; NameInvalid says what is wrong with it."""
    # UAX #15: normalization makes nothing shorter by more than four times. What is longer is not worth the work.
    if len(text) > 4 * MAX_CHARACTERS:
        raise _too_long()
    original = unicodedata.normalize("NFC", text)
    _check_meaning(original)
    _check_characters(original)
    if len(original) > MAX_CHARACTERS:
        raise _too_long()
    return FileName(original, _portable(original))


def form_file_name(text: str) -> FileName:
    """Read the file name of a form's part; NameInvalid says what is wrong with it."""
    # RFC 7578 §4.2: "do not use directory path information that may be present." Browsers on Windows have sent
    # C:\directory\name.
    return file_name(re.split(r"[/\\]", text)[-1])


def content_disposition(name: FileName) -> str:
    """The Content-Disposition under which a download is saved as `name` (RFC 6266). Always printable ASCII."""
    # No character of the portable spelling needs escaping in a quoted-string.
    disposition = f'attachment; filename="{name.portable}"'
    if name.original == name.portable:
        return disposition
    # RFC 6266 §4.3: recipients prefer filename* and ignore filename; those that do not know it take the first.
    return f"{disposition}; filename*=UTF-8''{quote(name.original, safe=_ATTR_CHARS)}"


def name_in_disposition(field: str) -> str | None:
    """The name that a Content-Disposition gives; None if it gives none that can be read."""
    found = {
        match["key"].lower(): match["token"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
        for match in _DISPOSITION_PARAMETER.finditer(field)
    }
    # RFC 6266 §4.3: "recipients SHOULD pick "filename*" and ignore "filename"".
    if (extended := _EXTENDED.fullmatch(found.get("filename*", ""))) is not None:
        try:
            return unquote_to_bytes(extended[2]).decode(extended[1])
        except UnicodeDecodeError:
            pass
    return found.get("filename")


def _check_meaning(name: str) -> None:
    if not name:
        raise NameInvalid("The file name is empty.")
    if name in (".", ".."):
        raise NameInvalid(f"The file name is `{name}`, which means a directory.")


def _check_characters(name: str) -> None:
    for position, character in enumerate(name, start=1):
        where = f"U+{ord(character):04X} at character {position}"
        match unicodedata.category(character):
            case "Cc":
                raise NameInvalid(f"The file name contains a control character, {where}.")
            case "Cs":
                raise NameInvalid(f"The file name is not Unicode text: it contains half a surrogate pair, {where}.")
        if character == "/":
            raise NameInvalid(f"The file name contains a slash, {where}.")


def _too_long() -> NameInvalid:
    return NameInvalid(f"The file name is longer than {MAX_CHARACTERS} characters.")


def _portable(name: str) -> str:
    """The portable spelling; a name that is portable already is its own."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.category(c).startswith("M"))
    spelled = _UNDERSCORES_AND_UNPORTABLE.sub(_one_underscore, letters)
    # NFKD writes some characters as several. The end is kept: it has the extension.
    spelled = spelled[-MAX_CHARACTERS:]
    if spelled.startswith("-"):
        # Where a program would take it for an option.
        spelled = "_" + spelled[1:]
    # NFKD makes dots of characters that were none, such as U+2025.
    return "_" if spelled in ("", ".", "..") else spelled


def _one_underscore(run: re.Match[str]) -> str:
    """Underscores that were in the name stay as many as they were."""
    return run[0] if set(run[0]) == {"_"} else "_"
