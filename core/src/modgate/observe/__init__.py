"""What a person can see of the gateway: metrics, logs and traces, all made from receipts."""
