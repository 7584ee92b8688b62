"""`GET /sessions/{session_id}/enter`: a link is exchanged for a cookie, with which this browser drives the session.

The link is used up when the cookie is first shown, not when it is made: a chat that looks where it leads keeps none.

The cookie goes to the paths of that one session alone, no script can read it, and no other site can have it sent with
anything but a link that is followed.
"""

from typing import Annotated
from urllib.parse import urlsplit

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.types import ASGIApp

from drs_service.api.bodies import AnyRequest
from drs_service.api.errors import Error
from drs_service.api.public import PublicUrls
from drs_service.api.streaming import Bytes
from drs_service.errors import SessionNotFound
from drs_service.usecases.sessions import Sessions

Code = Annotated[str, QueryParameter(description="of the link")]


def cookie_name(session_id: str) -> str:
    """Of the cookie that drives this session."""
    return f"drs_session_{session_id}"


def routes(sessions: Sessions, urls: PublicUrls) -> list[HTTPRouteHandler]:
    @get(
        "/sessions/{session_id:str}/enter",
        status_code=303,
        summary="Open a session in a browser",
        description="Follows a link. It is used up when the cookie is first shown at the workspace: looking where it "
        "leads, as chats do for a preview, or a prefetch is no use.",
        responses={
            303: ResponseSpec(None, description="To the workspace, with a cookie that drives it."),
            404: ResponseSpec(Error, description="The link was used already, or is too old, or is none."),
        },
    )
    async def get_enter(request: AnyRequest, session_id: FromPath[str], code: Code) -> ASGIApp:
        if is_ahead(request):
            raise SessionNotFound
        visited = await sessions.visit(session_id, code)
        return Bytes(
            303,
            {
                "location": f"{urls.socket(session_id)}/",
                "set-cookie": cookie(session_id, visited.cookie, urls),
                "cache-control": "no-store",
                "referrer-policy": "no-referrer",
                "content-length": "0",
            },
        )

    return [get_enter]


def cookie(session_id: str, value: str, urls: PublicUrls) -> str:
    """RFC 6265bis 4.1. It has no end of its own: what it opens has."""
    url = urlsplit(urls.socket(session_id))
    secure = "; Secure" if url.scheme == "https" else ""
    return f"{cookie_name(session_id)}={value}; Path={url.path}; HttpOnly; SameSite=Lax{secure}"


def is_ahead(request: AnyRequest) -> bool:
    """Whether a browser only wants to have it ready, in case that somebody follows the link."""
    return any("prefetch" in request.headers.get(name, "").lower() for name in ("sec-purpose", "purpose", "x-moz"))
