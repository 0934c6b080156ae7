"""What an end-to-end test believes: a scripted engine, a counting client, and the rule between.

Nothing here imports modgate, so what the engine wrote and what a client read are counted by code
that shares no mistake with the code under test.  `engine` plays the backends in their home wires,
`client` sends and counts, `mix` plans seeded endings, `compare` holds engine, client and ledger
together.
"""
