"""The HTML of a mail, in a form that common mail programs can show.

Outlook uses Word's engine, which supports tables, inline styles and `<br>`, but not `white-space`, `max-width` or
padding of links: https://www.campaignmonitor.com/css/. The style sheet is for the dark mode of programs that support
`color-scheme`, such as Apple's. `dir="auto"` lets a customer's text run in the direction of its script: else the full
stop of an Arabic sentence stands at its beginning.
"""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from assistance.facts import Fact

_STYLE: Final = """\
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
  .page { background: #16181c !important; } .card { background: #23272e !important; }
  .card, .text { color: #e8eaed !important; } .soft { color: #a9b1bb !important; }
  .text a { color: #8ab4f8 !important; }
}
"""
_FONT: Final = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_TABLE: Final = 'role="presentation" cellpadding="0" cellspacing="0" border="0"'
_BREAKS: Final = "word-break:break-word;overflow-wrap:anywhere"


def page(
    title: str, description: str, facts: Sequence[Fact], buttons: Iterable[tuple[str, str]], notes: Iterable[str]
) -> str:
    """The HTML: the title, the description as it was typed, the facts, the buttons, and the notes in small print.

    `buttons` has the text and the URL of each button.
    """
    rows = "".join(map(_row, facts))
    about = f'<table {_TABLE} width="100%" style="margin-top:16px">{rows}</table>' if rows else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
        f"<style>{_STYLE}</style></head>"
        '<body class="page" style="margin:0;padding:0;background:#f4f5f7">'
        f'<table {_TABLE} class="page" width="100%" bgcolor="#f4f5f7" style="background:#f4f5f7"><tr>'
        '<td align="center" style="padding:16px 8px">'
        f'<table {_TABLE} class="card" width="600" bgcolor="#ffffff" '
        f'style="width:100%;max-width:600px;background:#ffffff;border-radius:8px;{_FONT};color:#1b1f24"><tr>'
        '<td class="text" align="left" style="padding:20px 24px;font-size:16px;line-height:24px;color:#1b1f24">'
        f'<h2 style="margin:0 0 12px;font-size:20px;line-height:26px">{html.escape(title)}</h2>'
        f'<p dir="auto" style="margin:0;{_BREAKS}">{lines(description)}</p>{about}'
        f"{''.join(_button(name, url) for name, url in buttons)}"
        f'<p class="soft" style="margin:20px 0 0;font-size:13px;line-height:18px;color:#57606a;{_BREAKS}">'
        f"{'<br>'.join(map(lines, notes))}</p>"
        "</td></tr></table></td></tr></table></body></html>"
    )


def lines(text: str) -> str:
    """The text as HTML: escaped, with the line breaks and runs of spaces that mail programs otherwise collapse."""
    escaped = html.escape(text, quote=False).replace("\t", "    ").replace("\n", "<br>")
    return re.sub("(?<= ) |(?:^|(?<=<br>)) ", "&nbsp;", escaped)


def _row(fact: Fact) -> str:
    text = lines(fact.text)
    shown = f'<a href="{html.escape(fact.href)}">{text}</a>' if fact.href else text
    return (
        '<tr><td dir="auto" class="soft" valign="top" width="140" '
        f'style="padding:3px 12px 3px 0;width:30%;font-size:14px;line-height:20px;color:#57606a;{_BREAKS}">'
        f'{lines(fact.label)}</td><td dir="auto" class="text" valign="top" '
        f'style="padding:3px 0;font-size:14px;line-height:20px;color:#1b1f24;{_BREAKS}">{shown}</td></tr>'
    )


def _button(name: str, url: str) -> str:
    """A button: a table cell with a colour and a padding around a link, since Outlook ignores the padding of links."""
    style = "font-size:15px;line-height:20px;font-weight:bold;color:#ffffff;text-decoration:none"
    return (
        f'<table {_TABLE} style="margin-top:16px"><tr><td bgcolor="#0b57d0" '
        'style="padding:10px 18px;border-radius:6px;background:#0b57d0">'
        f'<a href="{html.escape(url)}" style="{style}"><span style="color:#ffffff">{html.escape(name)}</span></a>'
        "</td></tr></table>"
    )
