"""The order of a target's classes: of two, the positive one comes second, as probabilities and scores need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlctl.data.splits import MIN_ROWS_PER_CLASS
from mlctl.domain.short_texts import list_some
from mlctl.errors import UsageError, did_you_mean

POSITIVE_WORDS = frozenset(
    [
        "1",
        "yes",
        "y",
        "true",
        "t",
        "on",
        "+",
        "positive",
        "pos",
        "present",
        "ja",
        "wahr",
        "oui",
        "vrai",
        "si",
        "sí",
        "sì",
        "verdadero",
        "vero",
        "sim",
        "verdadeiro",
        "tak",
        "prawda",
        "да",
        "истина",
        "evet",
        "doğru",
        "ano",
        "igen",
        "ναι",
        "kyllä",
        "da",
        "是",
        "真",
        "有",
        "好评",
        "正面",
        "阳性",
        "はい",
        "예",
        "ใช่",
        "có",
        "نعم",
        "हाँ",
        "spam",
        "fraud",
        "fraudulent",
        "malignant",
        "sick",
        "disease",
        "diseased",
        "defect",
        "defective",
        "attack",
        "abnormal",
        "anomaly",
        "churned",
        "exited",
    ]
)
NEGATIVE_WORDS = frozenset(
    [
        "0",
        "-1",
        "no",
        "n",
        "false",
        "f",
        "off",
        "-",
        "negative",
        "neg",
        "absent",
        "nein",
        "falsch",
        "non",
        "faux",
        "falso",
        "não",
        "nie",
        "fałsz",
        "нет",
        "ложь",
        "hayır",
        "yanlış",
        "ne",
        "nem",
        "όχι",
        "ei",
        "nu",
        "否",
        "差评",
        "负面",
        "阴性",
        "假",
        "无",
        "無",
        "いいえ",
        "아니요",
        "ไม่",
        "không",
        "لا",
        "नहीं",
        "ham",
        "genuine",
        "legitimate",
        "benign",
        "healthy",
        "normal",
        "none",
        "ok",
        "stayed",
    ]
)
MAX_LISTED = 4
RARE = 0.4  # share below which a class is the rarer one: of about as many rows, new data must not change the order
BY_MEANING, RARER, AS_SET, BY_NAME = "by its meaning", "the rarer", "as set", "the last by name"


def order_classes(counts: Mapping[str, int], positive: str = "", *, name: str = "") -> tuple[list[str], str]:
    """Return the classes in order, and why the second of two is the positive one; "" for more classes.

    Of two classes, the positive one has a name such as "yes", "1", "+" or "spam", or is the opposite of one such as
    "no"; otherwise it is the rarer one. More classes are in the order of `counts`.

    Raises UsageError if `positive` is not the name of one of two classes.

    Args:
        counts: Number of rows of each class, in the order of the names.
        positive: The positive class that the user has set; "" chooses it.
        name: Name of the target, for messages.
    """
    names = list(counts)
    if len(names) != 2:
        if positive:
            raise UsageError(
                f"positive={positive}: {name or 'the target'} has {len(names)} classes",
                "remove it: it is for two classes",
            )
        return names, ""
    chosen, reason = _set_class(names, positive, name) if positive else _choose(counts)
    return [*(other for other in names if other != chosen), chosen], reason


def _set_class(names: Sequence[str], positive: str, name: str) -> tuple[str, str]:
    matches = [other for other in names if other == positive] or [
        other for other in names if other.casefold() == positive.casefold()
    ]
    if len(matches) != 1:
        raise UsageError(
            f"positive={positive} is no class of {name or 'the target'}",
            did_you_mean(positive, names) or f"the classes are {', '.join(names)}",
        )
    return matches[0], AS_SET


def _choose(counts: Mapping[str, int]) -> tuple[str, str]:
    first, second = counts
    signs = [_sign(name) for name in counts]
    # alone, a letter or a digit means little: m and f, 1 and 2
    is_clear = all(signs) or any(
        sign and len(name.strip("-")) > 1 for name, sign in zip(counts, signs, strict=True)
    )
    if signs[0] != signs[1] and is_clear:
        return (first if signs[0] > signs[1] else second), BY_MEANING
    if min(counts.values()) < RARE * sum(counts.values()):
        return min(counts, key=counts.__getitem__), RARER
    return second, BY_NAME


def _sign(name: str) -> int:
    """Return 1 for a word that means yes, -1 for one that means no, else 0."""
    word = name.casefold().strip()
    return (word in POSITIVE_WORDS) - (word in NEGATIVE_WORDS)


def describe_positive(classes: Sequence[str], reason: str, change: str = "") -> str:
    """Say in one line which class is the positive one, and how to change it."""
    return f"positive class: {classes[1]}, {reason}{f' (to change: {change})' if change else ''}"


def describe_rare(names: Sequence[str], rows: int, noun: str = "rows") -> str:
    """Say in one line that rows of rare classes are trained on, but are not in the other splits."""
    listed = list_some(names, MAX_LISTED)
    subject = f"class {listed} has" if len(names) == 1 else f"{len(names)} classes ({listed}) have"
    return (
        f"warning: {subject} fewer than {MIN_ROWS_PER_CLASS} {noun}: "
        f"{rows:,} {noun} put into training, none into validation and test"
    )
