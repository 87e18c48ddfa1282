"""The description as one page of HTML: no script, nothing loaded from anywhere."""

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

_PREFIX = "#/components/schemas/"
_BOUNDS = (
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "matches {}"),
    ("default", "default {}"),
)


@cache
def _style() -> str:
    return (files("impact.openapi") / "page.css").read_text(encoding="utf-8")


def _style_hash() -> str:
    return base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()


PAGE_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_style_hash()}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def render(description: dict[str, Any]) -> str:
    """The page of an OpenAPI description as ``describe`` makes it."""
    info = description["info"]
    tags = [tag["name"] for tag in description["tags"]]
    links = "".join(f'<li><a href="#{_slug(tag)}">{escape(tag)}</a></li>' for tag in tags)
    body = "".join(_section(tag, description) for tag in tags)
    schemas = "".join(
        _schema(name, schema)
        for name, schema in sorted(description["components"]["schemas"].items())
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{info["title"]} API'
        '</title><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_style()}</style></head><body>"
        f'<nav aria-label="Parts"><ul>{links}<li><a href="#schemas">Schemas</a></li></ul></nav>'
        f"<main><h1>{info['title']} API <small class=note>{info['version']}</small></h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p>For programs: <a href="/schema/openapi.json">openapi.json</a>.</p>'
        f'{_security(description)}{body}<h2 id="schemas">Schemas</h2>{schemas}</main></body></html>'
    )


def _security(description: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(scheme['description'])}</td></tr>"
        for name, scheme in description["components"]["securitySchemes"].items()
    )
    return f"<h2>Credentials</h2><table>{rows}</table>"


def _section(tag: str, description: dict[str, Any]) -> str:
    operations = "".join(
        _operation(path, method, operation, description)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    )
    return f'<h2 id="{_slug(tag)}">{escape(tag)}</h2>{operations}'


def _operation(
    path: str, method: str, operation: dict[str, Any], description: dict[str, Any]
) -> str:
    text = escape(operation.get("description", ""))
    return (
        f'<details id="{operation["operationId"]}"><summary><span class="method {method}">'
        f"{method.upper()}</span><code>{escape(path)}</code><span class=note>"
        f"{escape(operation['summary'])}</span></summary><div>"
        f"{f'<p>{text}</p>' if text else ''}"
        f"<p class=note>Operation <code>{operation['operationId']}</code>."
        f" {_needs(operation['security'])}</p>"
        f"{_parameters(operation, description)}{_body(operation)}{_answers(operation, description)}"
        "</div></details>"
    )


def _needs(alternatives: list[dict[str, Any]]) -> str:
    named = [" and ".join(map(escape, each)) for each in alternatives if each]
    if not named:
        return "Needs no credentials."
    optional = len(named) < len(alternatives)
    return f"{'May carry' if optional else 'Needs'} {', or '.join(named)}."


def _parameters(operation: dict[str, Any], description: dict[str, Any]) -> str:
    rows = []
    for given in operation["parameters"]:
        each = given
        if "$ref" in given:
            name = given["$ref"].rpartition("/")[2]
            each = description["components"]["parameters"][name]
        example = each.get("example")
        shown = f" Example: <code>{escape(_text(example))}</code>" if example is not None else ""
        rows.append(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{each['in']}"
            f"{', required' if each.get('required') else ''}</td><td>{_type(each['schema'])}</td>"
            f"<td>{escape(each.get('description', ''))}{shown}</td></tr>"
        )
    if not rows:
        return ""
    head = "<tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>"
    return f"<h3>Parameters</h3><table>{head}{''.join(rows)}</table>"


def _body(operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]["application/json"]
    example = escape(json.dumps(content.get("example"), indent=2, ensure_ascii=False))
    required = "required" if operation["requestBody"]["required"] else "may be left out"
    return f"<h3>Body</h3><p>{_type(content['schema'])}, {required}</p><pre>{example}</pre>"


def _answers(operation: dict[str, Any], description: dict[str, Any]) -> str:
    rows = []
    for status, given in operation["responses"].items():
        answer = description["components"]["responses"][status] if "$ref" in given else given
        kinds = [
            f"<code>{escape(kind)}</code> {_type(each['schema'])}"
            for kind, each in answer.get("content", {}).items()
        ]
        rows.append(
            f"<tr><td>{status}</td><td>{escape(answer['description'])}</td>"
            f"<td>{'<br>'.join(kinds)}</td></tr>"
        )
    return f"<h3>Answers</h3><table>{''.join(rows)}</table>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = escape(schema.get("description", ""))
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{'required' if field in required else ''}"
        f"</td><td>{_type(kind)}</td></tr>"
        for field, kind in schema.get("properties", {}).items()
    )
    closed = schema.get("additionalProperties") is False
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary><div>'
        f"{f'<p>{text}</p>' if text else ''}<table>{rows}</table>"
        f"{'<p class=note>Other fields are refused.</p>' if closed else ''}</div></details>"
    )


def _type(schema: dict[str, Any]) -> str:
    """The type in words, with links to the schemas it names."""
    return f"{_kind(schema)}{''.join(f', {text}' for text in _bounds(schema))}"


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_PREFIX))
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(_text(value))}</code>" for value in schema["enum"])
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(kind, list):
        return " or ".join(kind)
    return escape(schema.get("format", kind))


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    for key, words in _BOUNDS:
        if key in schema and schema[key] is not None:
            # The guard against a newline at the end says nothing to people.
            text = _text(schema[key]).removesuffix("(?!\\n)")
            yield words.format(f"<code>{escape(text)}</code>")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _slug(tag: str) -> str:
    return tag.lower().replace(" ", "-")
