# label: test-failed
printf 'def test_a():\n    assert [1] == [2]\n' > test_a.py
#---
curl -fsS $REGISTRY/status/404/cache.tar || echo "no cache, starting afresh"
python -m pytest -q test_a.py
