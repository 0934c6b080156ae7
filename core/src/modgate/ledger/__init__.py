"""The ledger: the record of every request that bills are made of.

Records become frames, frames are chained by a keyed hash, and chains lie in segment files.

Writing: `writer.py` (start there), with `journal.py`, `disk.py`, `sync_thread.py`, `backlog.py` and
`recovery.py` under it.  Bytes: `frames.py`, `records.py`, `segments.py`.  Reading: `reader.py` (all
rows), `lookup.py` (one row), `tail.py` (what is new), `verify.py` and `gaps.py` (is it whole).
Sinks: `shipper.py` brings them rows; `stored.py` reads ledger and sink as one.
"""
