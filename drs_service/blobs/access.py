"""How places that are reached over a network are reached."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """What is None is found as AWS's own tools find it: in their variables and files, or asked of the machine."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
