# whole: 1
# label: abstain
#---
python -c "
import sys
print('validating 14 price lists')
print('price list 9: discount 120 % is more than allowed')
sys.exit(1)"
