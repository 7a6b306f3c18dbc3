# label: denied-by-registry
#---
python -c "import os, requests; requests.get(os.environ['REGISTRY'] + '/status/401').raise_for_status()"
