"""What S3 says of objects in its archives, and what it is asked to bring back.

class of storage                      read at once   brought back
GLACIER, DEEP_ARCHIVE                 no             as a copy, for some days
INTELLIGENT_TIERING, x-amz-archive-…  no             for good: it is put away again when nobody reads it
GLACIER_IR, and every other           yes
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from drs_service.blobs.driver import Condition, Frost
from drs_service.domain.thawing import Thaw, Tier

ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
DEEP = {"DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS"}
EXPIRY = re.compile(r'expiry-date="([^"]+)"')


def condition_of(head: Mapping[str, Any]) -> Condition:
    """What the answer to a HEAD says of the object."""
    said = head.get("Restore", "")
    if 'ongoing-request="true"' in said:
        return Condition(Frost.THAWING)
    if head.get("ArchiveStatus") is None and head.get("StorageClass") not in ARCHIVES:
        return Condition(Frost.NONE)
    expiry = EXPIRY.search(said)
    return Condition(Frost.NONE, parsedate_to_datetime(expiry[1])) if expiry else Condition(Frost.ARCHIVED)


def restore_request(head: Mapping[str, Any], how: Thaw) -> Mapping[str, object]:
    """How such an object is brought back."""
    is_deep = {head.get("StorageClass"), head.get("ArchiveStatus")} & DEEP
    tier = Tier.STANDARD if is_deep and how.tier is Tier.EXPEDITED else how.tier
    asked = {"GlacierJobParameters": {"Tier": tier.capitalize()}}
    # S3 refuses a number of days for what does not expire.
    return asked if head.get("ArchiveStatus") is not None else {**asked, "Days": how.days}
