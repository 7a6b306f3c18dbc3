# whole: 1
# label: abstain
#---
python -c "
import warnings, sys
warnings.warn('the old client is deprecated, Connection refused is retried')
print('stock differs from the ledger by 7')
sys.exit(2)"
