"""Structured fields (RFC 9651): the grammar, and the items and dictionaries that are read here.

Whatever does not follow the grammar to its end is no such field. What it means then, the field says.
"""

import re

# By section of RFC 9651. A dictionary may have members that we do not know, with values of any kind: each is read to
# its end.
_KEY = r"[a-z*][a-z0-9_.*-]*+"  # 3.1.2
BYTES = r":[A-Za-z0-9+/=]*+:"  # 3.3.5
_BARE_ITEM = (
    r"(?:-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})"  # 3.3.1, 3.3.2
    r'|"(?:[ !#-\[\]-~]|\\["\\])*+"'  # 3.3.3
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*+"  # 3.3.4
    rf"|{BYTES}|\?[01]"  # 3.3.6
    r"|@-?[0-9]{1,15}(?![0-9.])"  # 3.3.7
    r'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*+")'  # 3.3.8
)
_PARAMETERS = rf"(?:; *+{_KEY}(?:={_BARE_ITEM})?+)*+"  # 3.1.2
_ITEM = rf"{_BARE_ITEM}{_PARAMETERS}"
_INNER_LIST = rf"\( *+(?:{_ITEM}(?: ++|(?=\))))*+\)"  # 3.1.1
_MEMBER = re.compile(rf"(?P<key>{_KEY})(?:=(?P<value>{_BARE_ITEM}|{_INNER_LIST}))?+{_PARAMETERS}")  # 3.2
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")
_WHOLE_ITEM = re.compile(rf"(?P<value>{_BARE_ITEM}){_PARAMETERS}")  # 3.3
_INTEGER = re.compile(r"-?[0-9]{1,15}")  # 3.3.1


def boolean(field: str) -> bool | None:
    """The boolean that the field is; None if it is none. Its parameters mean nothing here."""
    return {"?0": False, "?1": True}.get(_item(field) or "")


def integer(field: str) -> int | None:
    """The integer that the field is; None if it is none."""
    item = _item(field)
    return int(item) if item is not None and _INTEGER.fullmatch(item) else None


def _item(field: str) -> str | None:
    found = _WHOLE_ITEM.fullmatch(field.strip(" "))
    return found["value"] if found is not None else None


def dictionary(field: str) -> dict[str, str | None] | None:
    """Each key with its value as written, or None where it stands alone. None if it is no dictionary."""
    field = field.strip(" ")
    members: dict[str, str | None] = {}
    position = 0
    # RFC 9651 §4.2: an empty field is an empty dictionary; §4.2.2: a comma at the end is an error.
    while field:
        member = _MEMBER.match(field, position)
        if member is None:
            return None
        # RFC 9651 §4.2.2: of a key that comes again, "overwrite its value".
        members[member["key"]] = member["value"]
        if member.end() == len(field):
            break
        comma = _COMMA.match(field, member.end())
        if comma is None:
            return None
        position = comma.end()
    return members
