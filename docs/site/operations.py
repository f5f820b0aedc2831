"""The OpenAPI document as a page to read: every operation, and every schema that it speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["operations_page"]

Node = dict[str, Any]

_INTRODUCTION = """# Operations

What `GET /openapi.json` of a running Station says, as a page. Here is [the document](openapi.json) of one
without any settings. [HTTP](../http.md) tells the same as a story, with the reasons.
"""


def operations_page(document: Node) -> str:
    """Write the page."""
    lines = [_INTRODUCTION]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict):
                lines += _operation(document, f"{method.upper()} {path}", operation)
    lines += ["## Schemas", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", *_described(schema), *_properties(schema), ""]
    return "\n".join(lines)


def _operation(document: Node, title: str, operation: Node) -> Iterator[str]:
    yield from (f"## `{title}`", "", operation.get("summary", ""), "", operation.get("description", ""), "")
    yield from (f"Who may: {_who(operation)}.", "")
    if parameters := operation.get("parameters"):
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for parameter in (_resolved(document, one) for one in parameters):
            required = "required. " if parameter.get("required") else ""
            what = _cell(required + parameter.get("description", ""))
            yield f"| `{parameter['name']}` | {parameter['in']} | {_type(parameter['schema'])} | {what} |"
        yield ""
    if body := operation.get("requestBody"):
        yield from (f"Body{'' if body.get('required') else ', optional'}: {_content(body['content'])}", "")
    yield from ("| answer | | body |", "|---|---|---|")
    for status, given in operation["responses"].items():
        response = _resolved(document, given)
        yield f"| {status} | {_cell(response['description'])} | {_content(response.get('content', {}))} |"
    yield ""


def _who(operation: Node) -> str:
    ways = [
        " and ".join(
            f"`{name}`" + (f" with {_names(scopes)}" if scopes else "") for name, scopes in way.items()
        )
        for way in operation.get("security", [])
    ]
    return " or ".join(ways) or "everybody"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _content(content: Mapping[str, Node]) -> str:
    return "; ".join(f"{_type(media.get('schema', {}))} as `{kind}`" for kind, media in content.items())


def _properties(schema: Node) -> Iterator[str]:
    if not (properties := schema.get("properties")):
        return
    yield from ("| member | type | |", "|---|---|---|")
    for name, member in properties.items():
        required = "required. " if name in schema.get("required", ()) else ""
        yield f"| `{name}` | {_type(member)} | {_cell(required + member.get('description', ''))} |"


def _described(schema: Node) -> Iterator[str]:
    if text := schema.get("description"):
        yield from (text, "")


def _type(schema: Node) -> str:
    """A schema in a few words, and a link if it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if "enum" in schema:
        return _names([str(value) for value in schema["enum"]])
    kind = schema.get("type", "anything")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if words.startswith("array"):
        return f"{words} of {_type(schema.get('items', {}))}"
    return words + (f" ({schema['format']})" if "format" in schema else "")


def _resolved(document: Node, node: Node) -> Node:
    found = document
    if "$ref" not in node:
        return node
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
