"""Words of others as a terminal, a log and a page may show them: nothing in them is obeyed, nothing is hidden.

Errors, progress and what commands print pass through here at one place each, ``UserError``, ``run.progress.Bar`` and
``cli.output.echo``, so that no caller has to think of it.
"""

from __future__ import annotations

import unicodedata

# Characters that turn the direction of what follows, and others that are not seen, would let a label look like another
# one. Joiners stay, some scripts are written with them.
JOINERS = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # controls, formats, surrogates, private use, separators of lines
LONGEST = 2000  # characters of an error that are read; the rest is some value


def one_line(text: str) -> str:
    """Return the text on one line; a control character, or one that is not seen, as its number: ``U+001B``."""
    return printable(" ".join(str(text).split()))


def printable(text: str, keep: str = "") -> str:
    """Return the text with all its spaces; what is hidden, but for the characters to ``keep``, as its number."""
    if text.isprintable():
        return text
    return "".join(character if character in keep else _visible(character) for character in text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return the text with its middle left out where it is longer."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in HIDDEN and character not in JOINERS
    return f"\N{REPLACEMENT CHARACTER}U+{ord(character):04X}" if hidden else character
