"""The page of the HTTP API, made of the server's own OpenAPI document while the site is built (a hook of mkdocs).

What a route takes and gives stands once, in the server. `reference` knows no server: any OpenAPI document will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PAGE = "api/http.md"
MARK = "<!-- here: every route, from the server's OpenAPI document -->"

_METHODS = ("get", "post", "put", "patch", "delete")
_REST = "Further"
_SAYS_NOTHING = "Successful Response"
"""FastAPI's words where a route has none of its own."""
_ENDLESS = 2**53
"""Bounds from here on only say that a number fits a machine."""
_Json = Mapping[str, Any]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text, with the routes where the page of the HTTP API has its mark.

    Raises:
        ValueError: that page has none.
    """
    if page.file.src_uri != PAGE:
        return markdown
    if MARK not in markdown:
        raise ValueError(f"{PAGE} lacks the mark {MARK}")
    return markdown.replace(MARK, reference(document()))


def document() -> dict[str, Any]:
    """Return the server's OpenAPI document; neither a model nor a catalogue is opened for it."""
    from velatura import Velatura
    from velatura.server import create_app
    from velatura.settings import default_settings

    return create_app(Velatura(default_settings())).openapi()


def reference(openapi: _Json) -> str:
    """Return every route of an OpenAPI document and every schema that it names, as Markdown."""
    groups: dict[str, list[str]] = {}
    for path, routes in openapi.get("paths", {}).items():
        for method in (each for each in _METHODS if each in routes):
            route = routes[method]
            group = next(iter(route.get("tags", ())), _REST)
            groups.setdefault(group, []).append("\n".join(_route(method, path, route)))
    parts = [text for group, routes in groups.items() for text in (f"## {group}", *routes)]
    if failures := _failures(openapi):
        parts += ["## Errors", "| status | |\n| --- | --- |\n" + "\n".join(failures)]
    schemas = openapi.get("components", {}).get("schemas", {})
    if schemas:
        parts += ["## What goes in and comes out"]
        parts += ["\n".join(_schema(name, schema)) for name, schema in sorted(schemas.items())]
    return "\n\n".join(parts)


def _route(method: str, path: str, route: _Json) -> Iterator[str]:
    yield f"### {method.upper()} {_plain(path)}\n"
    yield (route.get("description") or route.get("summary") or "").strip() + "\n"
    if asked := route.get("parameters"):
        yield "| parameter | | | |\n| --- | --- | --- | --- |"
        for each in asked:
            must = "needed" if each.get("required") else _told_default(each.get("schema", {}))
            told = _plain(each.get("description") or "")
            yield f"| `{each['name']}` | {kind(each.get('schema', {}))}, in the {each['in']} | {must} | {told} |"
        yield ""
    if body := _content(route.get("requestBody", {})):
        yield f"Takes {body}.\n"
    answers = route.get("responses", {})
    for answer in (answer for status, answer in answers.items() if not _is_error(status)):
        told = _plain(answer.get("description") or "")
        given = _content(answer) or "nothing"
        yield f"Gives {given}" + (f": {told.rstrip('.')}.\n" if told not in ("", _SAYS_NOTHING) else ".\n")
    if errors := [f"`{status}`" for status in answers if _is_error(status)]:
        yield f"Errors: {', '.join(errors)}."


def _is_error(status: str) -> bool:
    return not status.startswith("2")


def _failures(openapi: _Json) -> list[str]:
    """Return a row for each status that is an error, with what it means on whichever routes."""
    found: dict[str, dict[str, None]] = {}
    for routes in openapi.get("paths", {}).values():
        for route in (routes[method] for method in _METHODS if method in routes):
            for status, answer in route.get("responses", {}).items():
                if _is_error(status):
                    found.setdefault(status, {})[_plain(answer.get("description") or "")] = None
    return [f"| `{status}` | {' '.join(said)} |" for status, said in sorted(found.items())]


def _content(part: _Json) -> str:
    """Return the forms of a request's or an answer's body, in words; empty where it has none."""
    return " or ".join(
        f"{kind(form['schema'])} (`{name}`)" if form.get("schema") else f"`{name}`"
        for name, form in part.get("content", {}).items()
    )


def _schema(name: str, schema: _Json) -> Iterator[str]:
    yield f"### {name}\n"
    if told := schema.get("description"):
        yield f"{_plain(told)}\n"
    fields = schema.get("properties", {})
    if not fields:
        yield f"{kind(schema)}\n"
        return
    needed = schema.get("required", ())
    yield "| field | | | |\n| --- | --- | --- | --- |"
    for field, inner in fields.items():
        must = "needed" if field in needed else _told_default(inner)
        yield f"| `{field}` | {kind(inner)} | {must} | {_plain(inner.get('description') or '')} |"


def kind(schema: _Json) -> str:
    """Return what a schema lets through, in a few words, linked to the schema that it names.

    >>> kind({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
    'integer from 1, or null'
    >>> kind({"type": "array", "items": {"$ref": "#/components/schemas/Choice"}})
    'list of [Choice](#choice)'
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for together in ("anyOf", "oneOf", "allOf"):
        if together in schema:
            return ", or ".join(dict.fromkeys(kind(each) for each in schema[together]))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        inner = kind(schema.get("items", {}))
        return "list" if inner == "anything" else f"list of {inner}"
    bounds = {
        "from": schema.get("minimum"),
        "above": schema.get("exclusiveMinimum"),
        "to": schema.get("maximum"),
        "below": schema.get("exclusiveMaximum"),
    }
    named = schema.get("type", "anything")
    named = "text" if named == "string" else named
    return " ".join(
        [named, *(f"{word} {limit:.15g}" for word, limit in bounds.items() if limit is not None and limit < _ENDLESS)]
    )


def _told_default(schema: _Json) -> str:
    value = schema.get("default")
    return "" if value is None else f"`{_plain(str(value))}`"


def _plain(text: str) -> str:
    """Return a text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
