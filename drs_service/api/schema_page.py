"""`/schema`: the OpenAPI document, and a page to read it. The page is one file and fetches nothing from elsewhere."""

import asyncio
from html import escape
from typing import Any

from litestar import Router
from litestar.connection import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222 }
h1 { font-weight: 600 } code { font: 0.95em ui-monospace, monospace }
details { border: 1px solid #ccc; border-radius: 6px; margin: 0.5rem 0; padding: 0.5rem 0.8rem }
summary { cursor: pointer } .method { display: inline-block; width: 4.5rem; font-weight: 600; color: #0a5 }
table { border-collapse: collapse } td { padding: 0.15rem 1rem 0.15rem 0; vertical-align: top }
"""


async def prepare(request: Request[Any, Any, Any]) -> None:
    """Make the document, once and in a thread: it takes a second, for which nobody else should wait."""
    await asyncio.to_thread(lambda: request.app.openapi_schema)


class SchemaPage(OpenAPIRenderPlugin):
    def __init__(self, root: str) -> None:
        """root: the path of the public URL."""
        super().__init__(path="/")
        self._document = f"{root}/schema/openapi.json"

    def receive_router(self, router: Router) -> None:
        # The framework answers whatever else lies under this path with a page of its own; here it is an `Error`.
        router.routes = [route for route in router.routes if not route.path_parameters]

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        info = openapi_schema["info"]
        operations = [
            operation_html(method, path, operation)
            for path, methods in openapi_schema["paths"].items()
            for method, operation in methods.items()
        ]
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
            f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
            f"<p>{escape(info.get('description', ''))}</p>"
            f'<p>For machines: <a href="{escape(self._document)}">{escape(self._document)}</a></p>'
            f"{''.join(operations)}</html>"
        ).encode()


def operation_html(method: str, path: str, operation: dict[str, Any]) -> str:
    responses = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(response.get('description', ''))}</td></tr>"
        for status, response in sorted(operation.get("responses", {}).items())
    )
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{responses}</table></details>"
    )
