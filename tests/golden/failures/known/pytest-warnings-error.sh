# label: test-failed
printf 'import warnings\n\ndef test_w():\n    warnings.warn("old", DeprecationWarning)\n' > test_w.py
#---
pytest -q -W error test_w.py
