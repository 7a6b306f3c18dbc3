# label: test-failed
printf 'def test_discount():\n    assert 0.9 * 100 == 91\n' > test_discount.py
printf 'for i in 1 2 3; do curl -sS http://127.0.0.1:9/ready || echo "not ready yet, trying again"; done\necho "service is ready"\n' > wait.sh
#---
bash wait.sh
python -m pytest -q test_discount.py
