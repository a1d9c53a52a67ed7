"""Scripts without blanks between words, such as Chinese and Thai: in texts of these, characters matter most."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNSPACED_SHARE = 0.2  # share of such characters from which on a text counts as one without blanks
# Thai, Lao, Tibetan, Burmese, Khmer, kana and Chinese characters
_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def share_unspaced(texts: Sequence[str]) -> float:
    """Return the share of characters of scripts without blanks between words."""
    letters = sum(len(text) - text.count(" ") for text in texts)
    return sum(len(_UNSPACED.findall(text)) for text in texts if not text.isascii()) / max(letters, 1)
