"""What may be read: projections of the ledger, and the façade that shows them to an actor."""
