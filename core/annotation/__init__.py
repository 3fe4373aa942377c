"""Unit labels: exchange with files and simulated experts."""
