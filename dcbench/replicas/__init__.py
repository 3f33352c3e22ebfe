"""What data-parallel training rests on: copies that average stay equal, and larger batches want larger rates."""

from dcbench.replicas.copies import shards, spread, train
from dcbench.replicas.rates import SAME, SCALED, by_rule, learning_rates

__all__ = ["SAME", "SCALED", "by_rule", "learning_rates", "shards", "spread", "train"]
