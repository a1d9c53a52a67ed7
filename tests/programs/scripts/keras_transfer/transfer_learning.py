"""Title: Transfer learning and fine-tuning
"""

import os

import keras
import tensorflow as tf
from keras import layers

DATA = os.environ.get("PICTURES", "PetImages")
SIZE = int(os.environ.get("IMG_SIZE", 160))
WEIGHTS = os.environ.get("WEIGHTS", "imagenet")
ALPHA = float(os.environ.get("ALPHA", 1.0))

train_ds, validation_ds = keras.utils.image_dataset_from_directory(
    DATA, validation_split=0.2, subset="both", seed=1337, image_size=(SIZE, SIZE), batch_size=None
)
print(f"Number of training samples: {train_ds.cardinality()}")
print(f"Number of validation samples: {validation_ds.cardinality()}")
classes = len(train_ds.class_names)
batches = validation_ds.cardinality() // 2
test_ds = validation_ds.take(batches)
validation_ds = validation_ds.skip(batches)

augmentation_layers = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)]


def data_augmentation(x):
    for layer in augmentation_layers:
        x = layer(x)
    return x


train_ds = train_ds.map(lambda x, y: (data_augmentation(x), y))

batch_size = 64
train_ds = train_ds.batch(batch_size).prefetch(tf.data.AUTOTUNE).cache()
validation_ds = validation_ds.batch(batch_size).prefetch(tf.data.AUTOTUNE).cache()
test_ds = test_ds.batch(batch_size).prefetch(tf.data.AUTOTUNE).cache()

base_model = keras.applications.MobileNet(
    weights=None if WEIGHTS == "none" else WEIGHTS,
    input_shape=(SIZE, SIZE, 3),
    alpha=ALPHA,
    include_top=False,
)
base_model.trainable = False

inputs = keras.Input(shape=(SIZE, SIZE, 3))
x = layers.Rescaling(scale=1 / 127.5, offset=-1)(inputs)
x = base_model(x, training=False)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dropout(0.2)(x)
outputs = layers.Dense(classes)(x)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)

model.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)
print("Fitting the top layer of the model")
model.fit(train_ds, epochs=int(os.environ.get("TOP_EPOCHS", 2)), validation_data=validation_ds)

base_model.trainable = True
model.summary(show_trainable=True)
model.compile(
    optimizer=keras.optimizers.Adam(1e-5),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)
print("Fitting the end-to-end model")
model.fit(train_ds, epochs=int(os.environ.get("FINE_TUNE_EPOCHS", 1)), validation_data=validation_ds)

print("Test dataset evaluation")
model.evaluate(test_ds)
