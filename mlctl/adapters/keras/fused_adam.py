"""Adam's update by TensorFlow's fused kernel, in place of a dozen Keras operations of the same formula."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def use_fused_kernel(optimizer: keras.optimizers.Optimizer) -> None:
    """Make a plain Adam or AdamW update its variables by the fused kernel; leave any other optimizer as it is.

    Both compute, for gradient g, moments m and v, weights w, decay rates b1 and b2, step t and epsilon e:

        m += (g - m)(1 - b1)
        v += (g*g - v)(1 - b2)
        w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + e)

    Source: Kingma and Ba, arXiv 1412.6980, the form before section 2.1. The kernel updates the optimizer's
    own variables, so that a saved state is the same. Keras decays the weights of AdamW before this step.
    """
    if type(optimizer) not in (keras.optimizers.Adam, keras.optimizers.AdamW) or optimizer.amsgrad:
        return
    if (
        optimizer.gradient_accumulation_steps
    ):  # the update is a branch of the graph, where the kernel cannot be used
        return

    def update_step(gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        if isinstance(gradient, tf.IndexedSlices):
            keras.optimizers.Adam.update_step(optimizer, gradient, variable, learning_rate)
            return
        weights = variable.value if isinstance(variable, keras.Variable) else variable
        dtype = weights.dtype
        step = tf.cast(optimizer.iterations.value + 1, dtype)
        index = optimizer._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=weights.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=tf.cast(optimizer.beta_1, dtype) ** step,
            beta2_power=tf.cast(optimizer.beta_2, dtype) ** step,
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(optimizer.beta_1, dtype),
            beta2=tf.cast(optimizer.beta_2, dtype),
            epsilon=tf.cast(optimizer.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    optimizer.update_step = update_step
