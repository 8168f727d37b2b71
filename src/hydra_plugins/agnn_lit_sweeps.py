"""Makes the launchers and the search of agnn_lit known to Hydra, which takes plugins from this namespace alone."""

from __future__ import annotations

from agnn_lit import sweep, sweep_cluster, sweep_search


class LocalLauncher(sweep.LocalLauncher):
    """See :class:`agnn_lit.sweep.LocalLauncher`."""


class SlurmLauncher(sweep_cluster.SlurmLauncher):
    """See :class:`agnn_lit.sweep_cluster.SlurmLauncher`."""


class RayLauncher(sweep_cluster.RayLauncher):
    """See :class:`agnn_lit.sweep_cluster.RayLauncher`."""


class OptunaSweeper(sweep_search.OptunaSweeper):
    """See :class:`agnn_lit.sweep_search.OptunaSweeper`."""
