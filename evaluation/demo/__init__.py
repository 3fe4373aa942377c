"""The demonstration study: synthetic patients, every step, simulated experts."""
