"""Weights in fewer bits: precisions, smoothing, rotation, calibration."""
