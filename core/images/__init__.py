"""Pixels: decoding, DICOM, lossless JPEG, tissue, polygons and working images."""
