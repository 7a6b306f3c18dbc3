# label: test-timeout|timeout|test-failed
printf 'import time\n\ndef test_slow():\n    time.sleep(30)\n' > test_slow.py
#---
pytest -q --timeout 1 test_slow.py
