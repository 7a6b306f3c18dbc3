# label: file-missing
#---
pip install -r requirements-prod.txt
