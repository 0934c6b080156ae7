"""The engines' side of the wire, and whatever else goes out.

Calls to engines: `client.py` (start there), `request.py`, `connection.py`, `parser.py`, `head.py`,
`answer.py`, `pool.py`, `dialer.py`.  Files from clients' URLs, behind a guard: `fetch.py`,
`origins.py`, `addresses.py`, `names.py`.  What the operator names: `documents.py`, `scraper.py`,
`world.py`, `srv.py`, `ca_bundles.py`.
"""
