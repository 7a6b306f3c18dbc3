# label: uncaught-exception|code-error
printf 'def total(a, b):\n    return a + b\n\nprint(total("1", 2))\n' > report.py
#---
python report.py
