# label: crash|test-failed
printf 'import os\ndef test_c():\n    os.abort()\n' > test_c.py
#---
python -m pytest -q test_c.py
