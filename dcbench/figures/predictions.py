"""What a classifier says about examples it has not seen: confusion, scores by class, mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dcbench.errors import SpecError
from dcbench.figures._style import Figure, finished, plain
from dcbench.figures._theme import COLOURS, translucent

MOST_MISTAKES = 24
_PER_ROW = 8
_BLUE = COLOURS["mirrored"]
_SCORES = {"precision": COLOURS["mirrored"], "recall": COLOURS["horovod"], "F1": COLOURS["single"]}
_SIGNS = {"precision": "triangle-right", "recall": "triangle-left", "F1": "circle"}


def plot_confusion(truth: Sequence[int], predicted: Sequence[int], name: str = "model") -> Figure:
    """
    Draw the confusion matrix: how many examples of each class were taken for which.

    Parameters
    ----------
    truth, predicted : sequence of int
        Class numbers, shape (examples,).
    name : str
        Of the model, for the title.

    Raises
    ------
    SpecError
        If there are no examples, or not as many predictions.
    """
    truth, predicted = _pairs(truth, predicted)
    counts = _confusion(truth, predicted)
    classes = [str(k) for k in range(len(counts))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    made = go.Figure()
    made.add_heatmap(
        z=np.round(shares, 4).tolist(),
        x=classes,
        y=classes,
        colorscale=[[0, translucent(_BLUE, 0)], [0.02, translucent(_BLUE, 0.12)], [1, translucent(_BLUE, 0.65)]],
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        showscale=False,
        text=[[str(n) if n else "" for n in row] for row in counts.tolist()],
        texttemplate="%{text}" if len(classes) <= 30 else None,
        hovertemplate="%{text} of class %{y} taken for %{x}: %{z:.0%} of the class<extra></extra>",
    )
    made.update_xaxes(title_text="Predicted class", type="category", constrain="domain", showgrid=False)
    made.update_yaxes(title_text="True class", type="category", autorange="reversed", scaleanchor="x", showgrid=False)
    return finished(made, f"Confusion matrix of {plain(name)}", _under(truth, predicted), 420)


def plot_scores(truth: Sequence[int], predicted: Sequence[int], name: str = "model") -> Figure:
    """
    Draw precision, recall and F1 of each class.

    Parameters
    ----------
    truth, predicted : sequence of int
        Class numbers, shape (examples,).
    name : str
        Of the model, for the title.

    Raises
    ------
    SpecError
        If there are no examples, or not as many predictions.

    Notes
    -----
    Precision is the fraction of what was called a class that is of it; recall the fraction of a class that was called
    so; F1 = 2·precision·recall / (precision + recall). A class that was never predicted has precision 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, predicted = _pairs(truth, predicted)
    found = precision_recall_fscore_support(truth, predicted, labels=range(_classes(truth, predicted)), zero_division=0)
    made = go.Figure()
    for (score, shade), values in zip(_SCORES.items(), found, strict=False):
        made.add_scatter(
            x=[str(k) for k in range(len(values))],
            y=np.round(values, 4).tolist(),
            mode="markers",
            name=score,
            marker={"color": shade, "symbol": _SIGNS[score], "size": 11 if score != "F1" else 7},
            hovertemplate=f"class %{{x}}: {score} %{{y:.1%}}<extra></extra>",
        )
    made.update_xaxes(title_text="Class", type="category")
    made.update_yaxes(title_text="Score, higher is better", tickformat=".0%")
    return finished(made, f"Scores by class of {plain(name)}", _under(truth, predicted), 320)


def plot_mistakes(
    images: Sequence[np.ndarray], truth: Sequence[int], predicted: Sequence[int], name: str = "model"
) -> Figure:
    """
    Draw the images that were classified wrongly, the first ``MOST_MISTAKES`` of them.

    Parameters
    ----------
    images : array
        Shape (examples, height, width, channels); the mean of the channels is drawn, dark where it is large.
    truth, predicted : sequence of int
        Class numbers, shape (examples,).
    name : str
        Of the model, for the title.

    Raises
    ------
    SpecError
        If there are no examples, not as many predictions, the examples are no images, or there is no mistake.
    """
    pixels = np.asarray(images, float)
    truth, predicted = _pairs(truth, predicted)
    if pixels.ndim != 4 or len(pixels) != len(truth):
        raise SpecError(
            f"{len(truth)} images (height, width, channels) were expected, an array of shape {pixels.shape} was given; "
            "give the examples that were predicted"
        )
    wrong = np.flatnonzero(truth != predicted)
    if not len(wrong):
        raise SpecError(f"{plain(name)} classified all {len(truth)} examples correctly; there is no mistake to draw")
    shown = wrong[:MOST_MISTAKES]
    titles = [f"{truth[i]} → {predicted[i]}" for i in shown]
    rows = math.ceil(len(shown) / _PER_ROW)
    made = make_subplots(
        rows, _PER_ROW, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.3 / (rows + 1)
    )
    for place, i in enumerate(shown):
        row, col = place // _PER_ROW + 1, place % _PER_ROW + 1
        ink = [[0, "#FFFFFF"], [1, "#1F2933"]]
        one = pixels[i].mean(axis=-1).round(3).tolist()
        made.add_heatmap(z=one, colorscale=ink, showscale=False, hoverinfo="skip", row=row, col=col)
        made.update_yaxes(autorange="reversed", scaleanchor=f"x{place + 1 if place else ''}", row=row, col=col)
    made.update_xaxes(visible=False, constrain="domain").update_yaxes(visible=False, constrain="domain")
    made.update_annotations(font={"size": 12})
    of = "" if len(shown) == len(wrong) else f"the first {len(shown)} of {len(wrong)}, "
    title = f"Mistakes of {plain(name)}"
    drawn = finished(made, title, f"{of}true class → predicted class; {_under(truth, predicted)}", 60 + 110 * rows)
    return drawn.update_layout(margin={"t": drawn.layout.margin.t + 22, "b": 12})


def _pairs(truth: Sequence[int], predicted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(truth), np.asarray(predicted)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise SpecError(
            f"truth of shape {a.shape} and predictions of shape {b.shape} cannot be compared; "
            "give one class number for each of the same examples"
        )
    return a, b


def _classes(truth: np.ndarray, predicted: np.ndarray) -> int:
    return int(max(truth.max(), predicted.max())) + 1


def _confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    from sklearn.metrics import confusion_matrix

    found: np.ndarray = confusion_matrix(truth, predicted, labels=range(_classes(truth, predicted)))
    return found


def _under(truth: np.ndarray, predicted: np.ndarray) -> str:
    right = int((truth == predicted).sum())
    return f"{right:,} of {len(truth):,} examples of the test split are right: {right / len(truth):.1%}"
