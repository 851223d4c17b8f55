# SPDX-License-Identifier: BSD-2-Clause
"""Guest text on the operator's terminal: control characters are shown, never sent.

Every text that a guest or a client of the server can influence passes through :func:`shown` on its
way to a terminal, or to a file that people read in one. :func:`styled` makes a line for rich of
such texts, without interpreting markup in them.
"""

from __future__ import annotations

import unicodedata

from rich.text import Text

ACTS_ON_TERMINAL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: C0, DEL and C1 controls; format characters, which include
the bidirectional overrides; surrogates, which terminal encodings lack; line and paragraph
separators."""


def shown(text: str, *, keep: str = "") -> str:
    """``text`` with each control character as a backslash escape, ``\\x1b`` for ESC.

    Parameters
    ----------
    text
        Any text.
    keep
        Control characters to keep: ``"\\t"`` in a line of a console, ``"\\n"`` in a text of
        several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        _escape(character) if _acts(character) and character not in keep else character
        for character in text
    )


def styled(*parts: str | tuple[str, str], keep: str = "") -> Text:
    """A text for rich: each part escaped by :func:`shown`, plain or with a style; no markup."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((shown(text, keep=keep), style) for text, style in pairs))


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ACTS_ON_TERMINAL


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"
