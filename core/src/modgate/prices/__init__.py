"""What requests cost.

By the price books, and by the hours of the machines that they ran on: pure functions of the ledger.
"""
