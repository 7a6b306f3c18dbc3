# label: lint
printf 'import os, sys\nx = 1; y = 2\ndef f(a=[]): pass\n' > a.py
#---
ruff check --select ALL a.py
