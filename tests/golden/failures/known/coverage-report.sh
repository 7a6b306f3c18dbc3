# label: coverage-low
printf 'def a():\n    return 1\n\ndef b():\n    return 2\n' > mod.py; printf 'import mod\nmod.a()\n' > run.py
#---
coverage run --source . run.py
coverage report --fail-under=95
