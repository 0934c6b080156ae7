"""What requests cost: units as money, by the ledger's rows, and who is told of it."""
