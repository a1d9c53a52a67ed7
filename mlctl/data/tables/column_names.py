"""Column names of two files of one table, which may differ in case and in blanks."""

from __future__ import annotations

from collections.abc import Sequence


def match_names(found: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Return the wanted name of each column that a file has under a name in another case, or with other blanks.

    A column that has a wanted name already is not in the result, and neither is one of several with the same name.
    """
    absent = [name for name in wanted if name not in found]
    if not absent:
        return {}
    by_key: dict[str, list[str]] = {}
    for name in found:
        if name not in wanted:
            by_key.setdefault(_key(name), []).append(name)
    keys = [_key(name) for name in absent]
    return {
        by_key[key][0]: name
        for name, key in zip(absent, keys, strict=True)
        if len(by_key.get(key, ())) == 1 and keys.count(key) == 1
    }


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
