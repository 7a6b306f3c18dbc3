# label: uncaught-exception|code-error
# whole: 1
#---
python - <<'X'
prices = {"a": 1}
total = sum(prices.values()) / (len(prices) - 1)
X
