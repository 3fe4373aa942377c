"""The few pages that are not Streamlit's: the Start button, and refusals as clear sentences."""

from __future__ import annotations

from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<meta name="referrer" content="same-origin"><link rel="icon" href="data:,"><style>
:root{{color-scheme:light dark;--bg:#fff;--ink:#1B2026;--mute:#57606B;--accent:#4F46A5}}
@media (prefers-color-scheme:dark){{:root{{--bg:#121517;--ink:#E6E9EC;--mute:#A7B0BA;--accent:#6E62D2}}}}
body{{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--bg);color:var(--ink)}}
body,button{{font-family:Inter,system-ui,"Segoe UI",sans-serif;font-size:16px;line-height:1.5}}
main{{width:480px;max-width:calc(100vw - 64px)}}h1{{font-size:22px;line-height:1.3;font-weight:600;margin:0 0 8px}}
p{{margin:0 0 24px;color:var(--mute)}}
.go{{display:inline-block;line-height:44px;text-decoration:none}}
button,.go{{height:44px;padding:0 24px;border:0;border-radius:4px;background:var(--accent);color:#fff;font-weight:500;cursor:pointer}}
button:focus-visible,.go:focus-visible{{outline:2px solid var(--accent);outline-offset:2px}}</style></head>
<body><main><h1>{title}</h1><p>{text}</p>{more}</main></body></html>
"""


def sentence(title: str, text: str, link: tuple[str, str] | None = None) -> bytes:
    """A page that says one thing. link: a button's address and words."""
    more = (
        f'<a class="go" href="{escape(link[0], quote=True)}">{escape(link[1])}</a>' if link else ""
    )
    return _PAGE.format(title=escape(title), text=escape(text), more=more).encode()


def start(token: str, action: str) -> bytes:
    """The page behind an invitation link.

    Only its POST signs in: a cookie set by the GET would be lost when the link is opened from
    webmail.
    """
    hidden = f'<input type="hidden" name="token" value="{escape(token, quote=True)}">'
    form = (
        f'<form method="post" action="{escape(action, quote=True)}">{hidden}<button'
        " autofocus>Start</button></form>"
    )
    return _PAGE.format(
        title="DeepMiner",
        text="You have been invited. Press Start to sign in on this device.",
        more=form,
    ).encode()
