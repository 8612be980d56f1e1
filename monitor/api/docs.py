"""The reference of the API as one page, made on the server from the OpenAPI document: it needs no other site."""

import json
import re
from functools import lru_cache
from typing import Any

import jinja2
from fastapi import APIRouter
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

METHODS = ("get", "put", "post", "delete", "patch")

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} API {{ version }}</title>
<link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: CanvasText; background: Canvas; color-scheme: light dark; }
h2 { margin-top: 2.5rem; }
section.route { border-top: 1px solid GrayText; padding: .75rem 0; }
section.route h3 { margin: 0; font: 600 1rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
h1, p, td, th, summary { overflow-wrap: anywhere; }
th, td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; }
pre { overflow-x: auto; font-size: .85rem; }
input { font: inherit; width: 100%; padding: .4rem; box-sizing: border-box; }
[hidden] { display: none; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: block; padding: .3rem 0; }
  td { display: inline; }
  td:last-child { display: block; }
}
</style>
<script src="{{ root }}/docs/filter.js" defer></script>
</head>
<body>
<header><a href="{{ root }}/">Dashboard</a></header>
<main>
<h1>{{ title }} API {{ version }}</h1>
<p>Send a key with every request: <code>Authorization: Bearer kw_…</code>. Errors are
<code>application/problem+json</code>. The same as a document for tools:
<a href="{{ root }}/openapi.json">openapi.json</a>.</p>
<p><label>Find a route <input id="filter" type="search" autocomplete="off"></label></p>
{% for tag, routes in groups %}
<h2>{{ tag }}</h2>
{% for route in routes %}
<section class="route" id="{{ route.id }}">
<h3><span class="method">{{ route.method }}</span> {{ route.path }}</h3>
<p>{{ route.text | told }}</p>
{% if route.parameters %}
<table><thead><tr><th>Parameter</th><th>In</th><th>Type</th><th>What it is</th></tr></thead><tbody>
{% for p in route.parameters %}<tr><td><code>{{ p.name }}</code>{% if p.required %} (required){% endif %}</td>
<td>{{ p.place }}</td><td><code>{{ p.type }}</code></td><td>{{ p.text | told }}</td></tr>
{% endfor %}</tbody></table>
{% endif %}
{% for content_type, schema in route.bodies %}
<details><summary>Body: <code>{{ content_type }}</code></summary><pre>{{ schema }}</pre></details>
{% endfor %}
<p>Answers:
{% for status, text in route.answers %}<code>{{ status }}</code> {{ text }}{{ ", " if not loop.last }}{% endfor %}</p>
</section>
{% endfor %}
{% endfor %}
{% if schemas %}
<h2>Schemas</h2>
{% for name, schema in schemas %}
<section class="route"><h3>{{ name }}</h3><details><summary>Fields</summary><pre>{{ schema }}</pre></details></section>
{% endfor %}
{% endif %}
</main>
</body>
</html>
"""

_SCRIPT = """"use strict";
const input = document.getElementById("filter");
input.addEventListener("input", () => {
  const words = input.value.toLowerCase().split(/\\s+/);
  for (const route of document.querySelectorAll("section.route")) {
    const text = route.textContent.toLowerCase();
    route.hidden = !words.every((word) => text.includes(word));
  }
});
"""


_PERCENT = re.compile(r"(?<=\d) %")
_CODE = re.compile(r"`([^`]+)`")


def told(text: str) -> Markup:
    """A text for people as HTML, with what stands in backticks as code. Outside of it no line ends before a percent
    sign or within an arrow."""
    parts = _CODE.split(str(escape(text)))  # plain text and code by turns
    parts[::2] = [_PERCENT.sub("\N{NO-BREAK SPACE}%", one).replace(" -&gt; ", " → ") for one in parts[::2]]
    parts[1::2] = [f"<code>{one}</code>" for one in parts[1::2]]
    return Markup("".join(parts))  # noqa: S704 - escaped before


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["told"] = told
    return environment.from_string(_TEMPLATE)


def page(document: dict[str, Any], root: str) -> str:
    """The OpenAPI document as HTML."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document.get("paths", {}).items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                groups.setdefault((operation.get("tags") or ["other"])[0], []).append(_route(path, method, operation))
    schemas = document.get("components", {}).get("schemas", {})
    return _template().render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        root=root,
        groups=sorted(groups.items()),
        schemas=[(name, _indented(schema)) for name, schema in sorted(schemas.items())],
    )


def _route(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    bodies = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation.get("operationId", f"{method}-{path}"),
        "method": method.upper(),
        "path": path,
        "text": operation.get("description") or operation.get("summary", ""),
        "parameters": [
            {
                "name": one["name"],
                "place": one["in"],
                "required": one.get("required", False),
                "type": _type(one.get("schema", {})),
                "text": one.get("description", ""),
            }
            for one in operation.get("parameters", ())
        ],
        "bodies": [(kind, _indented(content.get("schema", {}))) for kind, content in bodies.items()],
        "answers": [(status, one.get("description", "")) for status, one in operation.get("responses", {}).items()],
    }


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    return str(schema.get("format") or schema.get("type", "any"))


def _indented(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page(request.app.openapi(), request.scope.get("root_path", "")))


@router.get("/docs/filter.js")
async def script() -> Response:
    """The page's only script: it hides the routes that do not hold the words looked for."""
    return Response(_SCRIPT, media_type="text/javascript")
