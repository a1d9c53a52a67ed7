"""Write train.tsv and test.tsv: a label (-1 or 1), then the values of a noisy wave, with a burst in class 1."""

import sys

import numpy as np


def series(count, steps, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 1], count)
    time = np.linspace(0, 6 * np.pi, steps)
    values = np.sin(time + rng.uniform(0, 6, (count, 1))) + rng.normal(0, 0.3, (count, steps))
    for row in np.flatnonzero(labels == 1):
        start = rng.integers(0, steps - 20)
        values[row, start : start + 20] += 2 * np.sin(np.arange(20) * 1.5)
    return np.column_stack([labels, values])


count, steps = (int(word) for word in (*sys.argv[1:], "3601", "500")[:2]) if sys.argv[1:] else (3601, 500)
np.savetxt("train.tsv", series(count, steps, 0), delimiter="\t", fmt="%.6f")
np.savetxt("test.tsv", series(count // 3, steps, 1), delimiter="\t", fmt="%.6f")
