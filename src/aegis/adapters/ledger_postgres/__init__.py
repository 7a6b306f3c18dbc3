"""The ledger in PostgreSQL: one writer by a lease with an epoch, group commit, readers on connections of their own.

`PostgresLedger` is the writer's process' ledger (the `Ledger` port and more); `PostgresLedgerReader` reads beside it. Numbers,
hashes and versions are decided in `aegis.ledger`; here is only durability, and that no two processes write.
"""

from aegis.adapters.ledger_postgres.copy import CopyTarget
from aegis.adapters.ledger_postgres.reader import PostgresLedgerReader
from aegis.adapters.ledger_postgres.writer import PostgresLedger

__all__ = ["CopyTarget", "PostgresLedger", "PostgresLedgerReader"]
