"""The encoding of a text file is decided from all of its bytes."""

# ruff: noqa: RUF001  # the letters of many alphabets

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.data.tables import encodings
from mlctl.data.tables.encodings import scan_bytes, scan_file

pytestmark = pytest.mark.unit

TEXTS = {
    "cp1252": [
        "name,city\nMüller,Köln\nGarcía,Málaga\nJosé,Ávila\n", "a,b\nRomä,1\n", "prix\n12,50 €\n3 €\n",
        "naïve;1\nça va;2\nà demain;3\n", "Temp °C\n1\n", "Straße,Größe\nÄrger,1\n", "São Paulo,1\nCeará,2\n",
        "Malmö\nGöteborg\nÅre\n", "Ålesund\nTromsø\nBodø\n", "It’s “great”\nI’m\n", "Perú\nMéxico\nEspaña\n",
    ],
    "cp1251": [
        "город,цена\nМосква,100\nКазань,200\n", "имя\nИван\n", "да,нет\n", "УЛИЦА ЛЕНИНА\nПРОСПЕКТ МИРА\n",
        "отзыв\nочень хороший товар, рекомендую\n", "Київ\nЛьвів\nОдеса\n",
    ],
    "koi8-r": ["город,цена\nМосква,100\nКазань,200\n", "отзыв\nочень хороший товар, рекомендую\n"],
    "cp866": ["город,цена\nМосква,100\nКазань,200\nСамара,3\n"],
    "cp932": [
        "名前,都市\n田中,東京\n鈴木,大阪\n", "商品,評価\nとても良い,5\n悪い,1\n", "カテゴリ,値段\nラーメン,800\n",
        "東京\n大阪\n京都\n", "性別\n男\n女\n",
    ],
    "euc-jp": ["商品,評価\nとても良い,5\n悪い,1\n", "カテゴリ,値段\nラーメン,800\n"],
    "gb18030": [
        "城市,价格\n北京,100\n上海,200\n", "评论,标签\n房间很干净服务很好,1\n太差了,0\n", "男,女\n",
        "姓名,年龄\n张伟,3\n王芳,5\n",
    ],
    "big5": ["城市,價格\n臺北,100\n高雄,200\n", "這個產品很好,1\n我不喜歡,0\n"],
    "cp949": ["도시,가격\n서울,100\n부산,200\n", "정말 좋아요,1\n별로예요,0\n", "남,여\n", "이름,나이\n김철수,3\n"],
    "cp1250": [
        "city,x\nKöln,1\nŁódź,2\nMálaga,3\nKöln,4\n", "miasto,cena\nŁódź,1\nKraków,2\nPoznań,3\n", "město\nPříbram\nPlzeň\n", "Győr\nKőszeg\nSzékesfehérvár\n",
    ],
    "cp1253": ["πόλη,τιμή\nΑθήνα,1\nΘεσσαλονίκη,2\n"],
    "cp1254": ["şehir,fiyat\nİstanbul,1\nEskişehir,2\nMuğla,3\n"],
    "cp1255": ["עיר,מחיר\nירושלים,1\nחיפה,2\n"],
    "cp1256": ["مدينة,سعر\nالقاهرة,1\nالرياض,2\n"],
    "cp874": ["เมือง,ราคา\nกรุงเทพ,1\nเชียงใหม่,2\n"],
    "mac-roman": ["ville\nOrléans\nBesançon\nNîmes\nSaint-Étienne\n"],
    "cp850": ["Köln\nMünchen\nDüsseldorf\n", "Orléans\nBesançon\nNîmes\n"],
    "utf-8": ["Köln\nŁódź\nмосква\n", "东京\n", "plain\n"],
    "utf-8-sig": ["a,b\n1,ä\n"],
    "utf-16": ["a,b\n1,ä\n", "城市,价格\n"],
    "utf-16-le": ["a,b\n1,ä\n", "城市,价格\n"],
    "utf-16-be": ["a,b\n1,ä\n", "城市,价格\n"],
    "utf-32": ["a,b\n1,ä\n"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "text"), [(encoding, text) for encoding, texts in TEXTS.items() for text in texts]
)
def test_a_text_is_read_in_its_encoding(encoding: str, text: str) -> None:
    content = text.encode(encoding)
    assert content.decode(scan_bytes(content).encoding, errors="replace") == text


def test_single_bytes_that_are_no_utf_8_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK_BYTES", 64)  # characters are cut between blocks
    content = "".join(f"{n},Köln,Łódź\n" for n in range(400)).encode() + b"Rom\xe4,x,y\n"
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    scan = scan_file(path)
    assert (scan.encoding, scan.bad_bytes) == ("utf-8", 1)
    assert content.startswith(scan.head)
    assert content.endswith(scan.tail)


def test_the_whole_file_decides(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"1,Koeln\n" * 300_000 + "2,Köln\n".encode("cp1252"))
    assert scan_file(path).encoding == "cp1252"
    path.write_bytes(b"1,Koeln\n" * 300_000 + "2,Москва и Казань\n".encode("cp1251"))
    assert scan_file(path).encoding == "cp1251"
