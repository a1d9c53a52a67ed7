"""Pictures that worker processes make, in a PyDataset."""

import argparse
import math
import multiprocessing

import keras
import numpy as np


class Blobs(keras.utils.PyDataset):
    """Batches of pictures with a bright blob on the left or on the right."""

    def __init__(self, pictures, batch_size, seed, **kwargs):
        super().__init__(**kwargs)
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed

    def __len__(self):
        return math.ceil(self.pictures / self.batch_size)

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        count = min(self.batch_size, self.pictures - index * self.batch_size)
        labels = rng.integers(0, 2, count)
        images = rng.random((count, 32, 32, 1), dtype="float32")
        for image, label in zip(images, labels):
            row, column = rng.integers(4, 22), rng.integers(2, 8) + 16 * label
            image[row : row + 6, column : column + 6] += 0.5
        return images, labels.astype("float32")


def brightness(seed):
    return float(np.random.default_rng(seed).random((100, 100)).mean())


def build():
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(8, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--processes", action="store_true", help="workers are processes")
    args = parser.parse_args()

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print("mean brightness", np.mean(pool.map(brightness, range(4))))

    settings = {"workers": args.workers, "use_multiprocessing": args.processes, "max_queue_size": 10}
    train = Blobs(args.pictures, 64, seed=1, **settings)
    validation = Blobs(args.pictures // 5, 64, seed=2, **settings)
    test = Blobs(args.pictures // 5, 64, seed=3)

    model = build()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])
    model.fit(train, validation_data=validation, epochs=args.epochs, verbose=2)
    print("test:", model.evaluate(test, verbose=0, return_dict=True))
