"""The schema as a page, without scripts and without anything from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>DeepSeg server</title>
<style>body{font:16px/1.5 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}code,pre{background:#eee;padding:2px}
pre{padding:.6em;overflow:auto}table{border-collapse:collapse}td{padding:.1em 1em .1em 0;vertical-align:top}</style>
<h1>DeepSeg server</h1>
"""


def page(schema: dict[str, Any]) -> str:
    """HTML of an OpenAPI schema."""
    version = escape(str(schema["info"]["version"]))
    parts = [_HEAD, f"<p>{escape(schema['info']['description'])}</p>"]
    parts.append(f'<p>Version {version} of the protocol; <a href="v{version}/openapi.json">its schema</a>.</p>')
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(about.get('summary', ''))}")
            parts.append(f" {escape(about.get('description', ''))}</p>")
            if given := [p for p in about.get("parameters", ()) if p["in"] == "query"]:
                parts.append(_table((p["name"], p["in"], _kind(p["schema"])) for p in given))
            if body := about.get("requestBody"):
                parts.append(f"<p>Body: {_kind(next(iter(body['content'].values()))['schema'])}</p>")
    parts.append("<h1>Bodies and answers</h1>")
    for name, model in schema["components"]["schemas"].items():
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(model.get("description", ""))}</p>')
        fields = model.get("properties", {}).items()
        parts.append(_table((n, _kind(f), escape(f.get("description", ""))) for n, f in fields))
    return "\n".join(parts)


def _table(rows: Any) -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if one_of := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, one_of))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(str(schema.get("const", schema.get("type", "any"))))
