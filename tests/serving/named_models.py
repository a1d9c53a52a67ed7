"""Small saved models with named inputs and outputs, with texts, and with rows of any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DEPARTMENTS = ("sales", "support", "legal", "press")
TOPICS = ("sport", "politics", "money")


def save_named_models(top: Path) -> list[str]:
    """Save each model in a subfolder; return the names."""
    import keras
    import numpy as np

    from mlctl.adapters.models.save import save_model
    from mlctl.domain import outputs

    keras.utils.set_random_seed(7)
    random = np.random.default_rng(7)
    layers = keras.layers
    names: list[str] = []

    def save(name: str, model: Any, raw: Any, *declared: Any) -> None:
        names.append(name)
        save_model(
            top / name,
            model,
            encoder=None,
            raw=raw,
            encoded=raw,
            metadata={
                "recipe": name,
                "task": outputs.task_of(declared),
                "classes": list(declared[0].classes),
                "unit": declared[0].unit,
                "outputs": [output.to_json() for output in declared],
            },
            outputs=declared,
        )

    ids = keras.Input((None,), dtype="int32", name="ids")
    flags = keras.Input((3,), name="flags")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(50, 4)(ids))
    both = layers.Concatenate()([mean, flags])
    tickets = keras.Model(
        {"ids": ids, "flags": flags},
        {
            "priority": layers.Dense(1, activation="sigmoid", name="priority")(both),
            "department": layers.Dense(4, activation="softmax", name="department")(both),
            "delay": layers.Dense(2, name="delay")(both),
        },
    )
    raw = {
        "ids": random.integers(0, 50, (8, 5)).astype(np.int32),
        "flags": random.normal(size=(8, 3)).astype(np.float32),
    }
    save(
        "tickets",
        tickets,
        raw,
        outputs.classes("low", "high", name="priority"),
        outputs.classes(*DEPARTMENTS, name="department"),
        outputs.values("h", name="delay"),
    )

    left, right = keras.Input((6, 6), name="left"), keras.Input((6, 6), name="right")
    flat = layers.Flatten()
    distance = layers.Dense(1, activation="sigmoid")(layers.Subtract()([flat(left), flat(right)]))
    pairs = tuple(random.integers(0, 256, (8, 6, 6)).astype(np.float32) for _ in range(2))
    save("pairs", keras.Model([left, right], distance), pairs, outputs.classes("other", "same"))

    words = keras.Input((None,), dtype="int32", name="words")
    tags = layers.Dense(3, activation="softmax")(layers.Embedding(50, 4)(words))
    sentences = random.integers(0, 50, (8, 5)).astype(np.int32)
    save("tags", keras.Model(words, tags), sentences, outputs.sequence("O", "PER", "LOC"))

    numbers = keras.Input((4,), name="numbers")
    topics = layers.Dense(3, activation="sigmoid")(numbers)
    rows = random.normal(size=(8, 4)).astype(np.float32)
    save("topics", keras.Model(numbers, topics), rows, outputs.labels(*TOPICS))

    image = keras.Input((6, 6, 1), name="image")
    mask = layers.Conv2D(3, 3, padding="same", activation="softmax")(image)
    images = random.uniform(size=(8, 6, 6, 1)).astype(np.float32)
    save("masks", keras.Model(image, mask), images, outputs.pixels("border", "disc", "background"))

    city = keras.Input((1,), dtype="string", name="city")
    age = keras.Input((1,), name="age")
    member = keras.Input((1,), dtype="bool", name="member")
    lookup = layers.StringLookup(vocabulary=["Bern", "Rome"], output_mode="one_hot")
    joined = layers.Concatenate()([lookup(city), age, keras.ops.cast(member, "float32")])
    people = keras.Model({"city": city, "age": age, "member": member}, layers.Dense(1)(joined))
    save(
        "people",
        people,
        {
            "city": np.array([["Bern"], ["Rome"], ["Oslo"]] * 2, dtype=object),
            "age": np.arange(6, dtype=np.float32)[:, np.newaxis],
            "member": np.array([[True], [False]] * 3),
        },
        outputs.values("CHF"),
    )
    return names
