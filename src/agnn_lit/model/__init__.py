"""AGNN: backbones, edges, messages, update, read-out, and the graph that joins them."""
