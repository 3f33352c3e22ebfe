"""Figures: records or their table in, a Plotly figure out; no state, no display.

One colour per backend and one marker per model everywhere, light and dark, units on every axis, uncertainty where
there is any, and the machine under every title.
"""

from dcbench.figures._style import CONFIG, MAX_MARKS, Figure, caption
from dcbench.figures._theme import COLOURS, MARKERS, colour, marker
from dcbench.figures.comparison import plot_comparison
from dcbench.figures.descent import (
    plot_cross_entropy,
    plot_descent,
    plot_fit,
    plot_learning_rates,
    plot_optimizers,
    plot_schedules,
)
from dcbench.figures.drift import plot_drift, plot_loss_distance, rank_distance
from dcbench.figures.effects import plot_effects
from dcbench.figures.law import plot_scaling_law
from dcbench.figures.live import plot_live
from dcbench.figures.loss import EARLY_STEPS, loss_differences, plot_loss
from dcbench.figures.machine import plot_machine
from dcbench.figures.memory import plot_memory
from dcbench.figures.models import plot_learning, plot_models
from dcbench.figures.predictions import plot_confusion, plot_mistakes, plot_scores
from dcbench.figures.replicas import (
    plot_learning_rate_scaling,
    plot_reductions,
    plot_replicas,
    plot_speedup_by_batch,
)
from dcbench.figures.run import plot_run
from dcbench.figures.runs import plot_runs
from dcbench.figures.scaling import plot_scaling, scaling_summary
from dcbench.figures.series import series_map
from dcbench.figures.steps import plot_step_times
from dcbench.figures.sweep import plot_sweep
from dcbench.figures.target import plot_time_to_target
from dcbench.figures.throughput import plot_throughput
from dcbench.figures.timeline import plot_timeline
from dcbench.store import tidy

__all__ = [
    "COLOURS", "CONFIG", "EARLY_STEPS", "MARKERS", "MAX_MARKS", "Figure", "caption", "colour", "loss_differences",
    "marker", "plot_comparison", "plot_confusion", "plot_cross_entropy", "plot_descent", "plot_drift",
    "plot_effects", "plot_fit", "plot_learning", "plot_learning_rate_scaling", "plot_learning_rates", "plot_live",
    "plot_loss", "plot_loss_distance", "plot_machine", "plot_memory", "plot_mistakes", "plot_models",
    "plot_optimizers", "plot_reductions", "plot_replicas", "plot_run", "plot_runs", "plot_scaling",
    "plot_scaling_law", "plot_schedules", "plot_scores", "plot_speedup_by_batch", "plot_step_times", "plot_sweep",
    "plot_throughput", "plot_time_to_target", "plot_timeline", "rank_distance", "scaling_summary", "series_map",
    "tidy",
]  # fmt: skip
