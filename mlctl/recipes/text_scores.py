"""What linear models of a text's n-grams predict for the target, as features of a text column.

A network of 20,000 n-grams beside other columns would be slow and learn noise; the score of a linear model is one
number for each class. Several models are fitted, each without one part of the texts, and the hash of a text chooses
the one that has not seen it (`scoring.text_fold`), in training and in serving alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.recipes import encoders
from mlctl.recipes.ngrams import fit_encoder, pack_numbers
from mlctl.serving import scoring

FOLDS = 5
MOST_TEXTS, MOST_CHARACTERS = 20_000, 8_000_000  # that models are fitted to
MOST_NGRAMS, FEWEST_NGRAMS, MOST_WEIGHTS = (
    20_000,
    4_000,
    60_000,
)  # the last is of all classes of a model together
MOST_CLASSES = 40  # with more, only the most frequent ones get a score
FEWEST_TEXTS = 50
MOST_WORDS, MOST_TOPICS = 200, 100  # of a column without scores
STRENGTH = 1.0  # L2 penalty of ridge and logistic regression
SKEWED = 1.0  # from this skewness of the target on, its logarithm is predicted
MOST_ITERATIONS, TOLERANCE = 60, 1e-2

Array = np.ndarray[Any, Any]


def text_steps(name: str, cells: Any, targets: Array, classes: int) -> list[Mapping[str, Any]]:
    """Return the steps of a text column: its scores, or its words and topics if it has none.

    Words and topics beside the scores only let a network learn noise. See `text_score_steps` for the arguments.
    """
    return text_score_steps(name, cells, targets, classes) or [
        *encoders.unscaled(encoders.text(name, most=MOST_WORDS)),
        *encoders.topics(name, most=MOST_TOPICS),
    ]


def text_score_steps(name: str, cells: Any, targets: Array, classes: int) -> list[Mapping[str, Any]]:
    """Return the step with the scores of a text column: log odds for classes, or a predicted number.

    There is none if texts are few, or have no n-gram that several of them share.

    Args:
        name: The column.
        cells: Its training cells (a Series).
        targets: Class index or number of each cell.
        classes: Number of classes; 0: the targets are numbers.
    """
    is_filled = cells.notna().to_numpy()
    texts = [scoring.plain_text(text) for text in cells[is_filled].astype(str)]
    targets = np.asarray(targets)[is_filled]
    every = max(-(-len(texts) // MOST_TEXTS), -(-sum(map(len, texts)) // MOST_CHARACTERS), 1)
    if every > 1:
        kept = np.random.default_rng(0).permutation(len(texts))[: len(texts) // every]
        texts, targets = [texts[place] for place in kept], targets[kept]
    if len(texts) < FEWEST_TEXTS:
        return []
    wanted = _wanted(targets, classes)
    outputs = 1 if wanted is None else len(wanted)
    most = min(MOST_NGRAMS, max(FEWEST_NGRAMS, MOST_WEIGHTS // outputs))
    encoder, bags = fit_encoder(texts, None, most=most)
    if not encoder.width:
        return []
    weights, offsets = _fit_folds(
        encoder.width, bags, texts, targets if classes else _numbers(targets), wanted
    )
    return [
        {
            "make": "text_scores",
            "of": name,
            "parts": encoder.parts,
            "weights": pack_numbers(weights, "<f2"),
            "offsets": offsets.tolist(),
        }
    ]


def _wanted(targets: Array, classes: int) -> Array | None:
    """Return the classes that get a score; of two, the second one; None for numbers."""
    if not classes:
        return None
    if classes == 2:
        return np.array([1])
    frequent = np.argsort(-np.bincount(targets, minlength=classes), kind="stable")[:MOST_CLASSES]
    return np.sort(frequent)


def _numbers(targets: Array) -> Array:
    """Return the numbers that are learned: the targets, or their logarithm, with deviation 1."""
    values = targets.astype(np.float64)
    deviation = float(values.std()) or 1.0
    skewness = float((((values - values.mean()) / deviation) ** 3).mean())
    if skewness > SKEWED and values.min() >= 0:
        values = np.log1p(values)
    scaled: Array = (values - values.mean()) / (float(values.std()) or 1.0)
    return scaled


def _fit_folds(
    width: int, bags: tuple[Array, Array, Array], texts: list[str], targets: Array, wanted: Array | None
) -> tuple[Array, Array]:
    """Return the weights (folds, n-grams, outputs) and offsets (folds, outputs) of the models."""
    from scipy import sparse

    columns, starts, values = bags
    rows = sparse.csr_matrix((values, columns, starts), (len(texts), width))
    folds = np.array([scoring.text_fold(text, FOLDS) for text in texts])
    outputs = 1 if wanted is None else len(wanted)
    weights, offsets = np.zeros((FOLDS, width, outputs), np.float32), np.zeros((FOLDS, outputs))
    for fold in range(FOLDS):
        others = folds != fold
        if len(np.unique(targets[others])) > 1:
            weights[fold], offsets[fold] = _fit(rows[others], targets[others], wanted)
    return weights, offsets


def _fit(rows: Any, targets: Array, wanted: Array | None) -> tuple[Array, Array]:
    """Return the weights (n-grams, outputs) and offsets (outputs,) of one model."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    if wanted is None:
        ridge = Ridge(alpha=STRENGTH, solver="sparse_cg", tol=TOLERANCE).fit(rows, targets)
        return ridge.coef_[:, np.newaxis], np.array([ridge.intercept_])
    is_binary = len(np.unique(targets)) == 2
    model = LogisticRegression(
        C=1 / STRENGTH,
        max_iter=MOST_ITERATIONS,
        tol=TOLERANCE,
        solver="liblinear" if is_binary else "lbfgs",
    )
    with threadpool_limits(1), warnings.catch_warnings():  # a fit that has not converged is good enough
        warnings.simplefilter("ignore")
        model.fit(rows, targets)
    coefficients, intercepts = model.coef_.T, model.intercept_
    if is_binary:  # one score, of the second class
        coefficients, intercepts = (
            np.hstack((-coefficients, coefficients)),
            np.append(-intercepts, intercepts),
        )
    found = {int(label): place for place, label in enumerate(model.classes_)}
    least = float(intercepts.min())  # of a class that only this part of the texts has
    weights = np.zeros((rows.shape[1], len(wanted)))
    offsets = np.full(len(wanted), least)
    for output, label in enumerate(wanted.tolist()):
        if label in found:
            weights[:, output], offsets[output] = coefficients[:, found[label]], intercepts[found[label]]
    return weights, offsets
