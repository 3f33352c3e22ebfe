"""Widgets for JupyterLab: controls around the figures of `dcbench.figures`, and nothing drawn of their own."""

from dcbench.widgets.compare import RunComparer, compare_runs
from dcbench.widgets.descent import DescentExplorer, explore_descent
from dcbench.widgets.form import LaunchForm, launch_form
from dcbench.widgets.live import LiveRun, live_run
from dcbench.widgets.losses import LossExplorer, explore_losses
from dcbench.widgets.machine import MachineExplorer, explore_machine
from dcbench.widgets.predictions import PredictionExplorer, explore_predictions
from dcbench.widgets.replicas import ReplicaExplorer, explore_replicas
from dcbench.widgets.runs import RunExplorer, explore_runs
from dcbench.widgets.scaling import ScalingExplorer, explore_scaling
from dcbench.widgets.sweep import LiveSweep, live_sweep
from dcbench.widgets.timeline import TimelineExplorer, explore_timeline

__all__ = [
    "DescentExplorer",
    "LaunchForm",
    "LiveRun",
    "LiveSweep",
    "LossExplorer",
    "MachineExplorer",
    "PredictionExplorer",
    "ReplicaExplorer",
    "RunComparer",
    "RunExplorer",
    "ScalingExplorer",
    "TimelineExplorer",
    "compare_runs",
    "explore_descent",
    "explore_losses",
    "explore_machine",
    "explore_predictions",
    "explore_replicas",
    "explore_runs",
    "explore_scaling",
    "explore_timeline",
    "launch_form",
    "live_run",
    "live_sweep",
]
