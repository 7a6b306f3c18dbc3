# label: test-failed
printf 'import pytest\n@pytest.mark.parametrize("x", range(30))\ndef test_p(x):\n    print("Connection refused, permission denied, 404 Not Found")\n    assert x %% 7\n' > test_p.py
#---
python -m pytest -q test_p.py
