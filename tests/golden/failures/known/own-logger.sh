# whole: 1
# label: abstain
#---
python -c "
import logging, sys
logging.basicConfig(level=logging.INFO)
logging.info('loading catalogue')
logging.error('catalogue has 3 products without a picture')
sys.exit(1)"
