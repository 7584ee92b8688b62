"""`/sessions`: for whoever has one. Without its secret every path of a session answers as if there were none."""

from litestar import post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from drs_service.api.answers import Json
from drs_service.api.bearer import SECURITY, bearer_of
from drs_service.api.bodies import AnyRequest
from drs_service.api.drs.finding import DEFAULT_PAGE, PageSize, PageToken, checked_size
from drs_service.api.errors import Error
from drs_service.api.json_requests import strictly
from drs_service.api.principals import principal_of
from drs_service.api.public import PublicUrls
from drs_service.api.sessions.shapes import (
    CreatedSession,
    LinkSaid,
    ListedSessions,
    NewSession,
    Session,
    created,
    link,
    listed,
    shown,
)
from drs_service.usecases.sessions import Sessions

NOT_YOURS = {404: ResponseSpec(Error, description="There is no such session, or its secret is not shown.")}
NO_STORE = "no-store"


def routes(sessions: Sessions, urls: PublicUrls) -> list[HTTPRouteHandler]:
    @post(
        "/sessions",
        summary="Create a session",
        description="For a remote workspace that will dial in. Its secrets are told in this answer and never again.",
        responses={
            201: ResponseSpec(CreatedSession, description="The session, its secret, its join token and a link."),
            400: ResponseSpec(Error, description="A text or a time is not one that a session can have."),
            429: ResponseSpec(Error, description="There are as many live sessions as there may be."),
        },
    )
    async def post_session(request: AnyRequest, data: JSONBody[NewSession]) -> ASGIApp:
        said = await strictly(request, type(data))
        made = await sessions.create(
            principal_of(request), name=said.name, target=said.target, life=said.max_seconds, idle=said.idle_seconds
        )
        headers = {"location": urls.session(made.session.id)}
        return Json(created(made, urls), status=201, cache_control=NO_STORE, headers=headers)

    @route(
        "/sessions",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="List your sessions",
        description="In the order in which they were created, page by page; those that are over stay for a month. "
        "While you are anonymous their ids are left out.",
        responses={
            200: ResponseSpec(ListedSessions, description="A page of sessions."),
            400: ResponseSpec(Error, description="The page_size or the page_token is not one of this service."),
        },
    )
    async def get_sessions(
        request: AnyRequest, page_size: PageSize = DEFAULT_PAGE, page_token: PageToken = None
    ) -> ASGIApp:
        page = await sessions.page(principal_of(request), size=checked_size(page_size), token=page_token)
        found = [listed(one) for one in page.sessions]
        listing = ListedSessions(sessions=found, next_page_token=page.next_token or UNSET)
        return Json(listing, cache_control=NO_STORE)

    @route(
        "/sessions/{session_id:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Show a session",
        description="With its history; also for a month after its end.",
        security=SECURITY,
        responses={200: ResponseSpec(Session, description="The session as it stands."), **NOT_YOURS},
    )
    async def get_session(request: AnyRequest, session_id: FromPath[str]) -> ASGIApp:
        return Json(shown(await sessions.show(session_id, bearer_of(request)), urls), cache_control=NO_STORE)

    @route(
        "/sessions/{session_id:str}",
        http_method=[HttpMethod.DELETE],
        status_code=202,
        summary="Stop a session",
        description="Its agent is told to end, and has half a minute for that. May be said again.",
        security=SECURITY,
        responses={202: ResponseSpec(Session, description="The session, which ends or has ended."), **NOT_YOURS},
    )
    async def delete_session(request: AnyRequest, session_id: FromPath[str]) -> ASGIApp:
        stopped = await sessions.stop(session_id, bearer_of(request))
        return Json(shown(stopped, urls), status=202, cache_control=NO_STORE)

    @post(
        "/sessions/{session_id:str}/links",
        summary="Make a link to a session",
        description="It is good for ten minutes, and opens the session in the browser that follows it first.",
        security=SECURITY,
        responses={
            201: ResponseSpec(LinkSaid, description="The link."),
            **NOT_YOURS,
            410: ResponseSpec(Error, description="The session has ended."),
        },
    )
    async def post_link(request: AnyRequest, session_id: FromPath[str]) -> ASGIApp:
        made = await sessions.link(session_id, bearer_of(request))
        return Json(link(made, session_id, urls), status=201, cache_control=NO_STORE)

    return [post_session, get_sessions, get_session, delete_session, post_link]
