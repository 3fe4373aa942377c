"""Pixels: decoding films, turning negatives, and the working image every later step reads."""
