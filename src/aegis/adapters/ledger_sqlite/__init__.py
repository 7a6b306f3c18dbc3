"""The ledger in one SQLite file: one writer thread with group commit, readers on connections of their own.

`SqliteLedger` is the writer's process' ledger (the `Ledger` port and more); `SqliteLedgerReader` reads the same file
beside it, from any process. Numbers, hashes and versions are decided in `aegis.ledger`; here is only durability.
"""

from aegis.adapters.ledger_sqlite.reader import SqliteLedgerReader
from aegis.adapters.ledger_sqlite.writer import SqliteLedger

__all__ = ["SqliteLedger", "SqliteLedgerReader"]
