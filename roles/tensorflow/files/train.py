"""Train a small network and say on which device: ``python train.py tensorflow|pytorch|jax``, as any user.

Prints one line of JSON: ``framework`` with its version, ``device`` (the card's name, or CPU), ``gpu`` (whether the arithmetic was done
there), ``first`` and ``last`` (mean squared error before and after), ``seconds`` (from the first import to the end). Ends with the
framework's own error where it cannot train. Memory of the card is taken as it is needed, so jobs beside it go on.
"""

import json
import math
import os
import shutil
import sys
import tempfile
import time

STEPS, RATE, POINTS, WIDTH = 300, 0.05, 256, 16


def with_tensorflow():
    """Train with Keras; return version, device, whether it is a GPU, both errors."""
    import keras
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    for card in cards:
        tf.config.experimental.set_memory_growth(card, True)
    x = tf.reshape(tf.linspace(-1.0, 1.0, POINTS), (-1, 1))
    y = tf.sin(3 * x)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(WIDTH, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((1,)), *layers])
    model.compile(keras.optimizers.Adam(RATE), "mse")
    first = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=STEPS // 8, batch_size=POINTS // 8, verbose=0)
    gpu = "GPU" in model(x).device
    name = tf.config.experimental.get_device_details(cards[0]).get("device_name", "GPU") if gpu else "CPU"
    return tf.__version__, name, gpu, first, model.evaluate(x, y, verbose=0)


def with_pytorch():
    """Train with PyTorch; return the same."""
    import torch

    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, POINTS, device=device).reshape(-1, 1)
    y = torch.sin(3 * x)
    model = torch.nn.Sequential(torch.nn.Linear(1, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 1)).to(device)
    optimiser, errors = torch.optim.Adam(model.parameters(), RATE), []
    for _ in range(STEPS):
        error = torch.nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    name = torch.cuda.get_device_name(0) if gpu else "CPU"
    return torch.__version__, name, model(x).is_cuda, errors[0], errors[-1]


def with_jax():
    """Train with JAX; return the same."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.numpy as np

    x = np.linspace(-1, 1, POINTS).reshape(-1, 1)
    y = np.sin(3 * x)
    one, two = jax.random.split(jax.random.key(0))
    weights = [jax.random.normal(one, (1, WIDTH)), np.zeros(WIDTH), jax.random.normal(two, (WIDTH, 1)) / WIDTH, np.zeros(1)]

    def error(weights):
        return np.mean((np.tanh(x @ weights[0] + weights[1]) @ weights[2] + weights[3] - y) ** 2)

    step = jax.jit(lambda weights: [old - RATE * by for old, by in zip(weights, jax.grad(error)(weights), strict=True)])
    first = float(error(weights))
    for _ in range(STEPS):
        weights = step(weights)
    (device,) = weights[0].devices()
    gpu = device.platform == "gpu"
    return jax.__version__, device.device_kind if gpu else "CPU", gpu, first, float(error(weights))


def main(framework):
    """Train in a home that is thrown away afterwards: frameworks keep caches there, and whoever asks may have none."""
    began = time.monotonic()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    home = os.environ["HOME"] = tempfile.mkdtemp()
    try:
        train = {"tensorflow": with_tensorflow, "pytorch": with_pytorch, "jax": with_jax}[framework]
        version, device, gpu, first, last = train()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if not (math.isfinite(last) and last < first):
        sys.exit(f"{framework} {version} on {device}: the error did not fall, it went from {first:.4g} to {last:.4g}")
    errors = {"first": round(float(first), 4), "last": round(float(last), 4)}
    said = {"framework": f"{framework} {version}", "device": device, "gpu": bool(gpu), **errors}
    print(json.dumps({**said, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main(sys.argv[1])
