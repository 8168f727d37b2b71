"""From a trained model and whole videos to masks on disk, and to scores."""
