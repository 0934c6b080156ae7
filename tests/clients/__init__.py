"""The official SDKs against `modgate serve` with the real local models.

What is drawn (sentences, invoices, triples) comes from one seed, printed at the end of the run;
MODGATE_SEED=N draws the same again.  Nothing is drawn a second time because it failed.
"""
