"""Training: the LightningModule, losses, callbacks, checkpoints, several devices, loggers."""
