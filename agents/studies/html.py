"""What the pages of studies are made of: a document that asks no network for anything, sections, tables with intervals, pictures."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files

from agents.evaluation.stats import Estimate

__all__ = ["Cell", "document", "figure", "points", "section", "signed", "table"]

Cell = str | tuple[str, str]  # text, or text and class


def document(title: str, parts: Iterable[str]) -> str:
    """The whole HTML text; empty parts are left out."""
    title, style = html.escape(title), (files("agents.studies") / "style.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="closedloop">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{"".join(filter(None, parts))}
</main></body>
</html>
"""


def section(title: str, intro: str, body: str) -> str:
    """A heading, a paragraph, and what follows it as HTML."""
    return f"<section>\n<h2>{html.escape(title)}</h2>\n" + (f"<p>{html.escape(intro)}</p>\n" if intro else "") + body + "\n</section>\n"


def figure(svg: str, kind: str = "") -> str:
    """A picture; nothing for none."""
    return f'<figure class="{kind}">{svg}</figure>\n' if svg else ""


def table(heads: Sequence[str], body: Sequence[Sequence[Cell]], *, text: int) -> str:
    """A table that scrolls sideways where it is too wide. text: so many columns from the left hold words."""
    top = "".join(f'<th class="text">{h}</th>' if k < text or h in ("better", "kind") else f"<th>{h}</th>" for k, h in enumerate(heads))
    rows = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>\n" for row in body)
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n'


def _cell(given: Cell) -> str:
    text, kind = given if isinstance(given, tuple) else (given, "")
    shown = html.escape(text)
    if not kind and "[" in shown:  # intervals in smaller print
        value, _, rest = shown.partition(" [")
        shown = f"{value} <small>[{rest}</small>"
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def points(less: Estimate) -> str:
    """A difference of shares in points of a hundred: '-4.0 [-7.1, -0.9]'."""
    return signed(less, 1, 100.0) if less.n else "-"


def signed(estimate: Estimate, digits: int, scale: float = 1.0) -> str:
    """'+0.12 [+0.03, +0.20]', without a sign before 0."""
    values = (round(v * scale, digits) for v in (estimate.value, estimate.low, estimate.high))
    value, low, high = ("-" if math.isnan(v) else f"{v:+.{digits}f}" if v else f"{0:.{digits}f}" for v in values)
    return f"{value} [{low}, {high}]"
