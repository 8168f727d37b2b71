"""One file a topic: speed and memory beside plain code, side by side in one run."""
