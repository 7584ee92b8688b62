"""Who is asking: the one place that will read credentials. Until there are identities, everybody is anonymous."""

from drs_service.api.bodies import AnyRequest
from drs_service.domain.access import ANONYMOUS, Principal


def principal_of(_: AnyRequest) -> Principal:
    return ANONYMOUS
