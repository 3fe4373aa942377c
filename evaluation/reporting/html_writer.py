"""The report as one HTML file that needs nothing else: pictures inside, no script, no network."""

from __future__ import annotations

from html import escape

from evaluation.reporting.figures.export import web_picture
from evaluation.reporting.report import Block, Grid, Heading, Paragraph, Picture

DPI = 170
_STYLE = """:root{color-scheme:light dark;--bg:#fff;--ink:#1B2026;--mute:#57606B;--line:#D5D9DE;--wash:#F4F5F7;--warn:#7A5600;--warnbg:#FDF4DC}
@media (prefers-color-scheme:dark){:root{--bg:#121517;--ink:#E6E9EC;--mute:#A7B0BA;--line:#343B42;--wash:#1C2024;--warn:#E8B84A;--warnbg:#2E2611}}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Arial,sans-serif}main{max-width:980px;margin:0 auto;padding:24px 20px 80px}
h1{font-size:26px;margin:0 0 8px}h2{font-size:20px;margin:40px 0 8px;border-bottom:1px solid var(--line)}nav{font-size:13px}nav a{margin-right:14px;color:inherit}
figure{margin:20px 0}figure img{display:block;max-width:100%;height:auto;background:#fff}figcaption,.note{font-size:13px;color:var(--mute);margin-top:6px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}caption{text-align:left;font-weight:600;padding:4px 0}
th,td{padding:3px 9px;text-align:left;vertical-align:top;border-top:1px solid var(--line)}th{background:var(--wash);font-weight:600}
.strong{background:var(--warnbg);color:var(--warn);padding:8px 12px;font-weight:600}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure,tr{break-inside:avoid}.wide{overflow:visible}}"""


def as_html(blocks: list[Block]) -> str:
    """The whole file."""
    title = next(b.text for b in blocks if isinstance(b, Heading))
    parts = [b.text for b in blocks if isinstance(b, Heading)][1:]
    links = " ".join(f'<a href="#{_anchor(p)}">{escape(p)}</a>' for p in parts)
    body, first = [], True
    for block in blocks:
        if isinstance(block, Heading):
            body.append(
                f'<h1>{escape(block.text)}</h1>\n<nav aria-label="Parts">{links}</nav>'
                if first
                else f'<h2 id="{_anchor(block.text)}">{escape(block.text)}</h2>'
            )
            first = False
        else:
            body.append(_block(block))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>{escape(title)}</title><link rel="icon"'
        f' href="data:,"><style>{_STYLE}</style></head>\n<body><main>\n'
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _anchor(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text.lower())


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return (
            f'<p class="strong">{escape(block.text)}</p>'
            if block.strong
            else f"<p>{escape(block.text)}</p>"
        )
    if isinstance(block, Picture):
        caption = escape(block.caption)
        return (
            f'<figure><img src="{web_picture(block.drawn.figure, block.drawn.kind, DPI)}"'
            f' alt="{escape(block.title)}: {caption}"><figcaption>{caption}</figcaption></figure>'
        )
    if isinstance(block, Grid):
        shown = block.table.shown()
        head = "".join(f'<th scope="col">{escape(str(c))}</th>' for c in shown.columns)
        rows = "\n".join(
            "<tr>" + "".join(f"<td>{escape(v)}</td>" for v in row) + "</tr>"
            for row in shown.itertuples(index=False)
        )
        return (
            '<div class="wide" tabindex="0" role="region"'
            f' aria-label="{escape(block.title)}"><table><caption>{escape(block.title)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div><p'
            f' class="note">{escape(block.table.note)}</p>'
        )
    raise TypeError(type(block))
