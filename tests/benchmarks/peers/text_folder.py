"""Fit TF-IDF with logistic regression to a folder of texts, and print accuracy and CPU seconds.

    python text_folder.py FOLDER [--plain]

FOLDER holds the folders train and test, each with a folder of .txt files for each class. The vectors are of words and
pairs of words; --plain takes the defaults of scikit-learn's TfidfVectorizer and LogisticRegression.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression


def read(folder: Path) -> tuple[list[str], list[str]]:
    """Return the texts of a folder, and the folder's name of each."""
    files = sorted(folder.glob("*/*.txt"))
    classes = [file.parent.name for file in files if file.parent.name != "unsup"]
    texts = [file.read_text(encoding="utf-8") for file in files if file.parent.name != "unsup"]
    return texts, classes


def main() -> None:
    """Fit to train, score on test."""
    root, is_plain = Path(sys.argv[1]), "--plain" in sys.argv
    (train, classes), (test, expected) = read(root / "train"), read(root / "test")
    started = time.process_time()
    words = (
        TfidfVectorizer() if is_plain else TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    )
    model = LogisticRegression(max_iter=1000) if is_plain else LogisticRegression(C=10.0, max_iter=1000)
    model.fit(words.fit_transform(train), classes)
    answers = model.predict(words.transform(test))
    accuracy = sum(map(str.__eq__, answers, expected)) / len(expected)
    fitted, whole = time.process_time() - started, time.process_time()
    print(f"accuracy {accuracy:.4f}, CPU seconds: fit and predict {fitted:.1f}, whole process {whole:.1f}")


if __name__ == "__main__":
    main()
