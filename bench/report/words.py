"""Words of suites and results on their way into a page: one line, and nothing that a terminal or an editor obeys."""

from __future__ import annotations

import unicodedata

# Characters that turn the direction of what follows, and others that are not seen: they would let a label look like
# another one. Joiners stay, some scripts are written with them.
KEPT = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def line(text: str) -> str:
    """The text on one line; a control character, or one that is not seen, as its number: ``U+001B``."""
    return "".join(map(_seen, " ".join(str(text).split())))


def _seen(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} and character not in KEPT
    return f"\N{REPLACEMENT CHARACTER}U+{ord(character):04X}" if hidden else character
