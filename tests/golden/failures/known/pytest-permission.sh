# label: permission|test-failed
printf 'def test_w():\n    raise PermissionError(13, "Permission denied", "/srv/data")\n' > test_w.py
#---
python -m pytest -q test_w.py
