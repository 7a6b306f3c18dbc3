# label: abstain
#---
python -c "import sys; sys.exit('the ledger and the bank differ by 12.40')"
