# label: server-error
#---
python -c "import os, requests; requests.get(os.environ['REGISTRY'] + '/status/502').raise_for_status()"
