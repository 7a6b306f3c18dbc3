# label: types|module-missing
printf 'import no_such_lib\nx: int = no_such_lib.y\n' > a.py
#---
mypy a.py
