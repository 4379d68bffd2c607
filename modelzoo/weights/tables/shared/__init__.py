"""Rows and conversions that several tables share."""
