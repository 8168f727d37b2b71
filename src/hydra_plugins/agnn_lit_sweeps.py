"""Makes the launchers and the search of agnn_lit known to Hydra, which takes plugins from this namespace alone."""

from __future__ import annotations

from agnn_lit.sweeps import cluster, local, search


class LocalLauncher(local.LocalLauncher):
    """See :class:`agnn_lit.sweeps.local.LocalLauncher`."""


class SlurmLauncher(cluster.SlurmLauncher):
    """See :class:`agnn_lit.sweeps.cluster.SlurmLauncher`."""


class RayLauncher(cluster.RayLauncher):
    """See :class:`agnn_lit.sweeps.cluster.RayLauncher`."""


class OptunaSweeper(search.OptunaSweeper):
    """See :class:`agnn_lit.sweeps.search.OptunaSweeper`."""
