"""Records small Keras trainings in float64, for what tests/keras-parity/ leaves out.

    pip install keras==3.15.1 tensorflow-cpu==2.21.0
    python tests/keras/record.py > tests/keras/cases.json

One case a line, in the form of tests/keras-parity/*.json. `python tests/keras/record.py NAME…` records these only.
"""

import json
import math
import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

keras.config.set_floatx("float64")

ROWS, INPUTS, BATCH, EPOCHS = 22, 3, 8, 3
LAYERS = {
    "dense": keras.layers.Dense,
    "batch_normalization": keras.layers.BatchNormalization,
    "layer_normalization": keras.layers.LayerNormalization,
    "dropout": keras.layers.Dropout,
    "activation": keras.layers.Activation,
}
OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "rmsprop": keras.optimizers.RMSprop,
}
SCHEDULES = {
    "cosine_decay": keras.optimizers.schedules.CosineDecay,
    "cosine_decay_restarts": keras.optimizers.schedules.CosineDecayRestarts,
    "exponential_decay": keras.optimizers.schedules.ExponentialDecay,
    "inverse_time_decay": keras.optimizers.schedules.InverseTimeDecay,
    "polynomial_decay": keras.optimizers.schedules.PolynomialDecay,
}
LOSSES = {
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
    "log_cosh": keras.losses.LogCosh,
    "poisson": keras.losses.Poisson,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
}
METRICS = {
    "rmse": keras.metrics.RootMeanSquaredError,
    "r2": keras.metrics.R2Score,
    "precision": keras.metrics.Precision,
    "recall": keras.metrics.Recall,
    "auc": keras.metrics.AUC,
}


def dense(units, activation="linear", **more):
    return {"type": "dense", "units": units, "activation": activation, **more}


def parts(word):
    word = {"type": word} if isinstance(word, str) else dict(word)
    return word.pop("type"), word


def make_layer(word):
    kind, fields = parts(word)
    if kind == "dense" and ("kernel_l1" in fields or "kernel_l2" in fields):
        penalty = keras.regularizers.L1L2(fields.pop("kernel_l1", 0.0), fields.pop("kernel_l2", 0.0))
        fields["kernel_regularizer"] = penalty
    return LAYERS[kind](**fields)


def make_optimizer(word):
    kind, fields = parts(word)
    if schedule := fields.pop("schedule", None):
        name, constants = parts(schedule)
        if name == "piecewise_constant_decay":
            fields["learning_rate"] = keras.optimizers.schedules.PiecewiseConstantDecay(**constants)
        else:
            fields["learning_rate"] = SCHEDULES[name](fields["learning_rate"], **constants)
    return OPTIMIZERS[kind](**fields)


def make_metric(word, outputs):
    kind, fields = parts(word)
    if kind == "f1":
        return keras.metrics.F1Score(average="macro", threshold=0.5 if outputs == 1 else None, name=kind)
    return METRICS[kind](name=kind, **fields) if kind in METRICS else kind


def rows(outputs, positive):
    """Round numbers that need few digits."""
    x = [[round(2 * math.sin(1 + 7 * row + 3 * column), 3) for column in range(INPUTS)] for row in range(ROWS)]
    if outputs > 1:
        return x, [[float((row * row + column) % outputs == 0) for column in range(outputs)] for row in range(ROWS)]
    if positive == "labels":
        return x, [[float(row[0] + row[1] * row[2] > 0)] for row in x]
    return x, [[round(abs(row[0]) + 1 if positive else row[0] * row[1] - row[2], 3)] for row in x]


def weights_of(model):
    names = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
    return [{v.name: v for v in layer.weights if v.name in names} for layer in model.layers]


def numbers(value, digits=13):
    value = np.asarray(value)
    if value.ndim:
        return [numbers(item, digits) for item in value]
    return float(f"{float(value):.{digits}g}")


def record(name, spec, sample_weight=False, positive=False, spread=1.0):
    keras.utils.set_random_seed(7)
    outputs = [parts(layer)[1]["units"] for layer in spec["layers"] if parts(layer)[0] == "dense"][-1]
    x, y = rows(outputs, positive)
    model = keras.Sequential([keras.Input((INPUTS,)), *map(make_layer, spec["layers"])])
    random = np.random.default_rng(7)
    for arrays in weights_of(model):
        for array_name, variable in arrays.items():
            middle = {"gamma": 1.0, "moving_variance": 1.0}.get(array_name, 0.0)
            most = spread * (0.1 if array_name != "kernel" else 0.6)
            variable.assign(np.round(middle + most * random.uniform(-1, 1, variable.shape), 3))
    loss, fields = parts(spec["loss"])
    model.compile(
        optimizer=make_optimizer(spec["optimizer"]),
        loss=LOSSES[loss](**fields),
        metrics=[make_metric(metric, outputs) for metric in spec["metrics"]],
    )
    case = {"name": name, "source": f"Keras {keras.__version__}, TensorFlow {tf.__version__}, float64", "spec": spec}
    case |= {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "x": x, "y": y}
    x, y = np.array(x), np.array(y)
    factors = 0.5 * (np.arange(ROWS) % 4) if sample_weight else None
    if sample_weight:
        case["sample_weight"] = factors.tolist()
    named = weights_of(model)
    case["initial_weights"] = [{key: numbers(value) for key, value in arrays.items()} for arrays in named]
    before = [np.asarray(variable) for variable in model.weights]
    with tf.GradientTape() as tape:
        first = None if factors is None else tf.constant(factors[:BATCH])
        value = model.compute_loss(x[:BATCH], tf.constant(y[:BATCH]), model(x[:BATCH], training=True), first)
    trained = [{key: v for key, v in arrays.items() if not key.startswith("moving")} for arrays in named]
    gradients = tape.gradient(value, [{key: v.value for key, v in arrays.items()} for arrays in trained])
    gradients = [{key: numbers(value) for key, value in arrays.items()} for arrays in gradients]
    case["first_batch"] = {"loss": numbers(value), "gradients": gradients}
    for variable, saved in zip(model.weights, before):
        variable.assign(saved)
    arguments = {"batch_size": BATCH, "verbose": 0, "sample_weight": factors}
    history = model.fit(x, y, epochs=EPOCHS, shuffle=False, **arguments).history
    case["history"] = {key: numbers(value) for key, value in history.items()}
    case["final_weights"] = [{key: numbers(value) for key, value in arrays.items()} for arrays in weights_of(model)]
    evaluated = model.evaluate(x, y, return_dict=True, **arguments)
    case["evaluate"] = {key: numbers(value) for key, value in evaluated.items()}
    case["predictions"] = numbers(model.predict(x[:5], verbose=0))
    assert all(np.isfinite(value).all() for value in history.values()), name
    return case


CLASSES = [dense(4, "tanh"), dense(3, "softmax")]
NUMBERS = [dense(4, "swish"), dense(1)]
LABELS = [dense(4, "softplus"), dense(1, "sigmoid")]


def cases():
    def case(name, layers=CLASSES, loss="categorical_crossentropy", optimizer="sgd", metrics=(), **more):
        spec = {"layers": layers, "loss": loss, "optimizer": optimizer, "metrics": list(metrics)}
        return name, {"spec": spec, **more}

    for kind in OPTIMIZERS:
        yield case(f"{kind}_with_its_defaults", optimizer=kind, metrics=["accuracy"])
    for kind, variants in {
        "sgd": [{"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}],
        "adam": [{"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}, {"amsgrad": True, "weight_decay": 0.05}],
        "adamw": [{"weight_decay": 0.1, "amsgrad": True}],
        "nadam": [{"beta_1": 0.7, "beta_2": 0.95, "weight_decay": 0.01}],
        "adamax": [{"beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-4}],
        "adagrad": [{"initial_accumulator_value": 0.5, "epsilon": 1e-3}],
        "adadelta": [{"rho": 0.9, "epsilon": 1e-3}],
        "rmsprop": [
            {"momentum": 0.9},
            {"centered": True},
            {"centered": True, "momentum": 0.5, "rho": 0.8},
            {"centered": True, "rho": 0.0, "learning_rate": 1e-4},
        ],
    }.items():
        for number, constants in enumerate(variants):
            optimizer = {"type": kind, "learning_rate": 0.02, **constants}
            yield case(f"{kind}_variant_{number}", optimizer=optimizer)
    for clipping in [{"clipnorm": 0.1}, {"clipvalue": 0.02}, {"global_clipnorm": 0.15}]:
        yield case(next(iter(clipping)), optimizer={"type": "adagrad", "learning_rate": 0.05, **clipping})
    for number, schedule in enumerate([
        {"type": "cosine_decay", "decay_steps": 6, "alpha": 0.2},
        {"type": "cosine_decay", "decay_steps": 5, "alpha": 0.1, "warmup_target": 0.3, "warmup_steps": 3},
        {"type": "cosine_decay_restarts", "first_decay_steps": 2, "alpha": 0.1},
        {"type": "cosine_decay_restarts", "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.8},
        {"type": "cosine_decay_restarts", "first_decay_steps": 3, "t_mul": 1.5, "m_mul": 0.5},
        {"type": "exponential_decay", "decay_steps": 4, "decay_rate": 0.5},
        {"type": "exponential_decay", "decay_steps": 4, "decay_rate": 0.5, "staircase": True},
        {"type": "inverse_time_decay", "decay_steps": 4, "decay_rate": 0.5},
        {"type": "inverse_time_decay", "decay_steps": 4, "decay_rate": 0.5, "staircase": True},
        {"type": "polynomial_decay", "decay_steps": 7},
        {"type": "polynomial_decay", "decay_steps": 6, "end_learning_rate": 0.02, "power": 2.0},
        {"type": "polynomial_decay", "decay_steps": 4, "end_learning_rate": 0.02, "power": 0.5, "cycle": True},
        {"type": "piecewise_constant_decay", "boundaries": [2, 5], "values": [0.2, 0.1, 0.02]},
    ]):
        optimizer = {"type": "sgd", "learning_rate": 0.2, "schedule": schedule}
        yield case(f"{schedule['type']}_{number}", optimizer=optimizer)
    adam = {"type": "adam", "learning_rate": 0.01}
    for activation in "linear relu leaky_relu elu selu gelu swish mish sigmoid tanh softplus softmax".split():
        layers = [dense(4, activation), "layer_normalization", dense(3), {"type": "activation", "activation": activation}]
        yield case(f"{activation}_twice", [*layers, dense(1)], "mse", adam, ["mae", "mse", "rmse", "r2"])
    for loss in ["mae", "huber", {"type": "huber", "delta": 0.4}, "log_cosh"]:
        name = loss if isinstance(loss, str) else "huber_of_another_delta"
        yield case(f"{name}_for_numbers", NUMBERS, loss, adam, ["mae"])
        yield case(f"{name}_for_classes_with_sample_weights", CLASSES, loss, adam, ["accuracy"], sample_weight=True)
    yield case("poisson", [dense(4, "swish"), dense(1, "softplus")], "poisson", adam, ["mae"], positive=True)
    counted = ["accuracy", "precision", "recall", "f1", "auc"]
    smooth = {"type": "binary_crossentropy", "label_smoothing": 0.2}
    yield case("one_label", LABELS, "binary_crossentropy", adam, counted, positive="labels")
    yield case("one_label_smoothed", LABELS, smooth, adam, counted, positive="labels", sample_weight=True)
    yield case("several_labels", [dense(4, "relu"), dense(3, "sigmoid")], smooth, adam, counted)
    yield case("classes_counted_every_way", metrics=[*counted, "mae", "mse", "rmse", "r2"], sample_weight=True)
    yield case("classes_of_equal_outputs", optimizer=adam, metrics=counted, spread=0.0)
    yield case("classes_without_an_output", [dense(4), dense(3, "relu")], "mse", adam, ["accuracy", "f1"])
    penalized = [dense(4, "relu", kernel_l1=0.01, kernel_l2=0.03), dense(3, "softmax", kernel_l1=0.02)]
    yield case("penalties", penalized, optimizer=adam)
    bare = [dense(4, use_bias=False), "batch_normalization", {"type": "activation", "activation": "swish"}]
    yield case("without_bias", [*bare, {"type": "dropout", "rate": 0.0}, dense(3, "softmax", use_bias=False)])
    other = {"type": "batch_normalization", "momentum": 0.7, "epsilon": 0.02}
    layers = [other, dense(4, "gelu"), other, {"type": "layer_normalization", "epsilon": 0.1}, dense(3, "softmax")]
    yield case("normalizations_with_other_constants", layers, optimizer={"type": "nadam", "learning_rate": 0.02})


if __name__ == "__main__":
    wanted = sys.argv[1:]
    lines = [json.dumps(record(name, **what)) for name, what in cases() if not wanted or name in wanted]
    print("[\n" + ",\n".join(lines) + "\n]")
