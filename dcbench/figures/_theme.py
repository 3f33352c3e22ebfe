"""The look of our own: colours of backends, markers of models, a light and a dark template; it knows no figure."""

from __future__ import annotations

import re
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette (2008), told apart by readers with any colour vision
COLOURS = {"single": "#4D4D4D", "mirrored": "#0072B2", "horovod": "#D55E00", "independent": "#009E73"}
TEXT, QUIET, PALE = "#1F2933", "#7B8794", "#8C8C8C"  # words; ideals and limits; a broad line that others lie on
DASHES = {"single": "solid", "mirrored": "dash", "horovod": "dot", "independent": "dashdot"}
LINES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # of a backend's variants
MARKERS = {
    "cnn": "circle",
    "mlp": "square",
    "linear": "diamond",
    "rnn": "triangle-up",
    "transformer": "pentagon",
    "ResNet50": "hexagon2",
    "InceptionV3": "cross",
    "EfficientNetB0": "x",
    "MobileNetV2": "star",
    "VGG16": "star-square",
}
_FURTHER_COLOURS = ("#4B00D1", "#5C3A00")
# of lines that stand for no backend and no model
SHADES = (COLOURS["single"], COLOURS["mirrored"], COLOURS["independent"], COLOURS["horovod"], *_FURTHER_COLOURS)
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "pentagon", "star")
_FURTHER_MARKERS = ("triangle-down", "bowtie", "hourglass", "star-diamond", "star-triangle-up", "hexagram")

_LIGHT = {"paper": "#FFFFFF", "text": TEXT, "muted": "#52606D", "grid": "#E4E7EB", "axis": "#B8C0C8"}
_DARK = {"paper": "#14191F", "text": "#E8ECF0", "muted": "#A9B4C0", "grid": "#2C343D", "axis": "#56616C"}
DARK_OF = {
    "#4D4D4D": "#D0D4D9",
    "#0072B2": "#4AA8E8",
    "#D55E00": "#FF7A33",
    "#009E73": "#1FBF8F",
    "#4B00D1": "#8A5CFF",
    "#5C3A00": "#FFF06A",
    QUIET: "#7D8894",
    PALE: "#6B7682",
    **{_LIGHT[name]: _DARK[name] for name in _LIGHT},
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_TOP_LEFT = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "yref": "container", "pad": {"l": 12, "t": 14}}
_BOTTOM_LEFT = {"x": 0, "y": 0, "xref": "container", "yref": "container", "yanchor": "bottom"}
_RGBA = re.compile(r"rgba\((\d+), (\d+), (\d+), ([\d.]+)\)")


def colour(backend: str) -> str:
    """Return the colour of a backend; one that dcbench does not bring gets one by its name."""
    return COLOURS.get(backend, _FURTHER_COLOURS[_hash(backend) % len(_FURTHER_COLOURS)])


def marker(model: str) -> str:
    """
    Return the marker of a model; one without a place in ``MARKERS`` gets one by its name.

    Examples
    --------
    >>> marker("cnn"), marker("cnn") == marker("mlp")
    ('circle', False)
    """
    return MARKERS.get(model, _FURTHER_MARKERS[_hash(model) % len(_FURTHER_MARKERS)])


def translucent(shade: str, opacity: float) -> str:
    """
    Return a colour that lets others through.

    Examples
    --------
    >>> translucent("#0072B2", 0.2)
    'rgba(0, 114, 178, 0.2)'
    """
    red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def darkened(part: Any) -> Any:
    """Return a figure's description with every light colour replaced by its dark partner."""
    if isinstance(part, dict):
        return {name: darkened(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [darkened(value) for value in part]
    if not isinstance(part, str):
        return part
    seen = _RGBA.fullmatch(part)
    if seen is None:
        return DARK_OF.get(part, part)
    solid = "#{:02X}{:02X}{:02X}".format(*map(int, seen.groups()[:3]))
    return translucent(DARK_OF[solid], float(seen[4])) if solid in DARK_OF else part


def _hash(name: str) -> int:
    return sum(place * ord(sign) for place, sign in enumerate(name, 1))


def _template(shades: dict[str, str]) -> go.layout.Template:
    axis = _axis(shades)
    layout = {
        "paper_bgcolor": shades["paper"],
        "plot_bgcolor": shades["paper"],
        "font": {"family": _FONT, "size": 12, "color": shades["text"]},
        "title": {"font": {"size": 17}, "subtitle": {"font": {"size": 11.5, "color": shades["muted"]}}, **_TOP_LEFT},
        "legend": {"orientation": "h", "bgcolor": translucent(shades["paper"], 0), **_BOTTOM_LEFT},
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": shades["paper"], "font": {"color": shades["text"]}},
        "annotationdefaults": {"font": {"size": 12, "color": shades["text"]}, "showarrow": False},
        "colorway": list(COLOURS.values()),
    }
    return go.layout.Template(layout=layout)


def _axis(shades: dict[str, str]) -> dict[str, Any]:
    return {
        "gridcolor": shades["grid"],
        "linecolor": shades["axis"],
        "tickcolor": shades["axis"],
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
    }


LIGHT = _template(_LIGHT)
DARK = go.layout.Template(darkened(LIGHT.to_plotly_json()))
