# label: test-error|test-failed
printf 'import pytest\n@pytest.fixture\ndef db():\n    raise RuntimeError("schema is older than the code")\n\ndef test_a(db): pass\n' > test_a.py
#---
python -m pytest -q test_a.py
