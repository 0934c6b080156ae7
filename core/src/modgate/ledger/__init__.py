"""The invoice-grade record.

Frames on disk, chained, written at once and read back after a crash.
"""
