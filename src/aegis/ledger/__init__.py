"""The chain of records: hashing, reading every version ever written, projections, checkpoints, export."""
