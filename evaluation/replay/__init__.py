"""Replay of a published reading study: leakage checks and scores from its CSV files.

A module belongs here if it reads, checks or scores a reading study that was not run in DeepMiner.
Nothing here opens a study folder or its database.
"""

from evaluation.replay.replay_scoring import ReplayResult, replay_study

__all__ = ["ReplayResult", "replay_study"]
