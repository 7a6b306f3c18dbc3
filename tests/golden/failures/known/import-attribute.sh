# label: import-error|uncaught-exception
#---
python -c "import json; json.dumpz({})"
