# label: test-failed
printf 'import logging\n\ndef test_n():\n    logging.error("upstream answered 503 Service Unavailable")\n    logging.warning("retrying after ConnectionResetError")\n    assert sum([1,2]) == 4\n' > test_n.py
#---
python -m pytest test_n.py
