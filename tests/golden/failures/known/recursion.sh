# label: uncaught-exception
printf 'def f(n):\n    return f(n+1)\nf(0)\n' > a.py
#---
python a.py
