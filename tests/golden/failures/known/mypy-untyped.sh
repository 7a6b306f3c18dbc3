# label: types
mkdir shop; printf 'def f(x):\n    return x\n' > shop/a.py; touch shop/__init__.py
#---
mypy --strict shop
