# label: uncaught-exception
printf 'print(f"{total:.2f}")\n' > a.py
#---
python a.py
