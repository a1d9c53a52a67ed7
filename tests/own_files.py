"""Ten files as people have them: what a new user trains on, predicts and sends, without any option."""

# ruff: noqa: RUF001  # Chinese commas

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 200


@dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file, and what a new user does with it.

    Attributes:
        write: Writes the file, and `new` if that is another file.
        source: What `train` and `evaluate` get.
        notes: Parts of what `train` must say.
        new: What `predict` gets.
        rows: Rows of its answer.
        row: A row as a program sends it.
        csv: The same rows as CSV; "" if a text is all that there is.
        more: Arguments of `predict`.
    """

    write: Callable[[np.random.Generator], None]
    source: str
    target: str
    notes: tuple[str, ...]
    new: str
    rows: int
    row: dict[str, Any] = field(default_factory=dict)
    csv: str = ""
    more: tuple[str, ...] = ()


def german(value: float) -> str:
    return f"{value:,.1f}".translate(str.maketrans(",.", ".,"))


def german_csv(rng: np.random.Generator) -> None:
    km, colour = rng.uniform(5000, 180_000, ROWS), rng.choice(["weiß", "grün"], ROWS)
    lines = ["Nr.;Kilometerstand;Farbe;Unfall;Preis"]
    for row in range(ROWS):
        accident = "ja" if row % 3 else "nein"
        price = german(30_000 - 0.12 * km[row])
        lines.append(f"{row + 1};{german(km[row])} km;{colour[row]};{accident};{price} €")
    Path("autos.csv").write_bytes("\n".join(lines).encode("cp1252"))
    Path("neu.csv").write_bytes(
        "Kilometerstand;Farbe;Unfall\n50.000 km;weiß;nein\n120000;rot;\n".encode("cp1252")
    )


def spreadsheet(rng: np.random.Generator) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Customer survey 2024"])
    sheet.append([])
    sheet.append(["Customer No", "Age", "City", "Joined", "Satisfied?"])
    for row, age in enumerate(rng.integers(18, 90, ROWS).tolist()):
        joined = pd.Timestamp("2020-01-01") + pd.Timedelta(days=row * 3)
        city = ("Oslo", "Köln", "Málaga")[row % 3]
        sheet.append([1000 + row, age if row % 11 else None, city, joined, "Yes" if age > 50 else "No"])
    book.save("survey.xlsx")


def json_lines(rng: np.random.Generator) -> None:
    amounts = rng.uniform(1, 300, ROWS).round(2).tolist()
    Path("orders.jsonl").write_text(
        "\n".join(
            json.dumps({
                "order_id": f"A-{row:05}", "amount": amount, "customer": {"country": "DE" if row % 2 else "FR", "vip": row % 5 == 0},
                "coupon": "X10" if row % 3 else None, "returned": amount > 180,
            })
            for row, amount in enumerate(amounts)
        )
    )  # fmt: skip


def database(rng: np.random.Generator) -> None:
    x = rng.normal(size=ROWS)
    frame = pd.DataFrame(
        {"id": range(ROWS), "segment": ["a", "b"] * (ROWS // 2), "x": x, "spent": 100 + 20 * x}
    )
    with sqlite3.connect("shop.db") as connection:
        frame.to_sql("customers", connection, index=False)
        pd.DataFrame({"k": [1]}).to_sql("meta", connection, index=False)


def parts(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"hour": rng.integers(0, 24, ROWS), "temp": rng.normal(15, 8, ROWS).round(1)})
    frame["rentals"] = (frame["hour"] * 10 + frame["temp"]).round().astype(int)
    Path("rides").mkdir()
    Path("rides/_SUCCESS").touch()
    for part in range(2):
        frame[part * 100 : part * 100 + 100].to_parquet(f"rides/part-{part:05}.snappy.parquet", index=False)
    Path("new.csv").write_text("hour,temp\n12,20.5\n3,\n")


def arrays(rng: np.random.Generator) -> None:
    x = rng.normal(size=(ROWS, 3)).astype("float32")
    np.savez("arrays.npz", X=x, y=(x[:, 0] > 0).astype(int))


def damaged(rng: np.random.Generator) -> None:
    lines = ["ort\tmenge\tbezahlt"]
    for row, amount in enumerate(rng.uniform(0, 10, ROWS).tolist()):
        lines.append(f"{('Roma', 'Köln', 'Łódź')[row % 3]}\t{amount:.2f}\t{'yes' if amount > 5 else 'no'}")
    content = [line.encode() for line in lines]
    content[7] = b"Rom\xe4\t3.10\tno"
    Path("sales.tsv.gz").write_bytes(gzip.compress(b"\n".join(content)))


def kaggle(rng: np.random.Generator) -> None:
    sex, age = rng.choice(["male", "female"], ROWS), rng.uniform(1, 80, ROWS).round()
    frame = pd.DataFrame({
        "PassengerId": range(1, ROWS + 1), "Survived": (sex == "female").astype(int), "Name": [f"Mr. Person {row}" for row in range(ROWS)],
        "Sex": sex, "Age": age, "Cabin": [None if row % 4 else f"C{row}" for row in range(ROWS)],
    })  # fmt: skip
    frame.loc[::7, "Age"] = None
    frame.to_csv("train.csv", index=False)
    test = frame[:20].drop(columns="Survived").assign(PassengerId=range(ROWS + 1, ROWS + 21))
    test.to_csv("test.csv", index=False)
    test[["PassengerId"]].assign(Survived=0).to_csv("sample_submission.csv", index=False)


def chinese(rng: np.random.Generator) -> None:
    good, bad = (
        ["房间干净", "服务热情", "早餐丰富", "非常满意"],
        ["房间又小又旧", "服务态度差", "隔音不好", "非常失望"],
    )
    lines = ["标签,评论"]
    for row in range(ROWS):
        words = rng.choice(good if row % 2 else bad, 3)
        lines.append(f"{'好评' if row % 2 else '差评'},{'，'.join(words)}。编号{row % 17}")
    Path("hotel.csv").write_bytes("\n".join(lines).encode("gb18030"))


def ambiguous_dates(rng: np.random.Generator) -> None:
    lines = ["# export of visits", "when|ward|stay"]
    for month, day in rng.integers(1, 13, (ROWS, 2)).tolist():
        lines.append(f"{month:02}/{day:02}/{2015 + day % 5}|{'AB'[day % 2]}|{month * 2 + 0.5}")
    Path("visits.txt").write_text("\n".join(lines))


FILES = {
    "german": OwnFile(
        write=german_csv, source="autos.csv", target="Preis", new="neu.csv", rows=2,
        notes=("cp1252", "unit km removed", "decimal commas", "Nr. (a row counter)"),
        row={"Kilometerstand": "50.000 km", "Farbe": "weiß", "Unfall": False},
        csv="Kilometerstand,Farbe,Unfall\n50.000 km,weiß,nein\n",
    ),
    "spreadsheet": OwnFile(
        write=spreadsheet, source="survey.xlsx", target="Satisfied?", new="survey.xlsx", rows=ROWS,
        notes=("1 row is above the header", "positive class: Yes", "dates: Joined"),
        row={"Age": 44, "City": "Oslo", "Joined": "2021-03-04"}, csv="Age,City,Joined\n44,Oslo,2021-03-04\n",
    ),
    "json-lines": OwnFile(
        write=json_lines, source="orders.jsonl", target="returned", new="orders.jsonl", rows=ROWS,
        notes=("customer.country", "X10 or empty, read as yes or no", "order_id (an id"),
        row={"amount": 200.5, "customer.country": "DE", "customer.vip": True, "coupon": None},
        csv="amount,customer.country,customer.vip,coupon\n200.5,DE,true,\n",
    ),
    "sqlite": OwnFile(
        write=database, source="shop.db::customers", target="spent", new="shop.db::customers", rows=ROWS,
        notes=("table 'customers'", "id (a row counter)"), row={"segment": "a", "x": 1.5}, csv="segment,x\na,1.5\n",
    ),
    "parts": OwnFile(
        write=parts, source="rides", target="rentals", new="new.csv", rows=2, notes=("2 files, Parquet",),
        row={"hour": 12, "temp": 20.5}, csv="hour,temp\n12,20.5\n",
    ),
    "npz": OwnFile(
        write=arrays, source="arrays.npz", target="y", new="arrays.npz", rows=ROWS, notes=("x1, x2, x3",),
        row={"x1": 1.5, "x2": 0, "x3": 0}, csv="x1,x2,x3\n1.5,0,0\n",
    ),
    "one-bad-byte": OwnFile(
        write=damaged, source="sales.tsv.gz", target="bezahlt", new="sales.tsv.gz", rows=ROWS,
        notes=("1 byte is no UTF-8", "tabs between columns"), row={"ort": "Köln", "menge": 7.5}, csv="ort,menge\nKöln,7.5\n",
    ),
    "kaggle": OwnFile(
        write=kaggle, source="train.csv", target="Survived", new="test.csv", rows=20, notes=("PassengerId (a row counter)",),
        row={"Name": "X", "Sex": "male", "Age": None, "Cabin": None}, csv="Name,Sex,Age\nX,male,22\n",
        more=("--like", "sample_submission.csv", "--out", "submission.csv"),
    ),
    "chinese": OwnFile(
        write=chinese, source="hotel.csv", target="标签", new="房间干净，服务热情", rows=1, notes=("200 texts of",),
    ),
    "ambiguous-dates": OwnFile(
        write=ambiguous_dates, source="visits.txt", target="stay", new="visits.txt", rows=ROWS,
        notes=("--set date.when=", "'# export of visits'"), row={"when": "03/04/2019", "ward": "A"}, csv="when,ward\n03/04/2019,A\n",
    ),
}  # fmt: skip
