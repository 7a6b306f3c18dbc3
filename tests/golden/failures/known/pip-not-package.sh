# label: file-missing|build-failed|usage
#---
pip install -e .
