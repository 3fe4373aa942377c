"""`deepminer reproduce` on a simulated release with checkpoints of the published size."""
