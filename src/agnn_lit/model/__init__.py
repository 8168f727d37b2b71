"""AGNN, a room for each part: backbone, edges, messages, update, read-out, and the graph that joins them."""

from agnn_lit.model.agnn import AGNN

__all__ = ["AGNN"]
