# label: types
printf 'def price(x: int) -> str:\n    return x + 1\n' > app.py
#---
mypy app.py
