"""The declaration `aegis.yaml`: read strictly, then turned into small frozen options per capability."""
