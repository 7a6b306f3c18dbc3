# label: lint
printf 'try:\n    import uvloop_fast\nexcept ModuleNotFoundError as error:\n    print(f"ModuleNotFoundError: {error}; going on without it")\n' > warm.py
printf 'import json\n' > app.py
#---
python warm.py
ruff check --output-format concise app.py
