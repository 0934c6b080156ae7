"""What came of requests that carry an Idempotency-Key, in memory or in Redis."""
