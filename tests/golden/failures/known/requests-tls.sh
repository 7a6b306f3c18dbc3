# label: certificate
#---
python -c "import os, requests; requests.get(os.environ['TLS'])"
