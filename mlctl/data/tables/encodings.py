"""The encoding of a text file, decided from all of its bytes."""

# ruff: noqa: RUF001  # the letters of many alphabets

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mlctl.data.tables import compression

BLOCK_BYTES = 1 << 20
HEAD_BYTES, TAIL_BYTES = 1 << 17, 1 << 14
SAMPLE_BYTES = 1 << 16  # of lines with bytes that are no ASCII, from the whole file
FEW_BAD = 3
BAD_PER_CHARACTER = 0.05  # a UTF-8 file may have this share of undecodable bytes among its other characters
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PLAIN = ("utf-8", "utf-8-sig")

# Frequent characters of a language: the encoding that gives the most of them is the right one.
_CHINESE = set(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所"
    "然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长"
    "把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身"
    "果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活"
    "尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治"
    "店房价格服务质差评标签姓男岁收城省县号类型酒差便宜贵吃味京津沪广深州北南杭苏武汉成"
)
_CHINESE_OLD = set(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所"
    "然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日者意無力它與長"
    "把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應向頭文體政美相見被利什二等產或新己制身"
    "價格服務質評標籤姓男歲收城市縣號類型臺北灣東區店飯房"
)
_KOREAN = set(
    "이다는에의을가하고지로기사은한를인자도서시리대해나수정원그들부일아어전라보구제상주여장만스과동성게공신오면진무유"
    "소비마안경조생미국중관계선연년월김박최강남북울산광천세요할것적내등때까말용화교물생개각발통모데방위음됨좋별점평"
)
_JAPANESE_WORDS = set(
    "日本東京大阪市区県都年月人名男女店料金円高中小上下新古車社会員事業学生地方性別価格前後"
)
_LETTERS = {  # of an alphabet, the most frequent ones first
    "cp1251": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёъіїєґ",
    "koi8-r": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёъ",
    "cp866": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёъ",
    "cp1253": "αοιετσνηυρπκμλωςάίόγέήδβχώύθφξζψ",
    "cp1255": "יהולאתרמבשנעדחקפםכסןגטצזךץףית",
    "cp1256": "اليمنروتبةعدسفهكقأحجشطصىخإذزءثئضغآظؤ",
    "cp874": "านรกเงมอลทยวสตัปี่ดคบห้ชขพะจไแำุึิ็ถูผศธณ์ซใญฐ",
}
_WESTERN = (
    "äöüß", "éèàêçùâîôûëïœæ", "áéíóúñü", "áéíóúâêôãçà", "àèéìòù", "åäöæøéü", "áéíóúýæöð", "éëïöüèê",
)  # fmt: skip
_LATIN = {  # the letters of each language
    "cp1252": _WESTERN,
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýžäôľĺŕ", "áéíóöőúüű", "ăâîşţșț", "čćđšž"),
    "cp1254": ("ıİğşçöüâî",),
    "mac-roman": _WESTERN,
    "cp850": _WESTERN,
}
_BEFORE_WORDS = set("–—‘“„«…\u00a0·¿¡µ©®™§")
_SIGNS = set("€£$¥°²³µ±½¼§©®™–—‘’“”„«»…\u00a0·×¿¡")
# encodings that are chosen only if they are clearly better than the usual ones of their script
_PENALTY = {"mac-roman": 0.3, "cp850": 0.3, "cp1254": 0.15, "cp1250": 0.08, "cp866": 0.1, "koi8-r": 0.05}


@dataclass(frozen=True, kw_only=True)
class TextScan:
    """What the bytes of a text file tell.

    Attributes:
        encoding: Python's name of the encoding.
        bad_bytes: Number of bytes that it cannot decode; each is read as U+FFFD.
        has_quotes: Whether the file has a double quote.
        head: Its first bytes.
        tail: Its last bytes.
        is_whole: Whether `head` is the whole file.
        null_bytes: Number of zero bytes that are not part of a character; `head` and `tail` are without them.
        size: Size of the file, decompressed.
    """

    encoding: str
    bad_bytes: int = 0
    null_bytes: int = 0
    size: int = 0
    has_quotes: bool = False
    head: bytes = b""
    tail: bytes = b""
    is_whole: bool = True


def scan_file(path: Path) -> TextScan:
    """Read a text file, which may be compressed, and decide its encoding.

    A byte order mark decides. A file that is UTF-8 but for single bytes is UTF-8. For any other file the
    frequent letters of many languages decide between the encodings of Windows, DOS and East Asia.

    Raises BadDataError if the file cannot be read.
    """
    scan = _Scan()
    with compression.open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            scan.add(block)
    return scan.result()


def scan_bytes(content: bytes) -> TextScan:
    """Decide the encoding of a text."""
    scan = _Scan()
    scan.add(content)
    return scan.result()


class _Scan:
    """What the bytes of a file tell about its encoding, block by block."""

    def __init__(self) -> None:
        self.mark = ""
        self.head = b""
        self.is_first = True
        self.has_quotes = False
        self.bad_bytes = 0
        self.characters = 0  # about as many as UTF-8 writes with several bytes
        self.pending = b""
        self.sample = bytearray()
        self.tail = b""
        self.size = 0
        self.null_bytes = 0

    def add(self, block: bytes) -> None:
        self.size += len(block)
        self.tail = (self.tail + block[-TAIL_BYTES:])[-TAIL_BYTES:]
        if self.is_first:
            self.is_first = False
            self.head = block[:HEAD_BYTES]
            self.mark = next((name for mark, name in MARKS if block.startswith(mark)), "")
        self.has_quotes = self.has_quotes or b'"' in block
        self.null_bytes += block.count(b"\0")
        if self.mark.startswith(("utf-16", "utf-32")):
            return
        if block.isascii() and not self.pending:
            return
        self._add_lines(block)
        self._decode(self.pending + block)

    def _decode(self, data: bytes) -> None:
        """Count the characters and the bad bytes; an incomplete character at the end waits for the next block."""
        self.pending = b""
        decoded, start = 0, 0
        while start < len(data):
            try:
                decoded += len(data[start:].decode("utf-8"))
                break
            except UnicodeDecodeError as exc:
                if exc.reason == "unexpected end of data" and start + exc.end >= len(data):
                    self.pending = data[start + exc.start :]
                    decoded += len(data[start : start + exc.start].decode("utf-8"))
                    data = data[: start + exc.start]
                    break
                decoded += len(data[start : start + exc.start].decode("utf-8"))
                self.bad_bytes += exc.end - exc.start
                start += exc.end
                if self.bad_bytes > 1000 and self.bad_bytes > self.characters + decoded:
                    break  # it is another encoding
        self.characters += len(data) - decoded  # the bytes after the first one of each

    def _add_lines(self, block: bytes) -> None:
        """Add lines with bytes that are no ASCII to the sample."""
        if len(self.sample) >= SAMPLE_BYTES:
            return
        for line in re.split(rb"[\r\n]+", block):
            if not line.isascii():
                self.sample += line[:4000] + b"\n"
                if len(self.sample) >= SAMPLE_BYTES:
                    return

    def result(self) -> TextScan:
        encoding, bad_bytes = self._decide()
        has_wide = encoding.startswith(("utf-16", "utf-32"))
        return TextScan(
            encoding=encoding,
            bad_bytes=bad_bytes,
            null_bytes=0 if has_wide else self.null_bytes,
            size=self.size,
            has_quotes=self.has_quotes,
            head=self.head if has_wide else self.head.replace(b"\0", b""),
            tail=self.tail if has_wide else self.tail.replace(b"\0", b""),
            is_whole=self.size <= len(self.head),
        )

    def _decide(self) -> tuple[str, int]:
        """Return the encoding, and how many bytes it cannot decode."""
        if self.mark and not self.mark.startswith("utf-8"):
            return self.mark, 0
        if name := _utf_16(self.head):
            return name, 0
        bad = self.bad_bytes + len(self.pending)
        good = max(0, self.characters - bad)
        # two valid characters beside a bad byte are no accident
        if not bad or self.mark or bad <= good * BAD_PER_CHARACTER or (bad <= FEW_BAD and good >= 2 * bad):
            return self.mark or "utf-8", bad
        return guess_legacy(bytes(self.sample)), 0


def _utf_16(head: bytes) -> str:
    """Return the kind of UTF-16 that a text without a byte order mark is in, or ""."""
    head = head[: len(head) // 2 * 2]
    if b"\0" not in head:
        return ""
    ends = {
        "utf-16-le": (b"\n\0", b",\0", b"\t\0", b";\0", b"\r\0"),
        "utf-16-be": (b"\0\n", b"\0,", b"\0\t", b"\0;", b"\0\r"),
    }
    counts = {}
    for name, signs in ends.items():
        pairs = [head[place : place + 2] for place in range(0, min(len(head), 1 << 14), 2)]
        counts[name] = sum(pair in signs for pair in pairs)
    best = max(counts, key=lambda name: counts[name])
    if not counts[best] or counts[best] == min(counts.values()):
        return ""
    text = head[: 1 << 14].decode(best, errors="replace")
    odd = sum(unicodedata.category(sign)[0] == "C" for sign in text if sign not in "\t\r\n")
    return best if odd + text.count("\ufffd") <= 0.01 * len(text) else ""


def guess_legacy(sample: bytes) -> str:
    """Return the encoding of bytes that are not UTF-8."""
    high = [byte for byte in sample if byte > 127]
    if not high:
        return "cp1252"
    east = max(((_east_asian(sample, name), name) for name in _EAST_ASIAN), default=(0.0, ""))
    if east[0] >= 0.5:
        return east[1]
    neighbours = sum(a > 127 and b > 127 for a, b in pairwise(sample))
    candidates = _LETTERS if neighbours >= 0.45 * len(high) else _LATIN
    if candidates is _LETTERS:
        best = max(_LETTERS, key=lambda name: _alphabet(sample, name))
        if _alphabet(sample, best) > 0.3:
            return best
    return max(_LATIN, key=lambda name: _latin(sample, name))


def _east_asian(sample: bytes, name: str) -> float:
    """Return how much bytes look like a language of East Asia in this encoding: 0 to 1."""
    text = sample.decode(name, errors="replace")
    characters = [sign for sign in text if ord(sign) > 127]
    if not characters:
        return 0.0
    bad = text.count("\ufffd")
    if bad > max(1, 0.02 * len(characters)):
        return 0.0
    kana = sum("\u3040" <= sign <= "\u30ff" for sign in characters)
    half = sum("\uff61" <= sign <= "\uff9f" for sign in characters)
    frequent = sum(sign in _EAST_ASIAN[name] for sign in characters)
    signs = sum("\u3000" <= sign <= "\u303f" or "\uff01" <= sign <= "\uff5e" for sign in characters)
    wide = sum(
        "\u4e00" <= sign <= "\u9fff" or "\uac00" <= sign <= "\ud7a3" or "\u3040" <= sign <= "\u30ff"
        for sign in characters
    )
    total = len(characters)
    score = (frequent + 0.5 * signs) / total + 0.4 * wide / total
    if name in ("cp932", "euc-jp"):
        score += kana / total - half / total
    else:
        score -= kana / total
    in_words = len(re.findall(r"[a-z][^\x00-\x7f]", text))  # an accented letter in a word, read wrongly
    return score - 0.2 * (total - wide - signs) / total - 0.8 * in_words / total


_EAST_ASIAN: dict[str, set[str]] = {
    "gb18030": _CHINESE,
    "big5": _CHINESE_OLD,
    "cp949": _KOREAN,
    "cp932": _JAPANESE_WORDS,
    "euc-jp": _JAPANESE_WORDS,
}


def _alphabet(sample: bytes, name: str) -> float:
    """Return how frequent the letters are that bytes give in an encoding of one alphabet: up to 1."""
    text = sample.decode(name, errors="replace")
    letters = [sign for sign in text if ord(sign) > 127]
    order = _LETTERS[name]
    points = 0.0
    for sign in letters:
        place = order.find(sign.lower())
        if place >= 0:
            points += 1.2 * math.exp(-2.5 * place / len(order))
        elif sign not in _SIGNS:
            points -= 1
    switched = len(re.findall(r"[^\W\d_a-zA-Z]+", text)) and sum(
        word[:1].islower() and word[1:].isupper() for word in re.findall(r"[^\W\d_a-zA-Z]{3,}", text)
    )
    return points / max(1, len(letters)) - switched / max(1, len(letters)) * 3 - _PENALTY.get(name, 0)


def _latin(sample: bytes, name: str) -> float:
    """Return how much bytes look like a language with Latin letters in this encoding."""
    text = sample.decode(name, errors="replace")
    languages = _LATIN[name]
    points, total = 0.0, 0
    covered = [0] * len(languages)
    for place, sign in enumerate(text):
        if ord(sign) < 128:
            continue
        total += 1
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        letter = sign.lower() if len(sign.lower()) == 1 else sign
        found = [letter in letters or sign in letters for letters in languages]
        if any(found):
            points += -0.5 if sign.isupper() and before.islower() else 1
            covered = [count + is_in for count, is_in in zip(covered, found, strict=True)]
        elif sign in _SIGNS:
            is_in_word = after.isalpha() and (
                sign not in "’‘\u00a0·" if before.isalpha() else sign not in _BEFORE_WORDS
            )
            points += -0.5 if is_in_word else 0.8
            covered = [count + (not is_in_word) for count in covered]
        elif unicodedata.category(sign)[0] != "L":
            points -= 1
    return (0.5 * points + 0.5 * max(covered)) / max(1, total) - _PENALTY.get(name, 0)
