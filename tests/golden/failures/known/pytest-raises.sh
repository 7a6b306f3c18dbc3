# label: test-failed
printf 'import pytest\n\ndef test_r():\n    with pytest.raises(FileNotFoundError):\n        pass\n' > test_r.py
#---
python -m pytest -q test_r.py
