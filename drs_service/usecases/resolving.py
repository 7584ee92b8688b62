"""From a DRS URI to the URL of the object: for compact identifiers, by asking the registries of prefixes."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

import msgspec

from drs_service.domain.drs_uri import HostnameUri, Prefix, UrlTemplate, parse_drs_uri, url_template
from drs_service.errors import IdentifierUnknown, NotFound, ResolverUnavailable, Unavailable
from drs_service.outgoing.http import Http, decoded

# DRS: "cache prefix resolver records [...] and occasionally refresh the records (such as every 24 hours)".
KNOWN_FOR = timedelta(hours=24)
UNKNOWN_FOR = timedelta(minutes=5)
MAX_KEPT = 4096


class Registry(Protocol):
    """Who knows where the objects of a prefix are."""

    async def template(self, prefix: Prefix) -> UrlTemplate | None:
        """None if it does not know the prefix. ResolverUnavailable if it does not say."""


class Resolver:
    """Finds objects by URI. The registries are asked in their order; the first that knows a prefix is believed."""

    def __init__(self, registries: Sequence[Registry], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._registries = registries
        self._clock = clock
        self._kept: dict[Prefix, Kept] = {}
        self._asking: dict[Prefix, asyncio.Task[UrlTemplate | None]] = {}

    async def resolve(self, uri: str) -> str:
        """The https URL of the object. DrsUriMalformed, IdentifierUnknown, ResolverUnavailable."""
        parsed = parse_drs_uri(uri)
        if isinstance(parsed, HostnameUri):
            return parsed.objects_url()
        template = await self._template(parsed.prefix)
        if template is not None:
            return template.url(parsed.accession)
        message = f"No resolver knows an https server for the prefix `{parsed.prefix}`."
        if parsed.perhaps_a_port:
            message += " If a hostname with a port was meant: a DRS URI cannot have a port."
        raise IdentifierUnknown(message)

    async def _template(self, prefix: Prefix) -> UrlTemplate | None:
        kept = self._kept.get(prefix)
        if kept is not None and self._clock() < kept.until:
            return kept.template
        task = self._asking.get(prefix)
        if task is None:
            task = self._asking[prefix] = asyncio.create_task(self._ask(prefix))
            task.add_done_callback(partial(self._asked, prefix))
        # Not awaited itself: whoever leaves must not take the answer from the others.
        await asyncio.wait({task})
        return task.result()

    def _asked(self, prefix: Prefix, task: asyncio.Task[UrlTemplate | None]) -> None:
        del self._asking[prefix]
        if not task.cancelled():
            task.exception()  # all who waited may have left

    async def _ask(self, prefix: Prefix) -> UrlTemplate | None:
        unavailable: ResolverUnavailable | None = None
        for registry in self._registries:
            try:
                template = await registry.template(prefix)
            except ResolverUnavailable as error:
                unavailable = error
                continue
            if template is not None:
                self._keep(prefix, template, KNOWN_FOR)
                return template
        if unavailable is not None:
            # The one that did not answer may be the one that knows.
            raise unavailable
        self._keep(prefix, None, UNKNOWN_FOR)
        return None

    def _keep(self, prefix: Prefix, template: UrlTemplate | None, length: timedelta) -> None:
        self._kept.pop(prefix, None)
        self._kept[prefix] = Kept(template, until=self._clock() + length.total_seconds())
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]


@dataclass(frozen=True, slots=True)
class Kept:
    template: UrlTemplate | None
    until: float


class Link(msgspec.Struct):
    href: str


class NamespaceLinks(msgspec.Struct):
    namespace: Link


class Namespace(msgspec.Struct):
    links: NamespaceLinks = msgspec.field(name="_links")


class Resource(msgspec.Struct, rename="camel"):
    url_pattern: str
    provider_code: str | None = None
    official: bool = False
    deprecated: bool = False


class EmbeddedResources(msgspec.Struct):
    resources: list[Resource] = []


class Resources(msgspec.Struct):
    embedded: EmbeddedResources = msgspec.field(name="_embedded", default_factory=EmbeddedResources)


class IdentifiersOrg:
    """The registry API of identifiers.org: https://docs.identifiers.org/pages/api.html"""

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def template(self, prefix: Prefix) -> UrlTemplate | None:
        search = f"{self._url}/restApi/namespaces/search/findByPrefix?prefix={prefix.namespace}"
        with translating(prefix):
            try:
                namespace = await self._http.get_json(search, Namespace)
            except NotFound:
                return None
            number = re.search(r"/namespaces/([0-9]+)\b", namespace.links.namespace.href)
            if number is None:
                raise Unavailable("identifiers.org does not say which namespace this is.")
            search = f"{self._url}/restApi/resources/search/findAllByNamespaceId?id={number[1]}"
            found = await self._http.get_json(search, Resources)
        return best(found.embedded.resources, provider=prefix.provider)


def best(resources: list[Resource], *, provider: str | None) -> UrlTemplate | None:
    """The template of the provider; without one, of the resource that is official and in use, if any is."""
    for resource in sorted(resources, key=lambda one: (one.deprecated, not one.official)):
        # Registered codes have upper case here and there; those in DRS URIs should not.
        if provider is None or provider == (resource.provider_code or "").lower():
            template = url_template(resource.url_pattern)
            if template is not None:
                return template
    return None


class Definition(msgspec.Struct):
    target: str | None = None


class Information(msgspec.Struct):
    definition: Definition


class N2t:
    """n2t.net: https://n2t.net

    DRS describes text with a line `redirect: https://…/$id`. Since 2024 it redirects to JSON that has the template as
    `definition.target`, with ${content}: https://github.com/CDLUC3/resolver
    """

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def template(self, prefix: Prefix) -> UrlTemplate | None:
        url = f"{self._url}/{prefix}:"
        with translating(prefix):
            try:
                answer = await self._http.get_text(url)
            except NotFound:
                return None
            if answer.lstrip().startswith("{"):
                target = decoded(answer, Information, url=url).definition.target
            else:
                line = re.search(r"^\s*redirect:\s*(\S+)\s*$", answer, re.MULTILINE)
                target = line and line[1]
        return url_template(target) if target else None


@contextmanager
def translating(prefix: Prefix) -> Iterator[None]:
    try:
        yield
    except (NotFound, Unavailable) as error:
        raise ResolverUnavailable(None, prefix=str(prefix), cause=str(error)) from error
