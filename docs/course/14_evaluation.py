# %% [markdown]
# # Evaluation (评价指标)
#
# A model is judged on data that it has not seen. This page splits data for that purpose, computes
# the metrics of a classifier ([`gk.metrics`](../../gradkit/metrics/__init__.py)), and shows what each of them hides.
#
# ## Three parts of the data (数据集划分)
#
# - the **training set** (训练集) fits the parameters;
# - the **validation set** (验证集; development set) chooses between models and settings;
# - the **test set** (测试集) is used once, for the model that was chosen.
#
# Validation and test data must come from the distribution that the model will be used on. A single
# split (**hold-out**, 留出法) wastes data and depends on luck. **Cross-validation** (交叉验证) cuts the
# data into $K$ folds, trains $K$ times, each time without one fold, and averages the errors on the
# folds that were left out:
#
# $$
# E_\text{cv} = \frac{1}{K} \sum_{k=1}^K E\bigl(f_{\mathcal D \setminus \mathcal D_k},\, \mathcal D_k\bigr)
# $$
#
# [`gk.metrics.k_fold`](../../gradkit/metrics/folds.py#k_fold) returns the folds as rectangular arrays of indices, so that
# [`gk.metrics.cross_validate`](../../gradkit/metrics/validation.py#cross_validate) runs the $K$ trainings as one `vmap`. The iris data are sorted by species, which shows why folds should be **stratified** (分层):
# without shuffling each of three plain folds is one whole species, and the model is tested on the
# one species that it has never seen.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import style
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, picture, quick

import gradkit as gk

STEPS = quick(300, 40)


def fit(x, y, where, l2, classes):
    """Softmax regression on the samples that `where` selects; their mean and deviation belong to it."""
    mean = jnp.mean(x, axis=0, where=where[:, None])
    deviation = jnp.std(x, axis=0, where=where[:, None]) + 1e-6
    params = {"w": jnp.zeros((x.shape[1], classes)), "b": jnp.zeros(classes)}
    tx = gk.chain(gk.add_l2_penalty(l2, mask=gk.by_rank(2)), gk.adam(0.1))

    def loss_fn(params):
        logits = scores((params, mean, deviation), x)
        losses = gk.softmax_cross_entropy_with_integer_labels(logits, y)
        return jnp.mean(losses, where=where)

    def step(carry, _):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss_fn)(params)), None

    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
    return params, mean, deviation


def scores(model, x):
    params, mean, deviation = model
    return (x - mean[None]) / deviation[None] @ params["w"] + params["b"][None]


def train_and_score(train, dev, l2, classes):
    """The accuracy on the samples that were left out."""
    model = fit(*train.data, train.where, l2, classes)
    x, y = dev.data
    return jnp.mean(jnp.argmax(scores(model, x), axis=1) == y, where=dev.where)


x, y = load_iris(return_X_y=True)
flowers, species = jnp.asarray(x, jnp.float32), jnp.asarray(y)
plans = {
    "plain folds of sorted data": gk.metrics.k_fold(y, 3),
    "shuffled": gk.metrics.k_fold(y, 3, key=0),
    "stratified": gk.metrics.k_fold(y, 3, stratify=True),
}
together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *plans.values())
judge = partial(train_and_score, l2=1e-3, classes=3)
validate = partial(gk.metrics.cross_validate, judge, (flowers, species))
accuracies = np.asarray(jax.jit(jax.vmap(validate))(together).scores)
for name, found in zip(plans, accuracies, strict=True):
    print(f"{name:27s} accuracy of each fold {found.round(2)}, mean {found.mean():.3f}")

assert accuracies[0].max() == 0.0  # a species that was never seen is never predicted
assert accuracies[2].mean() > 0.9


# %% Draw the folds
@picture("14_folds")
def draw_folds(plt):
    figure, axes = plt.subplots(3, 1, figsize=(7.6, 4.2), sharex=True)
    colours = np.array([BLUE, ORANGE, PURPLE])
    for axis, (name, folds), found in zip(axes, plans.items(), accuracies, strict=True):
        for k in range(3):
            test = np.asarray(folds.test[k])[np.asarray(folds.test_where[k])]
            axis.barh(2 - k, 150, left=-0.5, height=0.7, color="#e4e7ee")
            axis.bar(test, 0.7, bottom=2 - k - 0.35, width=1.0, color=colours[y[test]])
            axis.text(152, 2 - k, f"{found[k]:.0%}", va="center", color=INK)
        axis.set(title=name, yticks=[2, 1, 0], yticklabels=["fold 1", "fold 2", "fold 3"])
        axis.set(xlim=(-1, 168))
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    axes[0].text(152, 2.75, "accuracy", color=INK, fontsize=9)
    axes[-1].set(xlabel="150 samples (coloured: in the test part, grey: in the training part)")
    axes[-1].set_xticks([25, 75, 125], ["setosa", "versicolor", "virginica"])
    for label, colour in zip(axes[-1].get_xticklabels(), colours, strict=True):
        label.set(color=colour, fontweight="bold")
    return figure


# %% [markdown]
# ![Three ways of cutting the iris data into folds](../assets/course/14_folds.svg)
#
# Cross-validation chooses a setting. Here it chooses the penalty $\lambda$ of a model of the digits:
# every $\lambda$ × every fold is one more axis of the same `vmap`. The test set is not touched until
# $\lambda$ is chosen.

# %%
images, digits = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(digits))
pixels, digits = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(digits[order])
development, held_out = slice(0, 300), slice(300, None)  # few, so that the penalty matters
folds = gk.metrics.k_fold(np.asarray(digits[development]), 5, stratify=True, key=1)
penalties = jnp.logspace(-5, 0, quick(11, 3))


def each_penalty(l2):
    judge = partial(train_and_score, l2=l2, classes=10)
    return gk.metrics.cross_validate(judge, (pixels[development], digits[development]), folds)


by_fold = np.asarray(jax.jit(jax.vmap(each_penalty))(penalties).scores)
best = int(by_fold.mean(1).argmax())
chosen = penalties[best]
everything = jnp.ones(300, bool)
model = jax.jit(fit, static_argnums=4)(
    pixels[development], digits[development], everything, chosen, 10
)
logits = scores(model, pixels[held_out])
predicted, true = jnp.argmax(logits, axis=1), digits[held_out]
print(f"chosen λ = {chosen:.1g}: cross-validation {by_fold[best].mean():.1%}")
print(f"test accuracy {gk.metrics.accuracy(true, predicted):.1%} of {len(true)} samples")

assert abs(by_fold[best].mean() - gk.metrics.accuracy(true, predicted)) < 0.08


# %% Draw the choice
@picture("14_cross_validation")
def draw_choice(plt):
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    for k in range(5):
        axis.plot(penalties, 100 * by_fold[:, k], "o", color=BLUE, alpha=0.35, markersize=4)
    axis.plot([], [], "o", color=BLUE, alpha=0.35, markersize=4, label="one fold")
    axis.plot(penalties, 100 * by_fold.mean(1), color=BLUE, linewidth=2, label="mean of five")
    axis.plot(chosen, 100 * by_fold[best].mean(), "o", color=RED, markersize=9)
    note = f"chosen: λ = {float(chosen):.1g}"
    place = {"xytext": (0, 12), "textcoords": "offset points", "ha": "center"}
    axis.annotate(note, (chosen, 100 * by_fold[best].max()), color=RED, **place)
    axis.set(xscale="log", xlabel="λ of the L2 penalty", ylabel="accuracy, %")
    axis.set(title="Cross-validation chooses a penalty (300 digits)", ylim=(70, 101))
    axis.legend(loc="lower left")
    return figure


# %% [markdown]
# ![Accuracy of five folds for each penalty](../assets/course/14_cross_validation.svg)
#
# ## Counting (准确率、精确率、召回率、F 值)
#
# With the labels $y^{(n)}$, the predictions $\hat y^{(n)}$ and the indicator $I$:
#
# | metric | formula | in gradkit |
# |---|---|---|
# | accuracy (准确率) | $\mathcal A = \frac1N \sum_n I(y^{(n)} = \hat y^{(n)})$ | [`gk.metrics.accuracy`](../../gradkit/metrics/classification.py#accuracy) |
# | error rate (错误率) | $\mathcal E = 1 - \mathcal A$ | `1 - accuracy` |
# | true positives (真正例) | $TP_c = \sum_n I(y^{(n)} = \hat y^{(n)} = c)$ | `matrix[c, c]` of [`gk.metrics.confusion_matrix`](../../gradkit/metrics/classification.py#confusion_matrix) |
# | false positives (假正例) | $FP_c = \sum_n I(y^{(n)} \ne c \wedge \hat y^{(n)} = c)$ | `matrix[:, c].sum() - matrix[c, c]` |
# | false negatives (假负例) | $FN_c = \sum_n I(y^{(n)} = c \wedge \hat y^{(n)} \ne c)$ | `matrix[c].sum() - matrix[c, c]` |
# | true negatives (真负例) | $TN_c = \sum_n I(y^{(n)} \ne c \wedge \hat y^{(n)} \ne c)$ | the rest of the matrix |
# | precision (精确率, 查准率) | $p_c = \frac{TP_c}{TP_c + FP_c}$ | [`gk.metrics.precision`](../../gradkit/metrics/classification.py#precision) |
# | recall (召回率, 查全率) | $r_c = \frac{TP_c}{TP_c + FN_c}$ | [`gk.metrics.recall`](../../gradkit/metrics/classification.py#recall) |
# | F-measure (F 值) | $f_c = \frac{(1 + \beta^2)\, p_c\, r_c}{\beta^2 p_c + r_c}$ | [`gk.metrics.fbeta`](../../gradkit/metrics/classification.py#fbeta) |
# | macro average (宏平均) | $p_\text{macro} = \frac1C \sum_c p_c$, $r_\text{macro}$ alike | `average="macro"` |
# | micro average (微平均) | the same counts, summed over the classes first | `average="micro"` |
#
# Ten labels by hand:

# %%
y_true = jnp.array([0, 1, 1, 1, 0, 1, 0, 1, 1, 0])
y_pred = jnp.array([1, 1, 1, 1, 0, 0, 0, 1, 0, 0])
matrix = gk.metrics.confusion_matrix(y_true, y_pred)
print(matrix)  # rows: the true class, columns: the predicted class

assert matrix.tolist() == [[3, 1], [2, 4]]  # TP = 4, FP = 1, FN = 2, TN = 3
assert np.isclose(gk.metrics.accuracy(y_true, y_pred), 7 / 10)
assert np.isclose(gk.metrics.precision(y_true, y_pred), 4 / 5)
assert np.isclose(gk.metrics.recall(y_true, y_pred), 4 / 6)
assert np.isclose(gk.metrics.fbeta(y_true, y_pred), 2 * (4 / 5) * (2 / 3) / (4 / 5 + 2 / 3))

# %% [markdown]
# Accuracy hides a class that is rare. With nine samples of class 0 to one of class 1, the model that
# always answers 0 is right nine times in ten, and finds no sample of class 1. The macro average says
# so: it gives every class the same weight. The micro average gives every *sample* the same weight; for
# one label per sample its precision, recall and F1 are all the accuracy.

# %%
rare = jnp.arange(100) % 10 == 9
always_zero = jnp.zeros(100, bool)
assert np.isclose(gk.metrics.accuracy(rare, always_zero), 0.9)
assert gk.metrics.recall(rare, always_zero) == 0.0
assert gk.metrics.recall(rare, always_zero, average="macro") == 0.5

counts = gk.metrics.confusion_matrix(true, predicted, num_classes=10)
per_class = {
    "precision": gk.metrics.precision(true, predicted, num_classes=10, average=None),
    "recall": gk.metrics.recall(true, predicted, num_classes=10, average=None),
}
macro = {name: float(np.mean(values)) for name, values in per_class.items()}
micro = gk.metrics.precision(true, predicted, num_classes=10, average="micro")
assert np.isclose(micro, gk.metrics.recall(true, predicted, num_classes=10, average="micro"))
assert np.isclose(micro, gk.metrics.accuracy(true, predicted))

# The macro F1 of the lectures is of the macro averages; scikit-learn's and gradkit's is the mean of f_c.
lectures = 2 * macro["precision"] * macro["recall"] / (macro["precision"] + macro["recall"])
macro_f1 = gk.metrics.fbeta(true, predicted, num_classes=10, average="macro")
print(f"macro F1 {macro_f1:.4f}, of the averages {lectures:.4f}, micro F1 {micro:.4f}")
assert abs(macro_f1 - lectures) < 0.01


# %% Draw the confusion matrix
@picture("14_confusion")
def draw_confusion(plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 4.1), width_ratios=[1, 1])
    table = np.asarray(counts)
    left.imshow(np.log1p(table), cmap="Blues", vmax=np.log(table.max()) * 1.4)
    for i in range(10):
        for j in range(10):
            if table[i, j]:
                wrong = {"color": RED, "fontweight": "bold"} if i != j else {"color": "white"}
                left.text(j, i, f"{table[i, j]:.0f}", ha="center", va="center", fontsize=8, **wrong)
    left.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    left.set(xticks=range(10), yticks=range(10))
    left.spines[:].set_visible(False)
    left.tick_params(length=0)
    height = np.arange(10)
    for shift, (name, values), colour in zip(
        (-0.2, 0.2), per_class.items(), (BLUE, RED), strict=True
    ):
        right.barh(height + shift, 100 * np.asarray(values), 0.36, color=colour, label=name)
        right.axvline(100 * macro[name], color=colour, linestyle="--", linewidth=1)
    right.set(yticks=height, ylim=(9.6, -0.6), xlim=(60, 101), xlabel="%  (dashed: macro average)")
    right.set(title="Each class", ylabel="class")
    right.legend(loc="lower right", bbox_to_anchor=(1.02, 0.97), ncols=2)
    return figure


# %% [markdown]
# ![Confusion matrix of the digits, and precision and recall of each class](../assets/course/14_confusion.svg)
#
# A row of the matrix shows where the samples of a class went (recall), a column what a prediction
# consists of (precision). **Top-N accuracy** counts a prediction as right if the true class is among the
# $N$ classes of the highest scores ([`gk.metrics.top_k_accuracy`](../../gradkit/metrics/classification.py#top_k_accuracy)).

# %%
top = [float(gk.metrics.top_k_accuracy(true, logits, k=k)) for k in (1, 2, 3)]
print("top-1, top-2, top-3 accuracy:", [f"{value:.1%}" for value in top])
assert top[0] <= top[1] <= top[2]

# %% [markdown]
# ## All thresholds at once: ROC and PR curves (曲线)
#
# A classifier of two classes gives a score; a threshold makes it a decision. Lower thresholds find more
# of the positive samples (recall, the true positive rate) and raise more false alarms.
#
# - The **ROC curve** ([`gk.metrics.roc_curve`](../../gradkit/metrics/ranking.py#roc_curve)) is the true positive rate $TP / (TP + FN)$ against the
#   false positive rate $FP / (FP + TN)$. The area under it (**AUC**, [`gk.metrics.roc_auc`](../../gradkit/metrics/ranking.py#roc_auc)) is the
#   probability that a random positive sample scores higher than a random negative one; 0.5 is chance.
# - The **precision–recall curve** ([`gk.metrics.precision_recall_curve`](../../gradkit/metrics/ranking.py#precision_recall_curve)) is the better picture if the
#   positive class is rare. Its area is the average precision ([`gk.metrics.average_precision`](../../gradkit/metrics/ranking.py#average_precision)).
#
# Two models of the breast cancer data, positive = malignant: one sees all 30 measurements, one only the
# mean smoothness of the cell nuclei.

# %%
x, y = load_breast_cancer(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
x, malignant = jnp.asarray(x[order], jnp.float32), jnp.asarray(1 - y[order])
rest = slice(400, None)
inputs = {"30 measurements": jnp.ones(30), "smoothness only": jnp.zeros(30).at[4].set(1.0)}
several = jax.jit(
    jax.vmap(lambda keep: fit(x[:400] * keep[None], malignant[:400], jnp.ones(400, bool), 1e-3, 2))
)
models = several(jnp.stack(list(inputs.values())))
score = {}
for i, (name, keep) in enumerate(inputs.items()):
    both = scores(jax.tree.map(lambda leaf, i=i: leaf[i], models), x[rest] * keep[None])
    score[name] = both[:, 1] - both[:, 0]  # the log-odds of malignant
truth = malignant[rest]
auc = {name: float(gk.metrics.roc_auc(truth, each)) for name, each in score.items()}
print({name: f"AUC {value:.3f}" for name, value in auc.items()})

# The area is the probability of the right order, here counted over all pairs.
each = np.asarray(score["smoothness only"])
pairs = each[np.asarray(truth) == 1][:, None] - each[np.asarray(truth) == 0][None]
assert np.isclose(auc["smoothness only"], (pairs > 0).mean() + (pairs == 0).mean() / 2, atol=1e-6)
assert auc["30 measurements"] > auc["smoothness only"] > 0.6


# %% Draw the curves
@picture("14_roc_pr")
def draw_curves(plt):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.2, 3.5))
    share = float(jnp.mean(truth))
    for (name, each), colour in zip(score.items(), (BLUE, RED), strict=True):
        false, found, _ = gk.metrics.roc_curve(truth, each)
        left.plot(false, found, color=colour, linewidth=2, label=f"{name}\nAUC {auc[name]:.1%}")
        precise, found, _ = gk.metrics.precision_recall_curve(truth, each)
        area = gk.metrics.average_precision(truth, each)
        middle.plot(found, precise, color=colour, linewidth=2, label=f"{name}\nAP {area:.1%}")
    left.plot([0, 1], [0, 1], ":", color=FAINT)
    left.text(0.52, 0.45, "chance", color=FAINT, rotation=40, fontsize=9)
    middle.axhline(share, color=FAINT, linestyle=":")
    middle.text(0.02, share + 0.02, "chance: the share of positives", color=FAINT, fontsize=9)
    left.set(title="ROC curve", xlabel="false positive rate", ylabel="true positive rate (recall)")
    middle.set(title="Precision–recall curve", xlabel="recall", ylabel="precision", ylim=(0, 1.03))
    left.legend(loc="lower right", fontsize=8)
    middle.legend(loc="lower left", fontsize=8, bbox_to_anchor=(0.1, 0.02))
    each = np.asarray(score["smoothness only"])
    edges = np.linspace(each.min(), each.max(), 24)
    for value, colour, name in ((0, GREEN, "benign"), (1, PURPLE, "malignant")):
        chosen = each[np.asarray(truth) == value]
        right.hist(chosen, edges, color=colour, alpha=0.55, label=name)
    right.axvline(0, color=INK, linewidth=1)
    right.text(0.1, 15, "threshold", fontsize=9, va="top")
    right.set_ylim(0, 26)
    right.set(title="Scores, smoothness only", xlabel="log-odds of malignant", ylabel="samples")
    right.legend(loc="upper left", fontsize=8)
    return figure


# %% [markdown]
# ![ROC and precision-recall curves of two models, and the scores of one](../assets/course/14_roc_pr.svg)
#
# The threshold is a choice for the validation set, by what an error costs. A missed tumour is worse than
# a false alarm, so β = 2 (recall counts twice as much) puts the threshold lower than β = ½.

# %%
each = score["smoothness only"]
candidates = jnp.linspace(-2.5, 2.5, 101)


def f_score(threshold, beta):
    decision = (each > threshold).astype(truth.dtype)
    return gk.metrics.fbeta(truth, decision, beta=beta, num_classes=2)


def f_scores(beta):
    return jax.vmap(lambda threshold: f_score(threshold, beta))(candidates)


at = {beta: float(candidates[jnp.argmax(f_scores(beta))]) for beta in (0.5, 2.0)}
print("best threshold:", {f"β = {beta}": f"{value:.2f}" for beta, value in at.items()})
assert at[0.5] > at[2.0]

# %% [markdown]
# ## Are the probabilities true? Calibration (校准)
#
# A model is calibrated if 80 % of the predictions that it makes with probability 0.8 are right. The
# expected calibration error ([`gk.metrics.calibration_error`](../../gradkit/metrics/calibration.py#calibration_error)) is the mean distance between confidence
# and frequency over bins:
#
# $$
# \text{ECE} = \sum_b \frac{n_b}{N} \, \bigl| \operatorname{acc}(b) - \operatorname{conf}(b) \bigr|
# $$
#
# A network that memorized its 300 samples is right less often than it claims. Dividing its logits by one
# temperature $T > 1$, chosen on held-out data, repairs that, and changes no prediction.

# %%
WIDTH, EPOCHS = 64, quick(400, 30)


def network(params, x):
    hidden = jax.nn.relu(x @ params["first"] + params["bias"][None])
    return hidden @ params["second"]


def train_network(key):
    first, second = jax.random.split(key)
    he = gk.initializers.he_normal()
    params = {
        "first": he(first, (64, WIDTH)),
        "bias": jnp.zeros(WIDTH),
        "second": he(second, (WIDTH, 10)),
    }
    tx = gk.adam(0.02)

    def loss_fn(params, y):
        outputs = network(params, pixels[development])
        return jnp.mean(gk.softmax_cross_entropy_with_integer_labels(outputs, y))

    def step(carry, _):
        params, state = carry
        return tx.apply(params, state, jax.grad(loss_fn)(params, noisy)), None

    return jax.lax.scan(step, (params, tx.init(params)), length=EPOCHS)[0][0]


# One training label in five is wrong, as in data that people have labelled in a hurry.
generator = np.random.default_rng(3)
wrong = generator.random(300) < 0.2
noisy = jnp.where(
    jnp.asarray(wrong), jnp.asarray(generator.integers(0, 10, 300)), digits[development]
)
outputs = network(jax.jit(train_network)(jax.random.key(0)), pixels[held_out])
tune, final = slice(0, 500), slice(500, None)


def nll(temperature):
    losses = gk.softmax_cross_entropy_with_integer_labels(outputs[tune] / temperature, true[tune])
    return jnp.mean(losses)


temperatures = jnp.linspace(0.5, 12, 116)
temperature = temperatures[jnp.argmin(jax.vmap(nll)(temperatures))]


def confidence(temperature):
    """Whether each prediction is right, and the probability that the model gave it."""
    probabilities = jax.nn.softmax(outputs[final] / temperature, axis=1)
    right = jnp.argmax(probabilities, axis=1) == true[final]
    return right, jnp.max(probabilities, axis=1)


before, after = confidence(1.0), confidence(temperature)
errors = [float(gk.metrics.calibration_error(*pair, n_bins=10)) for pair in (before, after)]
print(f"T = {temperature:.1f}: calibration error {errors[0]:.3f} before, {errors[1]:.3f} after")
assert (before[0] == after[0]).all()
assert style.QUICK or errors[1] < errors[0]


# %% Draw the reliability diagrams
@picture("14_calibration")
def draw_calibration(plt):
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.9), sharey=True)
    for axis, pair, error, name in zip(
        axes, (before, after), errors, ("as trained", f"temperature {temperature:.1f}"), strict=True
    ):
        bins = gk.metrics.Calibration.init(n_bins=10).update(*pair)
        frequency, mean = (np.asarray(part) for part in bins.curve())
        axis.plot([0, 1], [0, 1], ":", color=FAINT)
        for f, m in zip(frequency, mean, strict=True):
            if np.isfinite(f):
                axis.bar(m, f, 0.07, color=BLUE, alpha=0.85)
                axis.bar(m, m - f, 0.07, bottom=f, color=RED, alpha=0.45)
        axis.set(
            title=f"{name}: ECE {error:.1%}", xlabel="confidence", xlim=(0, 1.04), ylim=(0, 1.04)
        )
    axes[0].set_ylabel("accuracy")
    axes[0].text(0.04, 0.93, "orange: the gap", color=RED)
    axes[0].text(0.04, 0.86, "dotted: calibrated", color=FAINT)
    return figure


# %% [markdown]
# ![Reliability diagrams before and after temperature scaling](../assets/course/14_calibration.svg)
#
# ## Over batches
#
# A test set that does not fit in memory is judged in batches by accumulators, which are pytrees that add:
# [`gk.metrics.Confusion`](../../gradkit/metrics/streaming.py#Confusion) gives exactly the numbers above.

# %%
tally = gk.metrics.Confusion.init(10)
for batch in np.array_split(np.arange(len(true)), 4):
    tally = tally.update(true[batch], predicted[batch])
assert np.isclose(tally.accuracy(), gk.metrics.accuracy(true, predicted))
